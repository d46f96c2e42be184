"""How far the stream is that a snapshot belongs to: what is written, what is read, and the server's time."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import cast

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.events import Position, Timestamp

HISTORY = 240
"""Seconds of history that are safely readable: servers keep five minutes (`minSnapshotHistoryWindowInSeconds`)."""


class StreamTime:
    """Tells at which time a chunk can be read now.

    Args:
        pause_when_lag: Seconds of unread changes from which on nothing is read for a snapshot.
        changed: Called whenever something here changes.
    """

    def __init__(self, pause_when_lag: float, changed: Callable[[], None]) -> None:
        self._pause_when_lag = pause_when_lag
        self._changed = changed
        self._written: Position | None = None
        self._at: Position | None = None
        self._server: Timestamp | None = None
        self._read: Timestamp | None = None
        self.floor: Position | None = None
        """What exists at the destination ends here: nothing is read before the stream has come so far."""
        self.reads_at_times = False
        """Whether chunks are read at times, of which the server keeps only the last minutes."""
        self.paused = False
        """Whether a command paused the snapshot."""

    async def watched(self, items: AsyncIterator[EventBatch | Heartbeat]) -> AsyncIterator[EventBatch | Heartbeat]:
        """Yield the items unchanged."""
        async with aclosing(cast("AsyncGenerator[EventBatch | Heartbeat]", items)) as reading:
            async for item in reading:
                caught_up = isinstance(item, Heartbeat) and item.caught_up
                self._server = item.source_time or self._server
                self._read = item.source_time if caught_up and item.source_time else item.end.cluster_time
                self._changed()
                yield item

    def reached(self, item: EventBatch | Heartbeat) -> None:
        """Note that everything up to the end of this item is durable."""
        self._written = self._at = item.end
        time, server = item.end.cluster_time, item.source_time
        if time is not None and server is not None and time > server:  # a token may be ahead of the server's time
            self._at = item.end.moved(item.end.resume_token, server, 0)
        self._changed()

    @property
    def written(self) -> Position | None:
        """The position up to which the stream is durable, once known in this entry."""
        return self._written

    @property
    def at(self) -> Position | None:
        """The position to read at: its time is never later than the server's. None while nothing may be read."""
        if self._at is None or self._written is None or self.obstacle:
            return None
        return self._at if self.floor is None or self._written.order >= self.floor.order else None

    @property
    def lag(self) -> float:
        """Seconds of changes that the stream has not read."""
        return max(0.0, float(self._server.seconds - self._read.seconds)) if self._server and self._read else 0.0

    @property
    def obstacle(self) -> str:
        """Why nothing may be read now; empty if nothing is in the way."""
        if self.paused:
            return "a command paused it"
        if self.lag > self._pause_when_lag:
            return f"the stream has {self.lag:.0f} s of changes to read"
        time = self._at.cluster_time if self._at else None
        if time and self._server and self.reads_at_times and self._server.seconds - time.seconds > HISTORY:
            return "what is delivered is too far behind the server's time"
        return ""

    def has_written(self, time: Timestamp) -> bool:
        """Whether all events up to this time are durable; others of exactly this time may follow."""
        reached = self._written.cluster_time if self._written else None
        return reached is not None and reached >= time
