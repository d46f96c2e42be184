"""The figures of a stream as plain JSON values: the same for every command."""

from typing import Any

import attrs

from rigatoni_core.cli.output import redacted
from rigatoni_core.observe.statistics import StreamStatistics


def plain(figures: StreamStatistics) -> dict[str, Any]:
    """Return the figures as plain JSON values, with those that are computed."""
    public = attrs.asdict(figures, filter=lambda field, _: not field.name.startswith("_"), recurse=False)
    computed = {
        name: getattr(figures, name) for name in ("read_lag", "delivery_lag", "buffered_bytes", "checkpoint_age")
    }
    snapshot = figures.snapshot.plain() if figures.snapshot else None
    return {**public, **computed, "last_error": _plain_error(figures), "snapshot": snapshot}


def _plain_error(figures: StreamStatistics) -> dict[str, str | None] | None:
    if (error := figures.last_error) is None:
        return None
    recovered = error.recovered.isoformat(timespec="seconds") if error.recovered else None
    return {
        "message": redacted(error.message),
        "time": error.time.isoformat(timespec="seconds"),
        "recovered": recovered,
    }
