"""The serializer `zstd`."""

import threading
from typing import Annotated

import attrs
from rigatoni_core.api.errors import UnreadableError
from zstandard import ZstdCompressionParameters, ZstdCompressor, ZstdDecompressor, ZstdError

from rigatoni_compression.serializer import Compressed, Compressor, check_level, decompressed

_TUNED = {2: {"window_log": 19, "hash_log": 15}}
"""Parameters by level. Half of level 2's default tables fit into a core's cache: the same size in 3 % less time."""


@attrs.define(kw_only=True, eq=False)
class ZstdSerializer(Compressed):
    """Zstandard (RFC 8878): one frame per batch, with a checksum of its content."""

    level: Annotated[int, "From 1 (fastest) to 22 (smallest)"] = 2

    content_encoding = "zstd"
    _ending = ".zst"
    _contexts: threading.local = attrs.field(init=False, repr=False, factory=threading.local)

    def __attrs_post_init__(self) -> None:
        check_level(self.level, 1, 22)
        super().__attrs_post_init__()

    def _compressor(self) -> Compressor:
        return self._context().compressobj()

    def _decompress(self, content: bytes) -> bytes:
        try:
            return decompressed(content, lambda: ZstdDecompressor().decompressobj(), "zstd")
        except ZstdError as error:
            raise UnreadableError(f"the zstd data is damaged: {error}") from None

    def _context(self) -> ZstdCompressor:
        """Return this thread's compressor. It is expensive to create, and threads must not share one."""
        context: ZstdCompressor | None = getattr(self._contexts, "compressor", None)
        if context is None:
            tuned = _TUNED.get(self.level, {})
            parameters = ZstdCompressionParameters.from_level(self.level, write_checksum=True, **tuned)
            context = ZstdCompressor(compression_params=parameters)
            self._contexts.compressor = context
        return context
