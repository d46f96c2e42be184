"""The chunks of a range as batches."""

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.events import Position, Stream, Timestamp
from rigatoni_core.api.snapshot_records import Place
from rigatoni_core.api.snapshots import Chunk


class RowBatch(EventBatch):
    """The rows of a chunk. Its name says nothing of its rows, so it is never sliced.

    A row's position is its own token and time, and its place in the chunk: a dead letter of the row is named by it.
    """

    __slots__ = ()

    def position_at(self, index: int) -> Position:
        """Return the position of row `index`."""
        token, time = self.token_and_time(index)
        return Position(token, self.first.fingerprint, time, index)


def row_batch(
    stream: Stream,
    place: Place,
    after: Place,
    chunk: Chunk,
    decoder: Decoder,
    *,
    fingerprint: str,
    anchor: Timestamp | None,
) -> RowBatch:
    """Return the batch of a chunk.

    Args:
        stream: The range's stream.
        place: Where the chunk begins.
        after: Where it ends.
        chunk: What was read.
        decoder: The source's.
        fingerprint: Of the plan.
        anchor: The cluster time of the plan's anchor, which orders the names of all chunks.
    """
    return RowBatch(
        stream,
        first=place.first(fingerprint, anchor),
        end=after.position(fingerprint, anchor),
        segments=tuple(chunk.rows),
        decoder=decoder,
        source_time=chunk.at,
    )
