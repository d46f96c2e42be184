"""The common base of `gzip` and `zstd`: compresses the output of another serializer."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Protocol

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Deserializer, Piecewise, Serializer
from rigatoni_core.api.errors import UnreadableError

Piece = bytes | memoryview

LARGEST = 256 * 1024**2
"""The largest decompressed object in bytes. A few kilobytes may decompress to gigabytes."""

_SLICE = 1024
"""Compressed bytes per step. Each byte decompresses to at most 32 KiB with Zstandard, 1 KiB with gzip."""


class Compressor(Protocol):
    """Compresses one frame, piece by piece."""

    def compress(self, data: Piece, /) -> bytes:
        """Add a piece, and return the output so far."""

    def flush(self) -> bytes:
        """End the frame, and return the rest of the output."""


class Frame(Protocol):
    """Decompresses one frame, piece by piece."""

    @property
    def eof(self) -> bool:
        """Whether the frame is complete."""

    @property
    def unused_data(self) -> bytes:
        """Return the input after the end of the frame."""

    def decompress(self, data: Piece, /) -> bytes:
        """Return the content of one more piece."""


@attrs.define(kw_only=True, eq=False)
class Compressed(Serializer, Deserializer):
    """The compressed output of another serializer: one complete frame per batch, with the inner media type.

    Raises:
        ValueError: `inner` compresses its output. Compressing twice costs time, saves nothing, and hides the file from
            readers that could open it directly.
    """

    inner: Annotated[Serializer, "Serializer whose output is compressed, as `{ type = ... }`"]

    compressed = True
    _ending = ""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.inner, Serializer):
            raise ValueError(f'inner must be a serializer, such as {{ type = "json" }}, not {self.inner!r}')
        if self.inner.compressed:
            raise ValueError(
                f"inner writes {self.inner.suffix}, which is already compressed: "
                f"use it directly, without {self.content_encoding}"
            )
        self.media_type = self.inner.media_type
        self.suffix = self.inner.suffix + self._ending
        self.columns = self.inner.columns

    @property
    def accepts(self) -> frozenset[str]:
        """The formats that the inner serializer accepts."""
        return self.inner.accepts

    def serialize(self, events: EventBatch) -> bytes:
        """Return the compressed output of the inner serializer, and pass on its errors."""
        inner, compressor = self.inner, self._compressor()
        pieces = inner.pieces(events) if isinstance(inner, Piecewise) else (inner.serialize(events),)
        compressed = [compressor.compress(piece) for piece in self._split(pieces)]
        return b"".join([*compressed, compressor.flush()])

    def _split(self, pieces: Iterable[Piece]) -> Iterable[Piece]:
        """Split the input differently, for compressors whose output depends on how it is split."""
        return pieces

    def deserialize(self, content: bytes) -> Iterable[Mapping[str, Any]]:
        """Return the events that the inner serializer reads from the decompressed bytes.

        Raises:
            UnreadableError: The bytes are damaged, or the inner serializer cannot read.
        """
        if not isinstance(self.inner, Deserializer):
            raise UnreadableError(f"the serializer that writes {self.inner.suffix} cannot read")
        return self.inner.deserialize(self._decompress(content))

    @abstractmethod
    def _decompress(self, content: bytes) -> bytes:
        """Return the content of all frames.

        Raises:
            UnreadableError: The frames are damaged, or their content is larger than `LARGEST`.
        """

    @abstractmethod
    def _compressor(self) -> Compressor:
        """Return a compressor for one frame, with deterministic output. Called from several threads at once."""


def decompressed(content: bytes, frame: Callable[[], Frame], name: str) -> bytes:
    """Decompress all frames in `content` in bounded memory.

    Args:
        content: One or more complete frames.
        frame: Returns a decompressor for one frame.
        name: The format, for messages.

    Raises:
        UnreadableError: The end is missing, or the content is larger than `LARGEST`.
    """
    parts, size, place, view = list[bytes](), 0, 0, memoryview(content)
    while place < len(view):
        current = frame()
        while not current.eof:
            piece = view[place : place + _SLICE]
            if not piece:
                raise UnreadableError(f"the {name} data is damaged: its end is missing")
            place += len(piece)
            parts.append(current.decompress(piece))
            size += len(parts[-1])
            if size > LARGEST:
                raise UnreadableError(
                    f"{len(content):,} bytes of {name} decompress to more than {LARGEST // 1024**2} MiB"
                )
        place -= len(current.unused_data)
    return b"".join(parts)


def check_level(level: int, lowest: int, highest: int) -> None:
    """Raise ValueError if the level is out of bounds."""
    if not lowest <= level <= highest:
        raise ValueError(f"level is {level}; it must be between {lowest} (fastest) and {highest} (smallest)")
