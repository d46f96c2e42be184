"""The hook: what this distribution contributes."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_gzip() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_compression.gzip import GzipSerializer

    return GzipSerializer


def load_zstd() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_compression.zstd import ZstdSerializer

    return ZstdSerializer


@hookimpl
def rigatoni_serializers() -> Iterator[Component]:
    """Register the serializers `gzip` and `zstd`."""
    yield Component("gzip", load_gzip, summary="Compresses what another serializer writes with gzip, fast (ISA-L)")
    yield Component("zstd", load_zstd, summary="Compresses what another serializer writes with Zstandard")
