"""The hook that registers the components of this distribution."""

from collections.abc import Iterable
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_parquet() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_parquet.serializer import ParquetSerializer

    return ParquetSerializer


@hookimpl
def rigatoni_serializers() -> Iterable[Component]:
    """Register the serializer `parquet`."""
    yield Component("parquet", load_parquet, summary="One Parquet file per batch; documents as JSON or nested columns")
