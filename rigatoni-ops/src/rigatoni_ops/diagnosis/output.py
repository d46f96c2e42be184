"""Findings for people, most severe first, and for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rigatoni_core.api.commands import Application

from rigatoni_ops.diagnosis.examination import Found

_ORDER = ("error", "warning", "not checked", "ok")
_COLORS = {"error": "red", "warning": "yellow", "not checked": "cyan", "ok": "green"}
_WIDTH = max(map(len, _ORDER))


def show(app: Application, pipeline: str, found: Sequence[Found], *, quiet: bool) -> None:
    """Print the findings of one pipeline, and how many there are of each severity.

    Args:
        app: Prints.
        pipeline: The name of the pipeline.
        found: Its findings.
        quiet: Whether to omit those that are ok.
    """
    app.echo(click.style(pipeline, bold=True))
    for severity in _ORDER:
        for each in found if severity != "ok" or not quiet else ():
            if each.finding.severity == severity:
                mark = click.style(f"{severity:<{_WIDTH}}", fg=_COLORS[severity])
                app.echo(f"  {mark}  {each.place}, {each.check}: {each.finding.seen}")
                if each.finding.remedy:
                    app.echo(f"  {'':<{_WIDTH}}  what to do: {each.finding.remedy}")
    counts = {severity: sum(each.finding.severity == severity for each in found) for severity in _ORDER}
    plural = {"error": "errors", "warning": "warnings"}
    words = [f"{number} {name if number == 1 else plural.get(name, name)}" for name, number in counts.items() if number]
    app.echo(f"  {', '.join(words)}")


def record_of(app: Application, found: Found) -> Mapping[str, Any]:
    """Return a finding as plain JSON values, without secrets."""
    finding = found.finding
    return {
        "pipeline": found.pipeline,
        "place": found.place,
        "check": found.check,
        "severity": finding.severity,
        "seen": app.redacted(finding.seen),
        "remedy": app.redacted(finding.remedy),
        "figures": dict(finding.figures),
    }
