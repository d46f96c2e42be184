"""How the command speaks: results on stdout, everything else on stderr; no secret on either."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.api.errors import RigatoniError

if TYPE_CHECKING:
    from rigatoni_core.api.events import Timestamp

_redactions: list[Callable[[str], str]] = []


def hide(redaction: Callable[[str], str]) -> None:
    """From now on nothing that this redaction knows is printed or logged."""
    _redactions.append(redaction)


def redacted(text: str) -> str:
    """The text without any known secret."""
    for redaction in _redactions:
        text = redaction(text)
    return text


def say(text: str = "") -> None:
    """A line of the result, on stdout."""
    click.echo(redacted(text), color=_color())


def complain(text: str) -> None:
    """A line for the person who called, on stderr."""
    click.echo(redacted(text), err=True, color=_color())


def error_word() -> str:
    return click.style("error: ", fg="red", bold=True)


def fail(error: RigatoniError, where: str = "") -> None:
    """Say what happened, where, and what to do."""
    complain(f"{error_word()}{where}{error}")
    if error.remedy:
        complain(f"what to do: {error.remedy}")


def error_record(error: RigatoniError) -> dict[str, Any]:
    """An error as plain JSON values; the faults of a configuration each with its key and line."""
    record: dict[str, Any] = {"id": error.id, "message": str(error), "remedy": error.remedy}
    if details := getattr(error, "details", ()):
        record["faults"] = [{"key": each.key, "line": each.line, "message": each.message} for each in details]
    return record


def warn(text: str) -> None:
    complain(f"{click.style('warning: ', fg='yellow')}{text}")


def bold(text: str) -> str:
    return click.style(text, bold=True)


def as_json(value: Any) -> None:
    say(json.dumps(value, indent=2, ensure_ascii=False))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; on a terminal the last one is folded into what is left of its width."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    left = sum(widths[:-1]) + 2 * (len(widths) - 1)
    if sys.stdout.isatty():
        widths[-1] = min(widths[-1], max(30, shutil.get_terminal_size().columns - left))
    for row in (header, *rows):
        first, *more = textwrap.wrap(row[-1], widths[-1]) or [""]
        say("  ".join(cell.ljust(width) for cell, width in zip((*row[:-1], first), widths, strict=True)).rstrip())
        for line in more:
            say(" " * left + line)


def time_in_words(time: "Timestamp | None") -> str:
    """A cluster time as a date with its age."""
    if time is None or not time.seconds:
        return "an unknown time"
    moment = datetime.fromtimestamp(time.seconds, UTC)
    age = (datetime.now(UTC) - moment).total_seconds()
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({duration(age)} ago)"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(nbytes: float) -> str:
    """Return bytes in the largest unit that fits."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes:.0f} B"


def _color() -> bool | None:
    """None: only on a terminal. See https://no-color.org."""
    return False if os.environ.get("NO_COLOR") else None
