"""The listener `otel`."""

from types import TracebackType
from typing import Annotated, Self

import attrs
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import TracerProvider, get_tracer_provider
from rigatoni_core.api.contracts import AsyncResource, Listener
from rigatoni_core.api.notices import Notice

from rigatoni_otel.instruments import Instruments
from rigatoni_otel.spans import BatchSpans


@attrs.define(kw_only=True)
class OtelListener(Listener, AsyncResource):
    """Reports traces and metrics of one pipeline to the OpenTelemetry API. A configured SDK exports them.

    Python callers may pass providers (`tracer_provider`, `meter_provider`); the default is the global ones.
    """

    traces: Annotated[bool, "Whether to create a span for each batch"] = True
    metrics: Annotated[bool, "Whether to record counters, gauges and histograms"] = True
    _tracer_provider: TracerProvider | None = attrs.field(default=None, repr=False, eq=False)
    _meter_provider: MeterProvider | None = attrs.field(default=None, repr=False, eq=False)
    _spans: BatchSpans | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _instruments: Instruments | None = attrs.field(init=False, default=None, repr=False, eq=False)

    async def __aenter__(self) -> Self:
        if self.traces:
            self._spans = BatchSpans(self._tracer_provider or get_tracer_provider())
        if self.metrics:
            self._instruments = Instruments.of(self._meter_provider or get_meter_provider())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._spans is not None:
            self._spans.close()

    def notify(self, notice: Notice) -> None:
        """Record spans and metrics, which the SDK exports on its own threads. See `Listener`."""
        if self._spans is not None:
            self._spans.record(notice)
        if self._instruments is not None:
            self._instruments.record(notice)
