"""The buffer of a stream's undelivered events: replies go in, batches come out, in order."""

from collections import deque
from collections.abc import Callable

from rigatoni_core.api.batch import EventBatch, Heartbeat


class EventBuffer:
    """The events of one stream between its source and its destination. Starts no task and reads no clock.

    Events leave the buffer in the order in which they entered it. A heartbeat leaves it only while the buffer holds no
    event, so an idle position never overtakes an undelivered event. A batch that was formed ahead of time (`form`)
    stays in the buffer until it is taken, so this holds for it too.

    Args:
        batch_size: Most events of a batch.
        batch_bytes: Most bytes of a batch, unless a single event is larger.
        split: Returns how many leading events of a batch may share it, 1 to all.
    """

    def __init__(self, batch_size: int, batch_bytes: int, split: Callable[[EventBatch], int] = len) -> None:
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._split = split
        self._chunks: deque[tuple[EventBatch, float]] = deque()  # each with its time of arrival
        self._heartbeat: Heartbeat | None = None  # after all chunks
        self._formed = False
        self.events = 0
        """Events in the buffer."""
        self.nbytes = 0
        """Their size in bytes."""

    @property
    def formed(self) -> bool:
        """Whether the first chunk is the next batch, and nothing that is added changes it."""
        return self._formed

    @property
    def is_full(self) -> bool:
        """Whether the buffer holds at least one batch of the largest size."""
        return self.events >= self._batch_size or self.nbytes >= self._batch_bytes

    @property
    def oldest(self) -> float | None:
        """The time at which the first event arrived; None without events."""
        return self._chunks[0][1] if self._chunks else None

    @property
    def heartbeat(self) -> Heartbeat | None:
        """The heartbeat that came after all events in the buffer, if one did. It stays in the buffer."""
        return self._heartbeat

    def add(self, item: EventBatch | Heartbeat, now: float) -> None:
        """Append an item that the source yielded at time `now`. It replaces a preceding heartbeat."""
        if isinstance(item, Heartbeat):
            self._heartbeat = item
        else:
            self._heartbeat = None
            self._chunks.append((item, now))
            self._count(item, 1)

    def form(self) -> EventBatch:
        """Return the next batch, which stays in the buffer until `take`; there must be an event.

        Raises:
            DamagedEventError: An event at a place where the batch may end cannot be read. The buffer is unchanged.
        """
        if not self._formed:
            batch = self._largest()
            batch = batch[: self._split(batch)]
            if batch is not self._chunks[0][0]:
                self._replace_first(batch)
            self._formed = True
        return self._chunks[0][0]

    def take(self) -> tuple[EventBatch, float]:
        """Remove the next batch; there must be an event.

        Returns:
            The batch, and the time at which its newest event arrived.

        Raises:
            DamagedEventError: As `form`.
        """
        self.form()
        return self.take_chunk()

    def take_chunk(self) -> tuple[EventBatch, float]:
        """Remove the first chunk regardless of batch limits. Returns what `take` returns."""
        self._formed = False
        chunk, arrived = self._chunks.popleft()
        self._count(chunk, -1)
        return chunk, arrived

    def put_back(self, events: EventBatch, arrived: float) -> None:
        """Put events that were taken back at the front; they arrived at the time `arrived`.

        The next batch begins with them: a formed batch is formed again.
        """
        self.unform()
        self._chunks.appendleft((events, arrived))
        self._count(events, 1)

    def unform(self) -> None:
        """Let the next batch be formed again, since it begins elsewhere."""
        self._formed = False

    def take_heartbeat(self) -> Heartbeat | None:
        """Remove the heartbeat; None if none came, and while an event before it is in the buffer."""
        if self._chunks:
            return None
        heartbeat, self._heartbeat = self._heartbeat, None
        return heartbeat

    def _largest(self) -> EventBatch:
        """Return as many of the first events as the limits allow, at least one."""
        parts, events, nbytes = list[EventBatch](), self._batch_size, self._batch_bytes
        for chunk, _ in self._chunks:
            length = chunk.prefix_length(events, nbytes) or (0 if parts else 1)
            if length:
                parts.append(chunk[:length])
            if length < len(chunk):
                break
            events -= len(chunk)
            nbytes -= chunk.nbytes
        return EventBatch.join(parts)

    def _replace_first(self, batch: EventBatch) -> None:
        """Merge the events of the batch, which are the first, into one chunk."""
        chunks, rest = self._chunks.copy(), len(batch)
        while rest:
            chunk, arrived = chunks.popleft()
            if rest < len(chunk):
                chunks.appendleft((chunk[rest:], arrived))
            rest -= min(rest, len(chunk))
        chunks.appendleft((batch, arrived))
        self._chunks = chunks  # only now: an error above must not leave a hole

    def _count(self, events: EventBatch, sign: int) -> None:
        self.events += sign * len(events)
        self.nbytes += sign * events.nbytes
