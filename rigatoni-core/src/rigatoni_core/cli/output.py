"""The command's output: results on stdout, everything else on stderr, without secrets."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.words import time_in_words

if TYPE_CHECKING:
    from rigatoni_core.api.events import Position, Stream

_redactions: list[Callable[[str], str]] = []


def hide(redaction: Callable[[str], str]) -> None:
    """Hide everything that this redaction knows from now on."""
    _redactions.append(redaction)


def redacted(text: str) -> str:
    """Return the text without any known secret."""
    for redaction in _redactions:
        text = redaction(text)
    return text


def say(text: str = "") -> None:
    """Print a line of the result on stdout."""
    click.echo(redacted(text), color=_color())


def write(content: bytes) -> None:
    """Write bytes to stdout as they are."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def complain(text: str) -> None:
    """Print a line for the user on stderr."""
    click.echo(redacted(text), err=True, color=_color())


def error_word() -> str:
    """Return the styled word that error messages begin with."""
    return click.style("error: ", fg="red", bold=True)


def fail(error: RigatoniError, where: str = "") -> None:
    """Print an error, its place and its remedy."""
    complain(f"{error_word()}{where}{error}")
    if error.remedy:
        complain(f"what to do: {error.remedy}")


def error_record(error: RigatoniError) -> dict[str, Any]:
    """Return an error as plain JSON values; each configuration error with its key and line."""
    record: dict[str, Any] = {"id": error.id, "message": str(error), "remedy": error.remedy}
    if details := getattr(error, "details", ()):
        record["faults"] = [{"key": each.key, "line": each.line, "message": each.message} for each in details]
    return record


def warn(text: str) -> None:
    """Print a warning to standard error."""
    complain(f"{click.style('warning: ', fg='yellow')}{text}")


def bold(text: str) -> str:
    """Return the text in bold."""
    return click.style(text, bold=True)


def as_json(value: Any) -> None:
    """Print a value as indented JSON to standard output."""
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


def succession_in_words(former: "Iterable[Stream]", position: "Position") -> str:
    """Return what a stream that continues former ones does, in words."""
    names = ", ".join(stream.name for stream in former)
    return f"continues {names} from {time_in_words(position.cluster_time)}, without the events delivered since"


def _color() -> bool | None:
    """None: only on a terminal. See https://no-color.org."""
    return False if os.environ.get("NO_COLOR") else None
