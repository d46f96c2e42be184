"""The hook that registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_prometheus() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_prometheus.listener import PrometheusListener

    return PrometheusListener


@hookimpl
def rigatoni_listeners() -> Iterator[Component]:
    """Register the listener `prometheus`."""
    yield Component("prometheus", load_prometheus, summary="Serves /metrics, /healthz and /readyz over HTTP")
