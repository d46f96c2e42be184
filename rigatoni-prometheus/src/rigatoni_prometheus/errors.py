"""Errors of the port, and the translation of the operating system's errors.

ListenerError
  PrometheusError            the port cannot be opened
    PortTakenError             another process listens there
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rigatoni_core.api.errors import ListenerError


class PrometheusError(ListenerError):
    """The metrics endpoint cannot be opened."""

    id = "prometheus"
    default_remedy = "Set host to an address of this machine, and port to one that this user may open."


class PortTakenError(PrometheusError):
    """Another process listens on the port."""

    id = "prometheus-port-taken"
    default_remedy = (
        "Stop the other process, or set another port in [[pipeline.listeners]]: each pipeline needs its own."
    )


@contextmanager
def translated(host: str, port: int) -> Iterator[None]:
    """Translate an OSError in this block to a `PrometheusError` that names the address."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"another process already listens on port {port} of {host}") from error
        raise PrometheusError(f"cannot listen on port {port} of {host}: {error.strerror or error}") from error
