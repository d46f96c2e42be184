"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_iceberg() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_iceberg.destination import IcebergDestination

    return IcebergDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `iceberg`."""
    yield Component("iceberg", load_iceberg, summary="Appends change events to Iceberg tables, with their position")
