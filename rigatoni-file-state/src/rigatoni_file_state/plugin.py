"""The hook that registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_file() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_file_state.store import FileStateStore

    return FileStateStore


@hookimpl
def rigatoni_states() -> Iterator[Component]:
    """Register the state store `file`."""
    yield Component("file", load_file, summary="One readable JSON file per stream, and leases, for one host")
