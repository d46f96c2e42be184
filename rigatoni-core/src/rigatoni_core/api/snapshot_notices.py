"""Notices about the snapshots of a stream."""

import attrs

from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.notices import Notice


@attrs.frozen(kw_only=True)
class SnapshotPlanned(Notice):
    """Snapshot `number` will read `ranges` of about `bytes` together, or `resumed` with the plan of an earlier run."""

    number: int
    ranges: int
    bytes: int
    resumed: bool


@attrs.frozen(kw_only=True)
class ChunkWritten(Notice):
    """A chunk of snapshot `number` is durable: `events` rows as of `at`; the attempt that succeeded took `seconds`.

    `total_rows` and `total_bytes` count the whole snapshot, as far as this run knows, `complete_ranges` its ranges
    without another chunk. With `found`, an earlier run or another instance had already written the chunk.
    """

    number: int
    events: int
    bytes: int
    at: Timestamp | None
    seconds: float
    found: bool
    total_rows: int
    total_bytes: int
    complete_ranges: int


@attrs.frozen(kw_only=True)
class SnapshotPaused(Notice):
    """Snapshot `number` reads nothing at present, for this `reason`; the stream continues."""

    number: int
    reason: str


@attrs.frozen(kw_only=True)
class SnapshotDone(Notice):
    """Every row of snapshot `number` is durable: `rows` of them. This run worked on it for `seconds`."""

    number: int
    rows: int
    seconds: float


@attrs.frozen(kw_only=True)
class SnapshotNotRequested(Notice):
    """No snapshot is left to take, and `mode = "only"` asks for nothing else, so the worker ends."""


@attrs.frozen(kw_only=True)
class SnapshotEnded(Notice):
    """Snapshot `number` ended before it was done, for this `reason`."""

    number: int
    reason: str
