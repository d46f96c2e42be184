"""The hooks that register the components of this distribution. This module imports nothing heavy."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl

# --- destination


def load_destination() -> type[Any]:
    """The class, imported on first use."""
    from rigatoni_template.destination import TemplateDestination

    return TemplateDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Register the destination `template`."""
    yield Component("template", load_destination, summary="Writes each batch to a file of its own")


# --- source


def load_source() -> type[Any]:
    """The class, imported on first use."""
    from rigatoni_template.source import TemplateSource

    return TemplateSource


@hookimpl
def rigatoni_sources() -> Iterator[Component]:
    """Register the source `template`."""
    yield Component("template", load_source, summary="Reads a file that grows by one JSON document per line")


# --- state


def load_state() -> type[Any]:
    """The class, imported on first use."""
    from rigatoni_template.store import TemplateStateStore

    return TemplateStateStore


@hookimpl
def rigatoni_states() -> Iterator[Component]:
    """Register the state store `template`."""
    yield Component("template", load_state, summary="Keeps checkpoints in a SQLite database")


# --- serializer


def load_serializer() -> type[Any]:
    """The class, imported on first use."""
    from rigatoni_template.serializer import TemplateSerializer

    return TemplateSerializer


@hookimpl
def rigatoni_serializers() -> Iterator[Component]:
    """Register the serializer `template`."""
    yield Component("template", load_serializer, summary="Writes one line per event: operation, namespace, token hash")


# --- transform


def load_transform() -> type[Any]:
    """The class, imported on first use."""
    from rigatoni_template.transform import TemplateTransform

    return TemplateTransform


@hookimpl
def rigatoni_transforms() -> Iterator[Component]:
    """Register the transform `template`."""
    yield Component("template", load_transform, summary="Drops events by their operation")


# --- listener


def load_listener() -> type[Any]:
    """The class, imported on first use."""
    from rigatoni_template.listener import TemplateListener

    return TemplateListener


@hookimpl
def rigatoni_listeners() -> Iterator[Component]:
    """Register the listener `template`."""
    yield Component("template", load_listener, summary="Logs workers that fail, and gaps")
