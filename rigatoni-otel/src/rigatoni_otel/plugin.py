"""The hook that registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_otel() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_otel.listener import OtelListener

    return OtelListener


@hookimpl
def rigatoni_listeners() -> Iterator[Component]:
    """Register the listener `otel`."""
    yield Component("otel", load_otel, summary="Traces and metrics through the OpenTelemetry API")
