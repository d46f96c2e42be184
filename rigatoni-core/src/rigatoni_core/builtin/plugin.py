"""The hooks of the builtins, registered like those of any plugin."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_memory() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_core.builtin.memory import MemoryStateStore

    return MemoryStateStore


def load_stdout() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_core.builtin.stdout import StdoutDestination

    return StdoutDestination


@hookimpl
def rigatoni_states() -> Iterator[Component]:
    """Register the state store `memory`."""
    yield Component("memory", load_memory, summary="Forgets everything when the process ends; keeps leases")


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Register the destination `stdout`."""
    yield Component("stdout", load_stdout, summary="Writes serialized batches to standard output")
