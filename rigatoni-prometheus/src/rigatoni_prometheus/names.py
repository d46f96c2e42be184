"""Names of metrics in Prometheus.

The names follow Prometheus' "Metric and label naming": units at the end, and `_total` after a counter. OpenTelemetry's
"Prometheus and OpenMetrics Compatibility" derives the same names from the same metrics.
"""

from rigatoni_core.observe.metrics import Distribution, Figure

_UNITS = {"s": "seconds", "By": "bytes"}


def name_of(metric: Figure | Distribution) -> str:
    """Return the metric's name: `rigatoni_checkpoint_age_seconds` for `checkpoint.age` in `s`."""
    name = "rigatoni_" + metric.name.replace(".", "_")
    unit = _UNITS.get(metric.unit, "")
    if not name.endswith(unit):
        name += f"_{unit}"
    return name + ("_total" if isinstance(metric, Figure) and metric.kind == "counter" else "")


def labels_of(metric: Figure | Distribution) -> tuple[str, ...]:
    """Return `pipeline`, `stream` and the metric's attribute, if any: `error_type` for `error.type`."""
    attribute = metric.attribute if isinstance(metric, Figure) else ""
    return ("pipeline", "stream", *([attribute.replace(".", "_")] if attribute else []))
