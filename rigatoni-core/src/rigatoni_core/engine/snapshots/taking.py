"""The snapshots of one stream, over all entries of its worker."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Destination, Source, Transform
from rigatoni_core.api.events import Definition, Gap, Stream, token_hash
from rigatoni_core.api.notices import Notice
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.delivery import Delivery
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_core.engine.rejection_policy import RejectionPolicy
from rigatoni_core.engine.retry import Retry
from rigatoni_core.engine.shutdown import Shutdown
from rigatoni_core.engine.snapshots.checkpoint_ledger import CheckpointLedger, ledger_of
from rigatoni_core.engine.snapshots.context import Deliver, SnapshotContext
from rigatoni_core.engine.snapshots.requests import initial_request, request_of
from rigatoni_core.engine.snapshots.runner import NoSnapshots, SnapshotRunner
from rigatoni_core.engine.time_limit import time_limit
from rigatoni_core.engine.transforming import Transforming


class Snapshots:
    """Requests the first snapshot of a new stream, and makes the runner of each entry.

    Args:
        stream: The stream.
        source: Where documents are read.
        destination: Where rows are written.
        settings: The settings of the pipeline.
        checkpoint: The stream's checkpoint.
        retry: Repeats what fails with a `Transient` error.
        shutdown: Ends waits.
        check: Raises what should end a longer step: the wish to stop, or a lost lease.
        transforms: What changes rows on their way to the destination, as it changes events.
        dead_letters: Where rejected rows go, if anywhere.
        redact: Takes secrets out of the text of an error.
        budget: Bounds the bytes that all workers hold together.
        once: Whether the worker ends when it has caught up.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        source: Source,
        destination: Destination,
        settings: Settings,
        checkpoint: CheckpointKeeper,
        retry: Retry,
        shutdown: Shutdown,
        check: Callable[[], None],
        transforms: Sequence[Transform],
        dead_letters: Destination | None,
        redact: Callable[[str], str],
        budget: MemoryBudget | None,
        once: bool,
    ) -> None:
        self._stream = stream
        self._source = source
        self._destination = destination
        self._settings = settings
        self._checkpoint = checkpoint
        self._retry = retry
        self._shutdown = shutdown
        self._check = check
        self._transforms = transforms
        self._dead_letters = dead_letters
        self._redact = redact
        self._budget = budget or MemoryBudget(settings.max_buffered_bytes)
        self._once = once
        self._ledger = ledger_of(stream, destination, checkpoint, self._ask)

    async def request_initial(self) -> None:
        """Record that this new stream begins with a snapshot, if it is configured to."""
        if (request := initial_request(self._settings.snapshot, self._stream)) is not None:
            await self._ledger.request(request)

    async def request_after(self, gap: Gap) -> None:
        """Record that a snapshot follows this gap, if it is configured to. Recorded once for a gap."""
        if self._settings.on_lost_position == "snapshot":
            id_ = f"gap-{token_hash(gap.resumed.resume_token)}"
            if (request := request_of(self._settings.snapshot, self._stream, id_)) is not None:
                await self._ledger.request(request)

    async def request_moved_in(self, gap: Gap) -> None:
        """Record that a collection whose documents arrived by no event is read, if snapshots are configured.

        Recorded once for a gap. A checkpoint has room for one snapshot: one that runs is not replaced.
        """
        if self._settings.snapshot.mode == "never" or gap.namespace is None:
            return
        if isinstance(self._ledger, CheckpointLedger) and await self._ledger.current() is not None:
            return
        request = request_of(self._settings.snapshot, self._stream, f"gap-{token_hash(gap.resumed.resume_token)}")
        name = str(gap.namespace)
        if request is not None and (not request.collections or name in request.collections):
            await self._ledger.request(attrs.evolve(request, collections=(name,)))

    def runner(self, definition: Definition) -> SnapshotRunner | NoSnapshots:
        """Return what carries out the stream's snapshots during one entry.

        Args:
            definition: The stream's definition in this entry.
        """
        if not self._settings.takes_snapshots:
            return NoSnapshots()
        context = SnapshotContext(
            stream=self._stream,
            source=self._source,
            destination=self._destination,
            settings=self._settings,
            ledger=self._ledger,
            ask=self._ask,
            delivering=self._delivering,
            definition=lambda: definition,
            budget=self._budget,
            retry=self._retry,
            shutdown=self._shutdown,
            filtered=bool(self._transforms),
            patient=self._settings.failure_policy(once=self._once) == "restart",
        )
        return SnapshotRunner(context, self._checkpoint.gaps)

    def _delivering(self) -> Deliver:
        """Return what makes the deliveries of one range: its transforms and its rejections are its own."""
        transforming = (
            Transforming(self._stream, self._transforms, self._destination, self._settings.write_timeout)
            if self._transforms
            else None
        )
        rejections = RejectionPolicy(
            self._stream,
            self._settings,
            self._dead_letters,
            plugin=type(self._destination).__module__.partition(".")[0],
            check=self._check,
            redact=self._redact,
        )

        def deliver(batch: EventBatch, written: Callable[..., Notice]) -> Delivery:
            return Delivery(
                batch,
                destination=self._destination,
                rejections=rejections,
                settings=self._settings,
                check=self._check,
                transforming=transforming,
                written=written,
            )

        return deliver

    async def _ask(self, question: Callable[..., Awaitable[Any]], stream: Stream, *args: Any) -> Any:
        """Ask the destination about a stream; each attempt under the lease and within `write_timeout`."""

        async def ask() -> Any:
            self._check()
            who = f"the destination, asked about the snapshot of {self._stream},"
            async with time_limit(self._settings.write_timeout, who, partial(self._destination.progress, stream)):
                return await question(stream, *args)

        return await self._retry(ask)
