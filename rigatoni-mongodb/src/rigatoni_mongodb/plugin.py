"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_mongodb() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_mongodb.source import MongoDBSource

    return MongoDBSource


@hookimpl
def rigatoni_sources() -> Iterator[Component]:
    """Register the source `mongodb`."""
    yield Component("mongodb", load_mongodb, summary="MongoDB change streams: collections, databases, the deployment")
