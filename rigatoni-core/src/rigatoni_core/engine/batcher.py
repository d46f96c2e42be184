"""Gathering what a source reads into batches, while the batch before is still being written.

One reader task per stream takes whole replies; nothing here is done per event. What is gathered is bounded in bytes:
a full buffer, of this stream or of all together, stops reading, and the server keeps the rest.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self, cast

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import Prefetching
from rigatoni_core.api.errors import ChainError, ShutdownError
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.memory_budget import MemoryBudget


class Batcher:
    """The batches of one stream: cut by events, bytes or age, and wherever `cut` says that a batch must end.

    Iterate it inside its `async with`. A batch is yielded as soon as one limit is reached; a heartbeat only when no
    event before it is left. When the source fails, what was gathered is yielded first, then its error is raised.
    `eager` ends a batch also as soon as the source has caught up. `budget` bounds what all streams hold together.
    `preparer` is told of the next batch as soon as it is full, while the one before is still in flight.
    """

    def __init__(
        self,
        replies: AsyncIterator[EventBatch | Heartbeat],
        settings: Settings,
        *,
        cut: Callable[[EventBatch], int] = len,
        eager: bool = False,
        budget: MemoryBudget | None = None,
        preparer: Prefetching | None = None,
    ) -> None:
        self._budget = budget
        self._preparer = preparer
        self._prepares: Stream | None = None
        self._replies = replies
        self._settings = settings
        self._cut = cut
        self._eager = eager
        self._chunks: deque[tuple[EventBatch, float]] = deque()  # with the time of arrival
        self._ahead: tuple[EventBatch, float] | None = None  # the next batch, if it is prepared already
        self._heartbeat: Heartbeat | None = None  # always after all chunks
        self._events = 0
        self._bytes = 0
        self._in_flight = 0
        self._stopping = False
        self._finished = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._clock = asyncio.get_running_loop().time
        self._newest = self._clock()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.cancel()
        if self._budget is not None:
            self._budget.leave(self._open_or_close)
        await asyncio.wait([self._reader])
        self._discard()
        if not self._reader.cancelled():
            self._reader.exception()  # raised to the iterating side already, or of no interest any more

    def stop(self) -> None:
        """Read no further: at most one more batch is yielded, of what was gathered."""
        self._stopping = True
        if not self._finished:
            self._reader.cancel()
        self._changed.set()

    @property
    def buffered_bytes(self) -> int:
        """Bytes of raw documents held at present, the batch in flight included."""
        return self._bytes + self._in_flight + (self._ahead[0].nbytes if self._ahead else 0)

    @property
    def waited(self) -> float:
        """Seconds since the newest event of the batch in flight came from the source."""
        return self._clock() - self._newest

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventBatch | Heartbeat:
        self._fly(0)
        while True:
            self._changed.clear()
            if self._finished:
                raise StopAsyncIteration
            if self._ahead or (self._events and self._is_complete()):
                self._finished = self._stopping
                (batch, self._newest), self._ahead = self._ahead or self._take(), None
                self._fly(batch.nbytes)
                self._look_ahead()
                return batch
            if not self._events and self._heartbeat is not None:
                heartbeat, self._heartbeat = self._heartbeat, None
                self._newest = self._clock()
                return heartbeat
            if self._reader.done():
                raise self._failure() or StopAsyncIteration
            await self._change(self._deadline())

    async def realign(self, batch: EventBatch, fixed: Position) -> EventBatch:
        """The batch again, with its end where an earlier run fixed it: the rest is put back, or more is read.

        Raises `ChainError` where the stream passes that position without the event that should be there, and
        `ShutdownError` where the pipeline stops before it came.
        """
        parts: list[EventBatch] = []
        part = batch
        if self._ahead:  # it will begin elsewhere
            (ahead, since), self._ahead = self._ahead, None
            self._put_back(ahead, since)
            self._discard()
        while True:
            index = part.index_of(fixed.resume_token)
            if index is not None:
                if index + 1 < len(part):
                    self._put_back(part[index + 1 :])
                    part = part[: index + 1]
                parts.append(part)
                recut = EventBatch.join(parts)
                self._fly(recut.nbytes)
                return recut
            if fixed.cluster_time is not None and part.end.order > fixed.order:
                raise _never_came(batch, fixed)
            parts.append(part)
            part = await self._next_chunk(batch, fixed)

    async def _next_chunk(self, batch: EventBatch, fixed: Position) -> EventBatch:
        """What comes next, however large the batch is already: another run's batch may have been larger."""
        while not self._chunks:
            self._changed.clear()
            if self._stopping:
                raise ShutdownError(f"{batch.stream} stops before it has read to the end of an earlier run's batch")
            if self._reader.done() or self._has_passed(fixed):
                raise self._failure() or _never_came(batch, fixed)
            self._fly(0)
            await self._change(None)
        chunk, _ = self._chunks.popleft()
        self._count(-len(chunk), -chunk.nbytes)
        return chunk

    async def _read(self) -> None:
        async with aclosing(cast("AsyncGenerator[EventBatch | Heartbeat]", self._replies)) as replies:
            async for reply in replies:
                if isinstance(reply, Heartbeat):
                    self._heartbeat = reply
                else:
                    self._chunks.append((reply, self._clock()))
                    self._count(len(reply), reply.nbytes)
                    self._heartbeat = None
                self._look_ahead()
                if len(self._chunks) <= 1 or self._is_complete():  # else nobody waits for it
                    self._changed.set()
                await self._room.wait()

    async def _change(self, deadline: float | None) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        except TimeoutError:
            pass  # the oldest event has waited long enough

    def _is_complete(self) -> bool:
        """Whether the gathered events, at least one, should go now."""
        return (
            self._is_full()
            or self._stopping
            or self._reader.done()
            or self._clock() >= cast("float", self._deadline())
            or (self._eager and self._heartbeat is not None and self._heartbeat.caught_up)
        )

    def _is_full(self) -> bool:
        return self._events >= self._settings.batch_size or self._bytes >= self._settings.batch_bytes

    def _look_ahead(self) -> None:
        """Take the next batch already where nothing that comes can change it, and only while one is in flight.

        Where it can not be taken, whoever iterates finds out why, in its turn.
        """
        if self._preparer is None or self._ahead or self._stopping or not self._in_flight or not self._is_full():
            return
        try:
            self._ahead = self._take()
        except Exception:
            return
        self._count(0, 0)
        self._prepares = self._ahead[0].stream
        self._preparer.prepare(self._ahead[0])

    def _discard(self) -> None:
        if self._preparer is not None and self._prepares is not None:
            self._preparer.discard(self._prepares)

    def _deadline(self) -> float | None:
        return self._chunks[0][1] + self._settings.batch_timeout if self._chunks else None

    def _take(self) -> tuple[EventBatch, float]:
        """The next batch, off the gathered chunks: at least one event, at most what the limits allow. And since when.

        That is when its newest event came.
        """
        events, nbytes = self._settings.batch_size, int(self._settings.batch_bytes)
        chunks, parts = self._chunks.copy(), list[EventBatch]()
        since = chunks[0][1]
        while chunks:
            chunk, arrived = chunks.popleft()
            fitting = chunk.prefix_length(events, nbytes) or (0 if parts else 1)
            if fitting:
                parts.append(chunk[:fitting])
                since = arrived
            if fitting < len(chunk):
                chunks.appendleft((chunk[fitting:] if fitting else chunk, arrived))
                break
            events -= len(chunk)
            nbytes -= chunk.nbytes
        batch = EventBatch.join(parts)
        together = self._cut(batch)
        if together < len(batch):
            chunks.appendleft((batch[together:], since))
            batch = batch[:together]
        self._chunks = chunks  # only now: a damaged event, found while cutting, must not leave a hole
        self._events -= len(batch)
        self._bytes -= batch.nbytes
        return batch, since

    def _put_back(self, rest: EventBatch, since: float | None = None) -> None:
        self._chunks.appendleft((rest, self._clock() if since is None else since))
        self._count(len(rest), rest.nbytes)

    def _count(self, events: int, nbytes: int) -> None:
        self._events += events
        self._bytes += nbytes
        if self._budget is not None:
            self._budget.hold(self._open_or_close, self.buffered_bytes)
        self._open_or_close()

    def _fly(self, nbytes: int) -> None:
        """The batch in flight holds so many bytes."""
        self._in_flight = nbytes
        self._count(0, 0)

    def _open_or_close(self) -> None:
        """Reading goes on while there is room; with nothing gathered there is always room for one reply."""
        together = self._budget is None or self._budget.has_room
        if not (self._chunks or self._ahead) or (together and self.buffered_bytes < self._settings.max_buffered_bytes):
            self._room.set()
        else:
            self._room.clear()

    def _has_passed(self, fixed: Position) -> bool:
        """Whether the source says that no event up to this position is still to come."""
        beat = self._heartbeat
        if beat is None or fixed.cluster_time is None:
            return False
        caught_up = beat.caught_up and beat.source_time is not None and beat.source_time >= fixed.cluster_time
        return caught_up or beat.end.order > fixed.order

    def _failure(self) -> BaseException | None:
        """Why the reader is done, if it failed."""
        return self._reader.exception() if self._reader.done() and not self._reader.cancelled() else None


def _never_came(batch: EventBatch, fixed: Position) -> ChainError:
    return ChainError(
        f"{batch.stream}: the destination has a batch that ends at cluster time {fixed.cluster_time}, "
        "but the stream passed it without that event"
    )
