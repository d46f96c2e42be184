"""Single events beside a stream: dead letters, and what is replayed of them."""

from rigatoni_core.api.batch import Decoder, EventBatch
from rigatoni_core.api.contracts import Destination, PositionKeeper
from rigatoni_core.api.errors import ChainError
from rigatoni_core.api.events import Definition, Position, Stream


class SideStream:
    """Writes single events, each as a batch of its own that is named by the event's own position.

    So writing one again changes nothing where objects are created only if absent, however the batches of the stream
    are cut the next time, in which order the events come, and who else writes them.
    """

    def __init__(self, stream: Stream, destination: Destination) -> None:
        self.stream = stream
        self._destination = destination
        self._begun = not isinstance(destination, PositionKeeper)

    def progress(self) -> int:
        """Return `Destination.progress` of this stream."""
        return self._destination.progress(self.stream)

    async def write(self, position: Position, raw: bytes, decoder: Decoder) -> None:
        """Make the event at `position` durable. Raises what the destination raises."""
        event = EventBatch.from_reply(position, self.stream, memoryview(raw), (0, len(raw)), decoder)
        if not self._begun and isinstance(self._destination, PositionKeeper):
            await self._destination.begin(self.stream, _DEFINITION, position)
            self._begun = True
        if await self._destination.write_batch(event) is not None:
            raise ChainError(f"{self.stream}: the destination has a batch of several events where single ones stand")
        await self._destination.flush()


_DEFINITION = Definition("", "single-events", {"holds": "single events, each a batch of its own"}, layout_counts=False)
"""The same for ever, for every deployment and layout: a new definition would let an event be written again."""
