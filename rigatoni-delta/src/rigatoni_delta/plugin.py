"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_delta() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_delta.destination import DeltaDestination

    return DeltaDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `delta`."""
    yield Component("delta", load_delta, summary="Appends change events to Delta Lake tables, with their position")
