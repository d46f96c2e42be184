"""Batching: forms the next batch of a stream while the previous one is being written.

One reader task per stream takes whole replies; nothing here is done per event. The bytes held are bounded: a full
buffer, of this stream or of all together, stops reading, and the server keeps the rest.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Self, cast

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import Prefetching
from rigatoni_core.api.errors import ChainError, ShutdownError
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.notices import BatchRead, BatchRealigned, CaughtUp, ReplyRead
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.event_buffer import EventBuffer
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_core.engine.prefetcher import Prefetcher


class Batcher:
    """The batches and heartbeats of one stream; iterate it inside its `async with`.

    A batch is yielded as soon as it is full or old enough, or the source has no more. Requesting the next item means
    that the previous one is durable: only then, and only while no event is left, a heartbeat is yielded. When the
    source fails, the events read before are yielded first, then its error is raised.

    Args:
        stream: The stream.
        replies: The items that its source yields.
        settings: Limits of a batch (`batch_size`, `batch_bytes`, `batch_timeout`) and of the memory.
        split: Returns how many leading events of a batch may share it, 1 to all.
        eager: Whether a batch also ends as soon as the source has caught up.
        budget: Bounds what all streams hold together.
        prefetching: Prepares the next batch while the one before is in flight.
    """

    def __init__(
        self,
        stream: Stream,
        replies: AsyncIterator[EventBatch | Heartbeat],
        settings: Settings,
        *,
        split: Callable[[EventBatch], int] = len,
        eager: bool = False,
        budget: MemoryBudget | None = None,
        prefetching: Prefetching | None = None,
    ) -> None:
        self._stream = stream
        self._replies = replies
        self._settings = settings
        self._eager = eager
        self._buffer = EventBuffer(settings.batch_size, int(settings.batch_bytes), split)
        self._prefetcher = Prefetcher(stream, self._buffer, prefetching)
        self._reservation = (budget or MemoryBudget(settings.max_buffered_bytes)).reserve(self._open_or_close)
        self._in_flight = 0  # bytes of the batch that was yielded last
        self._realigning = False
        self._stopping = False
        self._finished = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._clock = asyncio.get_running_loop().time
        self._arrived = self._clock()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.cancel()
        self._reservation.release()
        await asyncio.wait([self._reader])
        self._prefetcher.discard()
        if not self._reader.cancelled():
            self._reader.exception()  # already raised to the consumer, or no longer relevant

    def stop(self) -> None:
        """Stop reading: at most one more batch is yielded, of the events read before."""
        self._stopping = True
        if not self._finished:
            self._reader.cancel()
        self._changed.set()

    @property
    def buffered_bytes(self) -> int:
        """The bytes of raw documents held now, including the batch in flight."""
        return self._reservation.nbytes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventBatch | Heartbeat:
        self._hold(in_flight=0)
        while True:
            self._changed.clear()
            if self._finished:
                raise StopAsyncIteration
            if (item := self._next()) is not None:
                self._publish_taken(item)
                return item
            if self._reader.done():
                raise self._failure() or StopAsyncIteration
            await self._change(self._deadline)

    def _next(self) -> EventBatch | Heartbeat | None:
        """Return the item to yield now, if any. Never the heartbeat while an event is buffered."""
        if self._is_due():
            batch, self._arrived = self._buffer.take()
            self._finished = self._stopping
            self._hold(in_flight=batch.nbytes)
            self._prefetch()
            return batch
        return self._buffer.take_heartbeat()

    async def realign(self, batch: EventBatch, end: Position) -> EventBatch:
        """Return the batch with the end that an earlier run fixed: the remaining events are put back, or more are read.

        Raises:
            ChainError: The stream passes that position without the event that should be there.
            ShutdownError: The pipeline stops before that event came.
        """
        self._prefetcher.discard()
        self._realigning = True  # the start of the next batch is unknown until this one is complete
        parts, part = list[EventBatch](), batch
        while (index := part.index_of(end.resume_token)) is None:
            if end.cluster_time is not None and part.end.order > end.order:
                raise self._never_came(end)
            parts.append(part)
            part = await self._next_chunk(end)
        if index + 1 < len(part):
            self._buffer.put_back(part[index + 1 :], self._arrived)
        realigned = EventBatch.join([*parts, part[: index + 1]])
        self._realigning = False
        self._hold(in_flight=realigned.nbytes)
        self._prefetch()
        publish(BatchRealigned(stream=self._stream, events=len(realigned), bytes=realigned.nbytes))
        return realigned

    async def _next_chunk(self, end: Position) -> EventBatch:
        """Return the next events regardless of batch limits: the earlier run's batch may have been larger."""
        while not self._buffer.events:
            self._changed.clear()
            if self._stopping:
                raise ShutdownError(f"{self._stream} stops before it has read to the end of an earlier run's batch")
            if self._reader.done() or self._has_passed(end):
                raise self._failure() or self._never_came(end)
            await self._change(None)
        chunk, self._arrived = self._buffer.take_chunk()
        self._hold(self._in_flight + chunk.nbytes)
        return chunk

    async def _read(self) -> None:
        async with aclosing(cast("AsyncGenerator[EventBatch | Heartbeat]", self._replies)) as replies:
            async for reply in replies:
                waits = not self._buffer.events  # for a first event, or for a heartbeat
                self._buffer.add(reply, self._clock())
                self._prefetch()
                self._hold(self._in_flight)
                self._publish_reply(reply)
                if waits or self._is_due():
                    self._changed.set()
                await self._room.wait()

    def _publish_reply(self, reply: EventBatch | Heartbeat) -> None:
        batch = reply if isinstance(reply, EventBatch) else None
        publish(
            ReplyRead(
                stream=self._stream,
                events=len(batch) if batch else 0,
                bytes=batch.nbytes if batch else 0,
                end=reply.end,
                source_time=reply.source_time,
                caught_up=isinstance(reply, Heartbeat) and reply.caught_up,
                paused=not self._room.is_set(),
            )
        )

    def _publish_taken(self, item: EventBatch | Heartbeat) -> None:
        if isinstance(item, EventBatch):
            publish(BatchRead(stream=self._stream, events=len(item), bytes=item.nbytes))
        elif item.caught_up:
            publish(CaughtUp(stream=self._stream, end=item.end))

    async def _change(self, deadline: float | None) -> None:
        """Wait for the reader or for a stop, until the oldest event has waited long enough."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()

    def _is_due(self) -> bool:
        """Return whether the buffered events are due; False without events."""
        buffer, deadline = self._buffer, self._deadline
        return deadline is not None and (
            buffer.formed
            or buffer.is_full
            or self._stopping
            or self._reader.done()
            or self._clock() >= deadline
            or (self._eager and buffer.heartbeat is not None and buffer.heartbeat.caught_up)
        )

    @property
    def _deadline(self) -> float | None:
        """Return the time at which the oldest event is due; None without events."""
        oldest = self._buffer.oldest
        return None if oldest is None else oldest + self._settings.batch_timeout

    def _prefetch(self) -> None:
        if self._in_flight and not (self._realigning or self._stopping):
            self._prefetcher.prefetch()

    def _hold(self, in_flight: int) -> None:
        """Account for the buffer and for this many bytes of the batch in flight."""
        self._in_flight = in_flight
        self._reservation.hold(self._buffer.nbytes + in_flight)
        self._open_or_close()

    def _open_or_close(self) -> None:
        """Let the reader run while there is room; an empty buffer always has room for one reply."""
        nbytes = self._reservation.nbytes
        if not self._buffer.events or (self._reservation.has_room and nbytes < self._settings.max_buffered_bytes):
            self._room.set()
        else:
            self._room.clear()

    def _has_passed(self, end: Position) -> bool:
        """Return whether the source has passed this position."""
        beat = self._buffer.heartbeat
        if beat is None or end.cluster_time is None:
            return False
        caught_up = beat.caught_up and beat.source_time is not None and beat.source_time >= end.cluster_time
        return caught_up or beat.end.order > end.order

    def _failure(self) -> BaseException | None:
        """Return the reader's error, if it failed."""
        return self._reader.exception() if self._reader.done() and not self._reader.cancelled() else None

    def _never_came(self, end: Position) -> ChainError:
        return ChainError(
            f"{self._stream}: the destination has a batch that ends at cluster time {end.cluster_time}, "
            "but the stream passed it without that event"
        )
