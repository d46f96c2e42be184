"""The hook that registers the components of this distribution."""

from collections.abc import Iterable
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_json() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_json.serializer import JsonSerializer

    return JsonSerializer


@hookimpl
def rigatoni_serializers() -> Iterable[Component]:
    """Register the serializer `json`."""
    yield Component(
        "json", load_json, summary="One change event per line as Extended JSON: relaxed, canonical or plain"
    )
