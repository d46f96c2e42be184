"""Single events next to a stream: dead letters, and the events replayed from them."""

from collections.abc import Awaitable, Callable

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Destination, PositionKeeper
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import ChainError
from rigatoni_core.api.events import Definition, Position, Stream


class SingleEventWriter:
    """Writes single events, each as its own batch, named by the event's own position.

    So on a destination that creates objects only if absent, a repeated write changes nothing, for any batches of the
    stream, order of events and number of writers.

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
        if await self._destination.write_batch(event) is not None:
            raise ChainError(f"{self.stream}: the destination has a batch of several events instead of single ones")
        await self._destination.flush()


_DEFINITION = Definition("single-events", {"holds": "single events, each a batch of its own"}, layout_counts=False)
"""The same for every deployment and layout: with a new definition an event would be written again."""
