"""The records of a stream's snapshots, at a destination that keeps records, and how commands add to them."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import attrs

from rigatoni_core.api.contracts import RecordKeeper
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.snapshot_records import EndRecord, PlanRecord, dump_request, load_request
from rigatoni_core.api.snapshots import SnapshotRequest

Ask = Callable[..., Awaitable[Any]]
"""Calls a method of the destination, with the retries, the lease and the time limit of the worker."""


_PAUSE, _RESUME = b'{"control": "pause"}\n', b'{"control": "resume"}\n'


@attrs.frozen
class Requested:
    """A snapshot that has not ended: its number, and what is requested."""

    number: int
    request: SnapshotRequest


class Ledger(ABC):
    """The records of one stream's snapshots. Each is created only if absent; who comes later takes what exists."""

    polls: ClassVar[bool] = False
    """Whether others may request, pause or cancel snapshots, so that the records are looked at again and again."""

    @abstractmethod
    async def request(self, request: SnapshotRequest) -> int:
        """Record a request unless one with its id is on record.

        The request of a new stream is recorded before the stream itself.

        Args:
            request: What is requested.

        Returns:
            The number of its snapshot.
        """

    @abstractmethod
    async def current(self) -> Requested | None:
        """Return the oldest snapshot that has not ended."""

    @abstractmethod
    async def plan(self, number: int, made: PlanRecord | None = None) -> PlanRecord | None:
        """Return the plan in force.

        Args:
            number: The number of the snapshot.
            made: The plan to record if there is none.
        """

    @abstractmethod
    async def end(self, number: int, made: EndRecord) -> EndRecord:
        """Record the end of a snapshot.

        Args:
            number: The number of the snapshot.
            made: How it ended.

        Returns:
            The record in force, which may be another one.
        """

    async def is_paused(self, number: int) -> bool:
        """Return whether a snapshot is paused. Default: never.

        Args:
            number: The number of the snapshot.
        """
        return False

    async def ended(self, number: int) -> EndRecord | None:
        """Return how a snapshot ended; None if it has not. Default: others end no snapshot.

        Args:
            number: The number of the snapshot.
        """
        return None

    def reached(self, index: int, end: Position) -> None:
        """Note the position after a range's last durable chunk. Default: the destination knows.

        Args:
            index: The range's place in the plan.
            end: The position.
        """
        return

    def position(self, index: int) -> Position | None:
        """Return what `reached` noted last. Default: nothing.

        Args:
            index: The range's place in the plan.
        """
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
        self._seen: dict[int, tuple[int, bytes]] = {}  # control records by snapshot: how many, and the last one

    polls: ClassVar[bool] = True

    async def request(self, request: SnapshotRequest) -> int:
        """See `Ledger`. Numbers follow one another."""
        for number in itertools.count(1):
            content = await self._settle(f"{number}/request", dump_request(request))
            assert content is not None
            if load_request(content, self._where(f"{number}/request")).id == request.id:
                return number
        raise AssertionError("the loop above has no end")

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

    async def requests(self) -> Sequence[Requested]:
        """Return all snapshots on record, oldest first."""
        found = list[Requested]()
        while (content := await self._settle(f"{len(found) + 1}/request")) is not None:
            number = len(found) + 1
            found.append(Requested(number, load_request(content, self._where(f"{number}/request"))))
        return found

    async def ended(self, number: int) -> EndRecord | None:
        """See `Ledger`."""
        content = await self._settle(f"{number}/end")
        return EndRecord.load(content, self._where(f"{number}/end")) if content is not None else None

    async def is_paused(self, number: int) -> bool:
        """See `Ledger`: whether the last control record pauses it."""
        return (await self._controls(number))[1] == _PAUSE

    async def set_paused(self, number: int, *, paused: bool) -> bool:
        """Pause or resume a snapshot.

        Args:
            number: The number of the snapshot.
            paused: Whether to pause it.

        Returns:
            Whether that changed anything.
        """
        wanted = _PAUSE if paused else _RESUME
        while True:
            count, last = await self._controls(number)
            if last == wanted:
                return False
            if await self._settle(f"{number}/control-{count + 1}", wanted) == wanted:
                return True

    async def _controls(self, number: int) -> tuple[int, bytes]:
        """The number of control records, and the last one."""
        count, last = self._seen.get(number, (0, _RESUME))
        while (content := await self._settle(f"{number}/control-{count + 1}")) is not None:
            count, last = count + 1, content
        self._seen[number] = (count, last)
        return count, last

    async def _settle(self, name: str, content: bytes | None = None) -> bytes | None:
        found: bytes | None = await self._ask(self._keeper.settle, self._home, f"snapshots/{name}", content)
        return found

    def _where(self, name: str) -> str:
        return f"{self._home.key}/snapshots/{name}"
