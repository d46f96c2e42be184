"""Formatting of figures and foreign texts for people, the same in every command."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rigatoni_core.api.events import Timestamp


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits at least twice, such as `3 min`.

    Args:
        seconds: The duration in seconds.
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(nbytes: float) -> str:
    """Return a size in the largest unit that fits, such as `1.5 MiB`.

    Args:
        nbytes: The size in bytes.
    """
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes:.0f} B"


def time_in_words(time: "Timestamp | None") -> str:
    """Return a cluster time as a date with its age, in UTC.

    Args:
        time: The cluster time; None if unknown.
    """
    if time is None or not time.seconds:
        return "an unknown time"
    moment = datetime.fromtimestamp(time.seconds, UTC)
    age = (datetime.now(UTC) - moment).total_seconds()
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({duration(age)} ago)"


def printable(text: str, most: int = 100) -> str:
    """Return foreign text on one line and without control characters, which would reach the terminal.

    Args:
        text: A text that others have written.
        most: Characters to keep; an ellipsis marks what is cut off.
    """
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def is_current(error: Mapping[str, Any] | None) -> bool:
    """Return whether there is an error from which the stream has not recovered.

    Args:
        error: The `last_error` of a stream, as `rigatoni status --json` shows it.
    """
    return error is not None and error["recovered"] is None


def error_in_words(error: Mapping[str, Any] | None) -> str:
    """Return how long ago the error happened, whether it is over, and its text; empty without an error.

    Args:
        error: The `last_error` of a stream, as `rigatoni status --json` shows it.
    """
    if error is None:
        return ""
    age = (datetime.now(UTC) - datetime.fromisoformat(error["time"])).total_seconds()
    return f"{duration(age)} ago{'' if is_current(error) else ', recovered'}: {error['message']}"
