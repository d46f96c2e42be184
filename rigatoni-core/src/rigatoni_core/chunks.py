"""Raw documents as they came: what a batch is gathered from."""

from array import array
from collections.abc import Sequence
from itertools import pairwise

import attrs

_LARGE = 128 * 1024
"""Bytes from which on a chunk is worth being worked on by itself: a copy of it costs more than one more round."""


@attrs.frozen(eq=False)
class Chunk:
    """Raw documents one after another, as a source received them.

    Document `i` is `buffer[offsets[i]:offsets[i + 1]]`; `offsets` has one number more than there are documents.
    """

    buffer: memoryview
    offsets: Sequence[int]

    @property
    def nbytes(self) -> int:
        """The size of the documents in bytes."""
        return self.offsets[-1] - self.offsets[0]

    @property
    def documents(self) -> memoryview:
        """The documents without what else the buffer holds, without a copy."""
        return self.buffer[self.offsets[0] : self.offsets[-1]]

    def raw(self, index: int) -> memoryview:
        """Document `index` (0 to len - 1), without a copy."""
        return self.buffer[self.offsets[index] : self.offsets[index + 1]]

    def copies(self) -> list[bytes]:
        """Each document."""
        data, base = self.documents.tobytes(), self.offsets[0]
        return [data[start - base : end - base] for start, end in pairwise(self.offsets)]

    def cut(self, start: int, stop: int) -> "Chunk":
        """The documents from `start` up to `stop`, without a copy."""
        if (start, stop) == (0, len(self)):
            return self
        return Chunk(self.buffer, self.offsets[start : stop + 1])

    def __len__(self) -> int:
        return len(self.offsets) - 1


def merged(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """The chunks; all in one where they are small, for many would be slow to use."""
    if len(chunks) < 2 or sum(chunk.nbytes for chunk in chunks) >= len(chunks) * _LARGE:
        return chunks
    return (joined(chunks),)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """All documents of these chunks, copied."""
    offsets, nbytes = array("Q"), 0
    for chunk in chunks:
        shift = nbytes - chunk.offsets[0]
        offsets.extend(offset + shift for offset in chunk.offsets[:-1])
        nbytes += chunk.nbytes
    offsets.append(nbytes)
    return Chunk(memoryview(b"".join(chunk.documents for chunk in chunks)), offsets)
