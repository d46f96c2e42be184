"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_local() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_local.destination import LocalDestination

    return LocalDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `local`."""
    yield Component("local", load_local, summary="Writes batches as files into a folder, exactly once in effect")
