"""Segments: the raw documents of one reply, from which batches are built."""

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import attrs

_LARGE = 128 * 1024
"""Segments of at least this many bytes are not merged: copying one costs more than processing it separately."""


@attrs.frozen(eq=False)
class Segment:
    """Consecutive raw documents as a source received them.

    Document `i` is `buffer[offsets[i]:offsets[i + 1]]`; `offsets` has one number more than there are documents.
    """

    buffer: memoryview
    offsets: Sequence[int]

    @classmethod
    def of(cls, documents: Iterable[bytes | memoryview]) -> "Segment":
        """Return a segment with copies of these documents.

        Args:
            documents: Raw documents.
        """
        parts = list(documents)
        return cls(memoryview(b"".join(parts)), array("Q", accumulate(map(len, parts), initial=0)))

    @property
    def nbytes(self) -> int:
        """The size of the documents in bytes."""
        return self.offsets[-1] - self.offsets[0]

    @property
    def documents(self) -> memoryview:
        """The documents without what else the buffer holds, without a copy."""
        return self.buffer[self.offsets[0] : self.offsets[-1]]

    def raw(self, index: int) -> memoryview:
        """Return document `index` (0 to len - 1) without a copy."""
        return self.buffer[self.offsets[index] : self.offsets[index + 1]]

    def copies(self) -> list[bytes]:
        """Return a copy of each document."""
        data, base = self.documents.tobytes(), self.offsets[0]
        return [data[start - base : end - base] for start, end in pairwise(self.offsets)]

    def cut(self, start: int, stop: int) -> "Segment":
        """Return the documents from `start` up to `stop` without a copy."""
        if (start, stop) == (0, len(self)):
            return self
        return Segment(self.buffer, self.offsets[start : stop + 1])

    def __len__(self) -> int:
        return len(self.offsets) - 1


def between(segments: Sequence[Segment], start: int, stop: int) -> Sequence[Segment]:
    """Return the documents from `start` up to `stop` of these segments together, without a copy.

    Args:
        segments: The segments, in order.
        start: The number of the first document, from 0.
        stop: The number after the last one.
    """
    found = []
    for segment in segments:
        if max(start, 0) < min(stop, len(segment)):
            found.append(segment.cut(max(start, 0), min(stop, len(segment))))
        start, stop = start - len(segment), stop - len(segment)
    return found


def merged(segments: Sequence[Segment]) -> Sequence[Segment]:
    """Return the segments, merged into one if they are small, because many segments are slow to process.

    Args:
        segments: The segments of a batch.
    """
    if len(segments) < 2 or sum(segment.nbytes for segment in segments) >= len(segments) * _LARGE:
        return segments
    return (joined(segments),)


def joined(segments: Sequence[Segment]) -> Segment:
    """Return one segment with copies of all documents of these segments.

    Args:
        segments: The segments, in order.
    """
    offsets, nbytes = array("Q"), 0
    for segment in segments:
        shift = nbytes - segment.offsets[0]
        offsets.extend(offset + shift for offset in segment.offsets[:-1])
        nbytes += segment.nbytes
    offsets.append(nbytes)
    return Segment(memoryview(b"".join(segment.documents for segment in segments)), offsets)
