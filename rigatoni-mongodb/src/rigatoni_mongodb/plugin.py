"""The hook: what this distribution contributes."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_mongodb() -> type[Any]:
    from rigatoni_mongodb.source import MongoDBSource

    return MongoDBSource


@hookimpl
def rigatoni_sources() -> Iterator[Component]:
    yield Component("mongodb", load_mongodb, summary="MongoDB change streams: collections, databases, the deployment")
