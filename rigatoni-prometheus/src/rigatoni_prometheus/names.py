"""How a metric is called in Prometheus.

The names follow Prometheus' "Metric and label naming" and equal those that OpenTelemetry's "Prometheus and OpenMetrics
Compatibility" makes of the same metrics: unit words at the end, `_total` behind a counter.
"""

from rigatoni_core.observe.metrics import Distribution, Figure

_UNITS = {"s": "seconds", "By": "bytes"}


def name_of(metric: Figure | Distribution) -> str:
    """`checkpoint.age` in `s` is `rigatoni_checkpoint_age_seconds`."""
    name = "rigatoni_" + metric.name.replace(".", "_")
    unit = _UNITS.get(metric.unit, "")
    if not name.endswith(unit):
        name += f"_{unit}"
    return name + ("_total" if isinstance(metric, Figure) and metric.kind == "counter" else "")


def labels_of(metric: Figure | Distribution) -> tuple[str, ...]:
    """`pipeline`, `stream` and, where the metric has one, its attribute: `error.type` is `error_type`."""
    attribute = metric.attribute if isinstance(metric, Figure) else ""
    return ("pipeline", "stream", *([attribute.replace(".", "_")] if attribute else []))
