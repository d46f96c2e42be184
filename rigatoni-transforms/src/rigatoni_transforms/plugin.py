"""The hook: what this distribution contributes."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_cast() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.cast import CastTransform

    return CastTransform


def load_filter() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.filter import FilterTransform

    return FilterTransform


def load_flatten() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.flatten import FlattenTransform

    return FlattenTransform


def load_mask() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.mask import MaskTransform

    return MaskTransform


def load_python() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.python import PythonTransform

    return PythonTransform


def load_rename() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.rename import RenameTransform

    return RenameTransform


def load_route() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.route import RouteTransform

    return RouteTransform


def load_schema() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.schema import SchemaTransform

    return SchemaTransform


def load_select() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.select import SelectTransform

    return SelectTransform


def load_unwrap() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_transforms.unwrap import UnwrapTransform

    return UnwrapTransform


@hookimpl
def rigatoni_transforms() -> Iterator[Component]:
    """Register the transforms, in alphabetical order."""
    yield Component("cast", load_cast, summary="Converts values to another type")
    yield Component("filter", load_filter, summary="Drops the events for which an expression is false")
    yield Component("flatten", load_flatten, summary="Replaces inner documents by fields at the top")
    yield Component("mask", load_mask, summary="Replaces values by constants, pseudonyms, or parts of them")
    yield Component("python", load_python, summary="Calls a Python function for each event")
    yield Component("rename", load_rename, summary="Gives fields other names")
    yield Component("route", load_route, summary="Sets the database or the collection by expressions")
    yield Component("schema", load_schema, summary="Compares documents with the schemas of their collections")
    yield Component("select", load_select, summary="Keeps or removes fields of documents by their paths")
    yield Component("unwrap", load_unwrap, summary="Replaces events by documents with operation and time: rows")
