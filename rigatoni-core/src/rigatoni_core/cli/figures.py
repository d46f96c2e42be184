"""The figures of a stream as plain JSON values, and its last error in words: the same for every command."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from rigatoni_core.api.statistics import StreamStatistics
from rigatoni_core.cli.output import duration, redacted


def plain(figures: StreamStatistics) -> dict[str, Any]:
    """Return the figures as plain JSON values, with those that are computed."""
    public = attrs.asdict(figures, filter=lambda field, _: not field.name.startswith("_"), recurse=False)
    computed = {
        name: getattr(figures, name) for name in ("read_lag", "delivery_lag", "buffered_bytes", "checkpoint_age")
    }
    return {**public, **computed, "last_error": _plain_error(figures)}


def _plain_error(figures: StreamStatistics) -> dict[str, str | None] | None:
    if (error := figures.last_error) is None:
        return None
    recovered = error.recovered.isoformat(timespec="seconds") if error.recovered else None
    return {
        "message": redacted(error.message),
        "time": error.time.isoformat(timespec="seconds"),
        "recovered": recovered,
    }


def is_current(error: Mapping[str, Any] | None) -> bool:
    """Return whether there is an error from which the stream has not recovered."""
    return error is not None and error["recovered"] is None


def error_in_words(error: Mapping[str, Any] | None) -> str:
    """Return how long ago the error happened, whether it is over, and its text; empty without an error."""
    if error is None:
        return ""
    age = (datetime.now(UTC) - datetime.fromisoformat(error["time"])).total_seconds()
    return f"{duration(age)} ago{'' if is_current(error) else ', recovered'}: {error['message']}"
