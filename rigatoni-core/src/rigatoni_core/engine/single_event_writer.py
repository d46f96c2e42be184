"""Single events next to a stream: dead letters, and the events replayed from them."""

from collections.abc import Awaitable, Callable

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Destination, PositionKeeper, TransactionalKeeper
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import ChainError
from rigatoni_core.api.events import Definition, Gap, Position, Stream


class SingleEventWriter:
    """Writes single events, each as its own batch, named by the event's own position.

    So on a destination that creates objects only if absent, a repeated write changes nothing, for any batches of the
    stream, order of events and number of writers. A transactional destination holds one position, so there an event may
    be repeated if others were written after it.

    Args:
        stream: The stream that the events are written to, next to the one that they come from.
        destination: Where they are written.
    """

    def __init__(self, stream: Stream, destination: Destination) -> None:
        self.stream = stream
        self._destination = destination
        self._begun = not isinstance(destination, PositionKeeper)

    def progress(self) -> int:
        """Return `Destination.progress` of this stream."""
        return self._destination.progress(self.stream)

    async def write(
        self,
        position: Position,
        raw: bytes,
        decoder: Decoder,
        transform: Callable[[EventBatch], Awaitable[EventBatch]] | None = None,
    ) -> None:
        """Make the event durable.

        Args:
            position: The event's own position.
            raw: Its raw document.
            decoder: Reads that document.
            transform: What is done with it before it is written, if anything.

        Raises:
            ChainError: The destination holds a batch of several events at this position.
            RigatoniError: What the destination raises.
        """
        event = EventBatch.from_reply(position, self.stream, memoryview(raw), (0, len(raw)), decoder)
        if transform is not None:
            event = await transform(event)
        if not self._begun and isinstance(self._destination, PositionKeeper):
            await self._destination.begin(self.stream, _DEFINITION, position)
            self._begun = True
        if isinstance(self._destination, TransactionalKeeper):
            await self._move_before(event, position)
        if await self._destination.write_batch(event) is not None:
            raise ChainError(f"{self.stream}: the destination has a batch of several events instead of single ones")
        await self._destination.flush()

    async def _move_before(self, event: EventBatch, position: Position) -> None:
        """Move a transactional destination back, if its position is beyond the event: it would take it for written.

        The event may have been written. A repeat is the lesser evil, and the last one written is recognized.
        """
        assert isinstance(self._destination, TransactionalKeeper)
        held = await self._destination.last_committed(self.stream)
        if held is not None and event.first.order < held.order != event.end.order:
            gap = Gap("single events come in any order", held, position)
            await self._destination.begin(self.stream, _DEFINITION, position, gap=gap)


_DEFINITION = Definition("single-events", {"holds": "single events, each a batch of its own"}, layout_counts=False)
"""The same for every deployment and layout: with a new definition an event would be written again."""
