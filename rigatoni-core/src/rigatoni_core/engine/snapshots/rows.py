"""The chunks of a range as batches: how they are named, and what their ends record."""

import json
from collections.abc import Sequence
from typing import Any, Self

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import ChainError
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.records import canonical
from rigatoni_core.api.snapshots import Bound, Chunk


class RowBatch(EventBatch):
    """The rows of a chunk. Its name says nothing of its rows, so it is never sliced.

    A row's position is its own token and time, and its place in the chunk: a dead letter of the row is named by it.
    """

    __slots__ = ()

    def position_at(self, index: int) -> Position:
        """Return the position of row `index`."""
        token, time = self.token_and_time(index)
        return Position(token, self.first.fingerprint, time, index)


@attrs.frozen(kw_only=True)
class Place:
    """Where a range stands, and what was read of it so far: the content of a resume token.

    Attributes:
        number: The snapshot's number.
        index: The range's place in the plan.
        chunks: How many chunks are durable.
        low: Where the next chunk begins.
        complete: Whether no chunk is left.
        rows: The rows of all chunks so far.
        nbytes: Their size in bytes.
        latest: The latest cluster time of a chunk.
        filtered: Whether documents may have been left out.
        ended: Why the rest of the range does not exist any more.
    """

    number: int
    index: int
    chunks: int = 0
    low: Bound | None = attrs.field(default=None, repr=False)
    complete: bool = False
    rows: int = 0
    nbytes: int = 0
    latest: Timestamp | None = None
    filtered: bool = False
    ended: str = ""

    def after(self, chunk: Chunk, *, filtered: bool) -> Self:
        """The place after this chunk; `filtered` if the engine may drop rows of it."""
        return attrs.evolve(
            self,
            chunks=self.chunks + 1,
            low=chunk.end,
            complete=chunk.end is None,
            rows=self.rows + chunk.count,
            nbytes=self.nbytes + chunk.nbytes,
            latest=max(chunk.at, self.latest or chunk.at),
            filtered=self.filtered or chunk.filtered or filtered,
            ended=chunk.ended,
        )

    def position(self, fingerprint: str, anchor: Timestamp | None) -> Position:
        """The position of this place: the end of a chunk, in the order of chunks."""
        record = attrs.asdict(self, recurse=False)
        record["latest"] = _numbers(self.latest)
        token = canonical({"snapshot": record})
        return Position(ResumeToken(token.decode("ascii")), fingerprint, anchor, self.chunks)

    def first(self, fingerprint: str, anchor: Timestamp | None) -> Position:
        """The position that names the next chunk: by snapshot, range and number alone."""
        token = canonical({"chunk": [self.number, self.index, self.chunks]})
        return Position(ResumeToken(token.decode("ascii")), fingerprint, anchor, self.chunks)

    @classmethod
    def read(cls, stream: Stream, position: Position, fingerprint: str) -> Self:
        """Return the place of a position that the destination or the checkpoint holds.

        Raises:
            ChainError: It belongs to another plan, or to no snapshot.
        """
        if position.fingerprint != fingerprint:
            raise ChainError(
                f"{stream}: the destination holds chunks of another plan of this snapshot",
                remedy="Restore the state store, or write elsewhere. Nothing was overwritten.",
            )
        try:
            record: dict[str, Any] = dict(json.loads(position.resume_token)["snapshot"])
            record["latest"] = Timestamp(*record["latest"]) if record["latest"] else None
            return cls(**record)
        except (KeyError, TypeError, ValueError) as error:
            raise ChainError(f"{stream}: the end of a chunk cannot be read: {type(error).__name__}") from None


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


def _numbers(time: Timestamp | None) -> Sequence[int] | None:
    return [time.seconds, time.increment] if time is not None else None
