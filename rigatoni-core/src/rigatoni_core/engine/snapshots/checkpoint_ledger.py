"""The records of a stream's snapshots in its checkpoint, for a destination that keeps none."""

import attrs

from rigatoni_core.api.contracts import Destination, PositionKeeper, RecordKeeper
from rigatoni_core.api.events import Position, SnapshotProgress, Stream
from rigatoni_core.api.snapshot_ledger import Ask, KeptLedger, Ledger, Requested
from rigatoni_core.api.snapshot_records import EndRecord, PlanRecord, dump_request, load_request
from rigatoni_core.api.snapshots import SnapshotRequest
from rigatoni_core.engine.checkpoint import CheckpointKeeper


class CheckpointLedger(Ledger):
    """Records in the stream's checkpoint, which is saved with the stream's next position.

    Args:
        checkpoint: The stream's checkpoint.
    """

    _WHERE = "the checkpoint's record of the snapshot"

    def __init__(self, checkpoint: CheckpointKeeper) -> None:
        self._checkpoint = checkpoint

    async def request(self, request: SnapshotRequest) -> int:
        """See `Ledger`. Saved together with the position that the stream has then."""
        before = self._checkpoint.snapshot
        number = before.number + 1 if before is not None else 1
        if before is not None and load_request(before.request.encode(), self._WHERE).id == request.id:
            return before.number
        self._checkpoint.note_snapshot(SnapshotProgress(number, request=dump_request(request).decode()))
        return number

    async def current(self) -> Requested | None:
        """See `Ledger`."""
        progress = self._checkpoint.snapshot
        if progress is None or not progress.is_open:
            return None
        return Requested(progress.number, load_request(progress.request.encode(), self._WHERE))

    async def plan(self, number: int, made: PlanRecord | None = None) -> PlanRecord | None:
        """See `Ledger`. The plan is saved before a row is read: another plan would give chunks other ranges."""
        progress = self._progress
        if progress.plan:
            return PlanRecord.load(progress.plan.encode(), self._WHERE)
        if made is not None:
            self._checkpoint.note_snapshot(attrs.evolve(progress, state="running", plan=made.dump().decode()))
            await self._checkpoint.save()
        return made

    async def end(self, number: int, made: EndRecord) -> EndRecord:
        """See `Ledger`."""
        self._checkpoint.note_snapshot(attrs.evolve(self._progress, state=made.state, plan="", ranges={}))
        await self._checkpoint.save()
        return made

    def reached(self, index: int, end: Position) -> None:
        """See `Ledger`."""
        progress = self._progress
        self._checkpoint.note_snapshot(attrs.evolve(progress, ranges={**progress.ranges, index: end}))

    def position(self, index: int) -> Position | None:
        """See `Ledger`."""
        return self._progress.ranges.get(index)

    @property
    def _progress(self) -> SnapshotProgress:
        progress = self._checkpoint.snapshot
        assert progress is not None
        return progress


def ledger_of(stream: Stream, destination: Destination, checkpoint: CheckpointKeeper, ask: Ask) -> Ledger:
    """Return the ledger of a stream that is written to this destination."""
    if isinstance(destination, RecordKeeper) and isinstance(destination, PositionKeeper):
        return KeptLedger(stream, destination, ask)
    return CheckpointLedger(checkpoint)
