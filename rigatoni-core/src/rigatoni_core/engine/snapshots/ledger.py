"""The records of a stream's snapshots: at a destination that keeps records and positions, else in the checkpoint."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from rigatoni_core.api.contracts import Destination, PositionKeeper, RecordKeeper
from rigatoni_core.api.events import Position, SnapshotProgress, Stream
from rigatoni_core.api.snapshots import SnapshotRequest
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.snapshots.records import EndRecord, PlanRecord, dump_request, load_request

Ask = Callable[..., Awaitable[Any]]
"""Calls a method of the destination, with the retries, the lease and the time limit of the worker."""


@attrs.frozen
class Requested:
    """A snapshot that has not ended: its number, and what is requested."""

    number: int
    request: SnapshotRequest


class Ledger(ABC):
    """The records of one stream's snapshots. Each is created only if absent; who comes later takes what exists."""

    @abstractmethod
    async def request(self, request: SnapshotRequest) -> None:
        """Record the first snapshot of a fresh stream, before the stream itself is on record."""

    @abstractmethod
    async def current(self) -> Requested | None:
        """Return the oldest snapshot that has not ended."""

    @abstractmethod
    async def plan(self, number: int, made: PlanRecord | None = None) -> PlanRecord | None:
        """Return the plan in force, which is `made` if there was none."""

    @abstractmethod
    async def end(self, number: int, made: EndRecord) -> EndRecord:
        """Record the end of the snapshot and return the record in force."""

    def reached(self, index: int, end: Position) -> None:
        """Note the position after a range's last durable chunk. Default: the destination knows."""
        return

    def position(self, index: int) -> Position | None:
        """Return what `reached` noted last. Default: nothing."""
        return None


class KeptLedger(Ledger):
    """Records at the destination, in the folder of the stream's snapshots.

    Args:
        stream: The stream.
        keeper: The destination.
        ask: Calls it.
    """

    def __init__(self, stream: Stream, keeper: RecordKeeper, ask: Ask) -> None:
        self._home = stream.beside("snapshots")
        self._keeper = keeper
        self._ask = ask
        self._ended = 0  # snapshots with lower or the same numbers have ended

    async def request(self, request: SnapshotRequest) -> None:
        """See `Ledger`."""
        await self._settle("1/request", dump_request(request))

    async def current(self) -> Requested | None:
        """See `Ledger`."""
        while True:
            number = self._ended + 1
            content = await self._settle(f"{number}/request")
            if content is None:
                return None
            if await self._settle(f"{number}/end") is None:
                return Requested(number, load_request(content, self._where(f"{number}/request")))
            self._ended = number

    async def plan(self, number: int, made: PlanRecord | None = None) -> PlanRecord | None:
        """See `Ledger`."""
        content = await self._settle(f"{number}/plan", made.dump() if made else None)
        return PlanRecord.load(content, self._where(f"{number}/plan")) if content is not None else None

    async def end(self, number: int, made: EndRecord) -> EndRecord:
        """See `Ledger`."""
        content = await self._settle(f"{number}/end", made.dump())
        assert content is not None
        return EndRecord.load(content, self._where(f"{number}/end"))

    async def _settle(self, name: str, content: bytes | None = None) -> bytes | None:
        found: bytes | None = await self._ask(self._keeper.settle, self._home, f"snapshots/{name}", content)
        return found

    def _where(self, name: str) -> str:
        return f"{self._home.key}/snapshots/{name}"


class CheckpointLedger(Ledger):
    """Records in the stream's checkpoint, which is saved with the stream's next position.

    Args:
        checkpoint: The stream's checkpoint.
    """

    _WHERE = "the checkpoint's record of the snapshot"

    def __init__(self, checkpoint: CheckpointKeeper) -> None:
        self._checkpoint = checkpoint

    async def request(self, request: SnapshotRequest) -> None:
        """See `Ledger`. Saved together with the anchor."""
        self._checkpoint.note_snapshot(SnapshotProgress(1, request=dump_request(request).decode()))

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
