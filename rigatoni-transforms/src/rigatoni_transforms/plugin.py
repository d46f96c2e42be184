"""The hook: what this distribution contributes."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_select() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.select import SelectTransform

    return SelectTransform


@hookimpl
def rigatoni_transforms() -> Iterator[Component]:
    """Register the transforms, in alphabetical order."""
    yield Component("select", load_select, summary="Keeps or removes fields of documents by their paths")
