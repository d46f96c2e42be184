"""What `gzip` and `zstd` have in common: they take another serializer's bytes and compress them."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Protocol

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Deserializer, Piecewise, Serializer
from rigatoni_core.api.errors import UnreadableError

Piece = bytes | memoryview

LARGEST = 256 * 1024**2
"""Bytes that one object may hold when it is read: a few kilobytes can claim to be gigabytes."""

_SLICE = 1024
"""Compressed bytes that are read at once. Zstandard makes at most 32 KiB of each byte, gzip 1 KiB."""


class Compressor(Protocol):
    """Compresses one frame, piece by piece."""

    def compress(self, data: Piece, /) -> bytes:
        """Return what is ready after one more piece."""

    def flush(self) -> bytes:
        """End the frame and return the rest of it."""


class Frame(Protocol):
    """Decompresses one frame, piece by piece."""

    @property
    def eof(self) -> bool:
        """Whether the frame is complete."""

    @property
    def unused_data(self) -> bytes:
        """Return what followed the end of the frame."""

    def decompress(self, data: Piece, /) -> bytes:
        """Return the content of one more piece."""


@attrs.define(kw_only=True, eq=False)
class Compressed(Serializer, Deserializer):
    """Another serializer's bytes, compressed: one complete frame per batch.

    The media type stays the inner one's. Raises ValueError when `inner` compresses by itself: compressing twice costs
    time, saves nothing, and hides the file from readers that would open it directly.
    """

    inner: Annotated[Serializer, "The serializer whose bytes are compressed, as `{ type = ... }`"]

    compressed = True
    _ending = ""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.inner, Serializer):
            raise ValueError(f'inner must be a serializer, such as {{ type = "json" }}, not {self.inner!r}')
        if self.inner.compressed:
            raise ValueError(
                f"inner writes {self.inner.suffix}, which compresses by itself: "
                f"use it as the serializer itself, without {self.content_encoding} around it"
            )
        self.media_type = self.inner.media_type
        self.suffix = self.inner.suffix + self._ending
        self.columns = self.inner.columns

    @property
    def accepts(self) -> frozenset[str]:
        """What the inner serializer accepts."""
        return self.inner.accepts

    def serialize(self, events: EventBatch) -> bytes:
        """The batch as the inner serializer writes it, compressed. Raises what the inner serializer raises."""
        inner, compressor = self.inner, self._compressor()
        pieces = inner.pieces(events) if isinstance(inner, Piecewise) else (inner.serialize(events),)
        compressed = [compressor.compress(piece) for piece in self._even(pieces)]
        return b"".join([*compressed, compressor.flush()])

    def _even(self, pieces: Iterable[Piece]) -> Iterable[Piece]:
        """The same bytes in other pieces, where what is compressed depends on the pieces."""
        return pieces

    def deserialize(self, content: bytes) -> Iterable[Mapping[str, Any]]:
        """What the inner serializer reads in the decompressed bytes. Raises `UnreadableError`, also where it can't."""
        if not isinstance(self.inner, Deserializer):
            raise UnreadableError(f"the serializer that writes {self.inner.suffix} cannot read")
        return self.inner.deserialize(self._decompress(content))

    @abstractmethod
    def _decompress(self, content: bytes) -> bytes:
        """The bytes of all frames. Raises `UnreadableError` where they are damaged, or more than `LARGEST`."""

    @abstractmethod
    def _compressor(self) -> Compressor:
        """For one frame, the same for the same content. Called from several threads at once."""


def decompressed(content: bytes, frame: Callable[[], Frame], name: str) -> bytes:
    """The bytes of all frames in `content`, in bounded memory; `frame` returns a decompressor for one.

    Raises `UnreadableError` where the end is missing or there are more than `LARGEST` bytes, and what `frame` raises.
    """
    parts, size, place, view = list[bytes](), 0, 0, memoryview(content)
    while place < len(view):
        current = frame()
        while not current.eof:
            piece = view[place : place + _SLICE]
            if not piece:
                raise UnreadableError(f"it is no intact {name}: its end is missing")
            place += len(piece)
            parts.append(current.decompress(piece))
            size += len(parts[-1])
            if size > LARGEST:
                raise UnreadableError(f"{len(content):,} bytes of {name} hold more than {LARGEST // 1024**2} MiB")
        place -= len(current.unused_data)
    return b"".join(parts)


def check_level(level: int, lowest: int, highest: int) -> None:
    """Raise ValueError unless the level is within these bounds."""
    if not lowest <= level <= highest:
        raise ValueError(f"level is {level}; it must be between {lowest} (fastest) and {highest} (smallest)")
