"""The hook that registers the components of this distribution."""

from collections.abc import Iterable
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_csv() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_csv.serializer import CsvSerializer

    return CsvSerializer


@hookimpl
def rigatoni_serializers() -> Iterable[Component]:
    """Register the serializer `csv`."""
    yield Component("csv", load_csv, summary="One change event per row (RFC 4180); documents as JSON in cells")
