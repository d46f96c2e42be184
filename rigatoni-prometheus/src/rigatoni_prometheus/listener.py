"""The listener `prometheus`."""

from types import TracebackType
from typing import Annotated, Any, Self

import attrs
from attrs import validators
from rigatoni_core.api.contracts import AsyncResource, Listener
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.notices import Notice
from rigatoni_core.observe.instance import instance_index
from rigatoni_core.observe.statistics import Statistics

from rigatoni_prometheus.registry import Histograms, registry_of
from rigatoni_prometheus.server import MetricsServer


def _check_port(instance: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if not 0 <= value <= 65_535:
        raise ValueError(f"port must be between 0 (any free port) and 65535, not {value}")


@attrs.define(kw_only=True)
class PrometheusListener(Listener, AsyncResource):
    """Serves the metrics of one pipeline. It keeps its own `Statistics`."""

    host: Annotated[str, 'Address to listen on; "0.0.0.0" admits other machines, without authentication'] = attrs.field(
        default="127.0.0.1", validator=validators.min_len(1)
    )
    port: Annotated[
        int,
        "Port to listen on, one for each pipeline of a machine; 0 uses any free port. With several `instances`, the "
        "first listens here, the next one a port higher",
    ] = attrs.field(default=9464, validator=_check_port)
    _statistics: Statistics = attrs.field(init=False, factory=Statistics, repr=False, eq=False)
    _histograms: Histograms | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _server: MetricsServer | None = attrs.field(init=False, default=None, repr=False, eq=False)

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            PrometheusError: The port cannot be opened.
        """
        registry = registry_of(self._statistics)
        self._histograms = Histograms(registry)
        port = self.port + instance_index() if self.port else 0
        self._server = MetricsServer(self.host, port, registry, self._statistics)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            executor = DaemonExecutor("rigatoni-prometheus closes")
            await executor.run(self._server.close)
            executor.close()

    @property
    def address(self) -> tuple[str, int] | None:
        """The host and port that it listens on, or None before it is entered."""
        return (self.host, self._server.port) if self._server else None

    def notify(self, notice: Notice) -> None:
        """Update the statistics, which scrapes read. See `Listener`."""
        self._statistics.notify(notice)
        if self._histograms is not None:
            self._histograms.observe(notice)
