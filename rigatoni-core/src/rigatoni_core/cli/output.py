"""How the command speaks: errors with their remedy, tables, times in words."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from rigatoni_core.errors import RigatoniError
from rigatoni_core.events import Timestamp


def fail(error: RigatoniError, code: int) -> int:
    """Say what happened and what to do, on stderr; the exit code is handed back."""
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(str(error), err=True)
    if error.remedy:
        click.echo(f"what to do: {error.remedy}", err=True)
    return code


def warn(text: str) -> None:
    click.secho("warning: ", fg="yellow", nl=False, err=True)
    click.echo(text, err=True)


def as_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; nothing at all where there are no rows."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def in_words(time: Timestamp | None) -> str:
    """A cluster time as a date with its age."""
    if time is None or not time.seconds:
        return "the beginning"
    moment = datetime.fromtimestamp(time.seconds, UTC)
    age = (datetime.now(UTC) - moment).total_seconds()
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({duration(age)} ago)"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
