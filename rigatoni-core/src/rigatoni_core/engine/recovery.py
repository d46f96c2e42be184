"""Where a stream resumes: its checkpoint, the destination's own position, an anchor; or past a position that is lost.

Every entry of a worker begins here, whatever ended the one before.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import ParamSpec, TypeVar, cast

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import PositionKeeper, Source
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Gap, Position, Stream
from rigatoni_core.api.notices import GapRecorded, WorkerStarted
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.retry import Retry, time_limit

P = ParamSpec("P")
T = TypeVar("T")

MAX_RECOVERIES = 3
"""How often a lost position may be abandoned in a row without a single event delivered in between."""


class Recovery:
    """Finds the position of one stream, and replaces it when it is lost.

    Args:
        stream: The stream.
        source: What reads it; it makes the anchor of a fresh stream.
        keeper: The destination, if it keeps positions of its own.
        checkpoint: The stream's checkpoint.
        settings: `on_lost_position`, and `write_timeout` for each question to the destination.
        retry: Repeats a question that failed with a `Transient` error.
        check: Raises `LeaseLostError` once the lease is no longer held; called before the destination is asked.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        source: Source,
        keeper: PositionKeeper | None,
        checkpoint: CheckpointKeeper,
        settings: Settings,
        retry: Retry,
        check: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._source = source
        self._keeper = keeper
        self._checkpoint = checkpoint
        self._settings = settings
        self._retry = retry
        self._check = check
        self._abandoned = 0

    def delivered(self) -> None:
        """Events were delivered: positions that are lost from now on are counted afresh."""
        self._abandoned = 0

    async def position(self) -> Position:
        """The position to resume from, saved before anything is written: a crash in the first second loses nothing."""
        position = await self._retry(self._checkpoint.load)
        if position is None and self._keeper:
            position = await self._ask(self._keeper.last_committed, self._stream)
        resumed = position is not None
        if position is None:
            position = await self._anchor()
        if self._keeper:
            definition = self._source.definition(self._stream)
            position = await self._ask(self._keeper.begin, self._stream, definition, position)
        await self._retry(self._checkpoint.anchor, position)
        publish(WorkerStarted(stream=self._stream, position=position, resumed=resumed))
        return position

    async def abandon_position(self, error: RigatoniError) -> None:
        """Replace the lost position by a newer one at the destination, or by now, with a gap on record.

        Raises:
            RigatoniError: `error`, if the policy is to stop, or after `MAX_RECOVERIES` in a row.
        """
        self._abandoned += 1
        lost = self._checkpoint.position
        if self._abandoned > MAX_RECOVERIES:
            raise error
        if self._keeper:
            committed = await self._ask(self._keeper.last_committed, self._stream)
            if committed and (lost is None or committed.order > lost.order):
                await self._checkpoint.anchor(committed)
                return
        if self._settings.on_lost_position == "stop":
            raise error
        gap = self._checkpoint.open_gap or Gap(cause=str(error), lost=lost, resumed=await self._anchor())
        if self._keeper:
            await self._checkpoint.note_gap(gap)  # else a crash in between leaves it on record at the destination only
            definition = self._source.definition(self._stream)
            await self._ask(self._keeper.begin, self._stream, definition, gap.resumed, gap=gap)
        await self._checkpoint.record_gap(gap)
        publish(GapRecorded(stream=self._stream, gap=gap))

    async def _anchor(self) -> Position:
        """Where a fresh stream begins."""
        replies = cast("AsyncGenerator[EventBatch | Heartbeat]", self._source.read(self._stream, after=None))
        async with aclosing(replies) as reading:
            return (await anext(reading)).end

    async def _ask(self, question: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the destination; each attempt under the lease and within `write_timeout`."""

        async def ask() -> T:
            self._check()
            who = f"the destination, asked where {self._stream} resumes,"
            async with time_limit(self._settings.write_timeout, who):
                return await question(*args, **kwargs)

        return await self._retry(ask)
