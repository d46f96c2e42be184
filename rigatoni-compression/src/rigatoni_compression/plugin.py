"""The hook that registers the components of this distribution."""

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
    yield Component("gzip", load_gzip, summary="Compresses the output of another serializer with gzip, fast (ISA-L)")
    yield Component("zstd", load_zstd, summary="Compresses the output of another serializer with Zstandard")
