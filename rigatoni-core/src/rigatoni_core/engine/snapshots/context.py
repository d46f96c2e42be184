"""What the readers of a snapshot's ranges share."""

from collections.abc import Callable

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Destination, Source
from rigatoni_core.api.events import Definition, Stream
from rigatoni_core.api.notices import Notice
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.snapshot_ledger import Ask, Ledger
from rigatoni_core.engine.delivery import Delivery
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_core.engine.retry import Retry
from rigatoni_core.engine.shutdown import Shutdown

Deliver = Callable[[EventBatch, Callable[..., Notice]], Delivery]
"""Makes the delivery of a chunk; the second argument makes the notice that it is durable."""


@attrs.frozen(kw_only=True)
class SnapshotContext:
    """The stream of a snapshot, and what its worker lends.

    Attributes:
        stream: The stream.
        source: What is read.
        destination: Where rows are written.
        settings: The settings of the pipeline.
        ledger: The records of the stream's snapshots.
        ask: Calls the destination, with retries, under the lease, within the time limit.
        delivering: Makes a function that makes deliveries: one for each range, since transforms keep state.
        definition: Returns the definition of the stream.
        budget: Bounds the bytes that all streams hold together.
        retry: Repeats deliveries.
        shutdown: Ends waits.
        filtered: Whether rows may be dropped on the way to the destination.
        patient: Whether a source that fails is tried for as long as it takes.
    """

    stream: Stream
    source: Source
    destination: Destination
    settings: Settings
    ledger: Ledger
    ask: Ask
    delivering: Callable[[], Deliver]
    definition: Callable[[], Definition]
    budget: MemoryBudget
    retry: Retry
    shutdown: Shutdown
    filtered: bool
    patient: bool
