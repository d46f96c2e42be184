"""The hook that registers the components of this distribution."""

from collections.abc import Iterable
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_avro() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_avro.serializer import AvroSerializer

    return AvroSerializer


@hookimpl
def rigatoni_serializers() -> Iterable[Component]:
    """Register the serializer `avro`."""
    yield Component("avro", load_avro, summary="Avro object container files; documents as JSON or BSON")
