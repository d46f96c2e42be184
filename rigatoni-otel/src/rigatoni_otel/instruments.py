"""The metrics of `rigatoni_core.observe.metrics` as OpenTelemetry instruments.

Of two instruments with one name, the SDK keeps the first and silently drops the callbacks of the second. So all
listeners of one meter provider share one set of instruments and one `Statistics`. Both remain when a pipeline has
ended, because its last figures are exported later.
"""

from collections.abc import Iterable
from functools import partial
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from rigatoni_core.api.notices import Notice
from rigatoni_core.api.process_counts import ProcessCount, process_counts
from rigatoni_core.observe.metrics import DISTRIBUTIONS, FIGURES, Figure
from rigatoni_core.observe.statistics import Statistics

from rigatoni_otel.attributes import SCOPE, VERSION, key_of, of_stream

_instruments: "WeakKeyDictionary[MeterProvider, Instruments]" = WeakKeyDictionary()


class Instruments:
    """One instrument per metric. The provider reads figures at each export; distributions are recorded immediately."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(SCOPE, VERSION)
        self._statistics = Statistics()
        for figure in FIGURES:
            create = meter.create_observable_counter if figure.kind == "counter" else meter.create_observable_gauge
            create(f"rigatoni.{figure.name}", [partial(self._observe, figure)], figure.unit, figure.meaning)
        for count in process_counts():
            create = meter.create_observable_counter
            create(f"rigatoni.{count.name}", [partial(_observe_count, count)], "{document}", count.meaning)
        self._histograms = [
            (
                distribution,
                meter.create_histogram(
                    f"rigatoni.{distribution.name}",
                    distribution.unit,
                    distribution.meaning,
                    explicit_bucket_boundaries_advisory=distribution.buckets,
                ),
            )
            for distribution in DISTRIBUTIONS
        ]

    @classmethod
    def of(cls, provider: MeterProvider) -> "Instruments":
        """Return the provider's instruments, created at the first call."""
        if provider not in _instruments:
            _instruments[provider] = cls(provider)
        return _instruments[provider]

    def record(self, notice: Notice) -> None:
        """Count the notice, and record its values."""
        self._statistics.notify(notice)
        for distribution, histogram in self._histograms:
            if isinstance(notice, distribution.notice) and (value := distribution.read(notice)) is not None:
                histogram.record(value, of_stream(notice.stream))

    def _observe(self, figure: Figure, _: CallbackOptions) -> Iterable[Observation]:
        """Yield the figure's values. The provider calls this on its own thread."""
        for stream, figures in self._statistics.by_stream.items():
            for attribute, value in figure.samples(figures):
                own = {key_of(key): text for key, text in attribute.items()}
                yield Observation(value, of_stream(stream) | own)


def _observe_count(count: ProcessCount, _: CallbackOptions) -> Iterable[Observation]:
    """Yield the count's values. The provider calls this on its own thread."""
    for reason, number in count.read().items():
        yield Observation(number, {"rigatoni.reason": reason})
