"""The metrics of one pipeline, in a Prometheus registry of its own. Nothing is registered globally."""

from collections.abc import Iterable, Iterator
from importlib import metadata

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from rigatoni_core.api.notices import Notice
from rigatoni_core.api.process_counts import process_counts
from rigatoni_core.observe.metrics import DISTRIBUTIONS, FIGURES, Distribution
from rigatoni_core.observe.statistics import Statistics

from rigatoni_prometheus.names import labels_of, name_of


class StatisticsCollector(Collector):
    """Collects every figure of the statistics at the time of the scrape."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        """Yield one family for each figure, in the order of definition."""
        for figure in FIGURES:
            kind = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
            family = kind(name_of(figure), figure.meaning, labels=labels_of(figure))
            for stream, figures in self._statistics.by_stream.items():
                for attribute, value in figure.samples(figures):
                    family.add_metric((stream.pipeline, stream.name, *attribute.values()), value)
            yield family
        for count in process_counts():
            name = f"rigatoni_{count.name.replace('.', '_')}_total"
            family = CounterMetricFamily(name, count.meaning, labels=("reason",))
            for reason, number in count.read().items():
                family.add_metric((reason,), number)
            yield family
        yield InfoMetricFamily(
            "rigatoni_build", "Version of rigatoni-core", {"version": metadata.version("rigatoni-core")}
        )


class Histograms:
    """Records the distributions: each notice of a matching type is one observation."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._histograms = [
            (
                distribution,
                Histogram(
                    name_of(distribution),
                    distribution.meaning,
                    labels_of(distribution),
                    buckets=distribution.buckets,
                    registry=registry,
                ),
            )
            for distribution in DISTRIBUTIONS
        ]

    def observe(self, notice: Notice) -> None:
        """Observe the notice's values."""
        for distribution, histogram in self._of(notice):
            if (value := distribution.read(notice)) is not None:
                histogram.labels(notice.stream.pipeline, notice.stream.name).observe(value)

    def _of(self, notice: Notice) -> Iterator[tuple[Distribution, Histogram]]:
        return (pair for pair in self._histograms if isinstance(notice, pair[0].notice))


def registry_of(statistics: Statistics) -> CollectorRegistry:
    """Return a registry with the figures, and with the memory, CPU time and open files of the process."""
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(statistics))
    ProcessCollector(registry=registry)
    return registry
