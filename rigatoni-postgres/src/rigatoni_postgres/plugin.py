"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_postgres() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_postgres.destination import PostgresDestination

    return PostgresDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `postgres`."""
    yield Component("postgres", load_postgres, summary="Writes rows and the stream's position in one transaction")
