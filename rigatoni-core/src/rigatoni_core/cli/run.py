"""`rigatoni run`: the pipeline until it is stopped."""

import asyncio
import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from rigatoni_core.catalog import Catalog
from rigatoni_core.cli.guarantee import guarantee
from rigatoni_core.cli.output import duration, fail, in_words, warn
from rigatoni_core.contracts import Listener
from rigatoni_core.errors import RigatoniError
from rigatoni_core.notices import Notice, WorkerStarted
from rigatoni_core.pipeline import Pipeline, PipelineReport


class _Announcer(Listener):
    """Says once per stream where it goes on, and once what is promised."""

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration
        self._told: set[str] = set()

    def notify(self, notice: Notice) -> None:
        if not isinstance(notice, WorkerStarted) or notice.stream.name in self._told:
            return
        configuration = self._configuration
        if not self._told:
            level, _ = guarantee(
                configuration.name, [notice.stream.name], configuration.source, configuration.destination
            )
            what = configuration.destination.metadata().description
            click.echo(f"{configuration.name}: into {what}; guarantee: {level}", err=True)
        self._told.add(notice.stream.name)
        how = "goes on from" if notice.resumed else "begins at"
        click.echo(f"{notice.stream.name}: {how} {in_words(notice.position.cluster_time)}", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Stop when every stream has caught up with the server's time at start.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least important notices to log.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "human", "json"]),
    default="auto",
    show_default=True,
    help="auto: live progress on a terminal, JSON lines otherwise.",
)
def run(file: Path, once: bool, log_level: str, log_format: str) -> None:
    """Runs the pipeline in FILE until Ctrl-C or SIGTERM.

    The batch in work is finished, its checkpoint saved, everything closed. A second Ctrl-C ends at once.
    """
    from rigatoni_core.config import load

    configuration = load(file, Catalog.discover())
    for text in configuration.warnings:
        warn(text)
    code, abandoned = asyncio.run(_run(configuration, once, log_level, log_format))
    if abandoned:  # a hung thread must not keep the process
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


async def _run(configuration: Any, once: bool, log_level: str, log_format: str) -> tuple[int, bool]:
    live = log_format == "auto" and sys.stderr.isatty()
    listeners: list[Listener] = [_Announcer(configuration)]
    if not live:
        from rigatoni_core.cli.logs import LogListener, make_log

        listeners.append(LogListener(make_log(log_level, log_format)))
    pipeline = Pipeline(
        name=configuration.name,
        source=configuration.source,
        destination=configuration.destination,
        state=configuration.state,
        settings=configuration.settings,
        listeners=listeners,
    )
    started = asyncio.get_running_loop().time()
    async with _progress(pipeline) if live else nullcontext():
        report = await pipeline.run(once=once, handle_signals=True)
    seconds = asyncio.get_running_loop().time() - started
    total = pipeline.statistics.total
    click.echo(
        f"{configuration.name}: {total.events:,} events in {total.batches:,} batches, "
        f"{total.events / max(seconds, 0.001):,.0f} events/s for {duration(seconds)}, "
        f"{total.retries:,} retries, {total.gaps:,} gaps",
        err=True,
    )
    return _code(report), report.abandoned


def _progress(pipeline: Pipeline) -> Any:
    from rich.console import Console

    from rigatoni_core.cli.progress import progress

    return progress(pipeline.statistics, Console(stderr=True))


def _code(report: PipelineReport) -> int:
    """The exit code; every worker's error is said once more."""
    code = 4 if report.abandoned else 0
    for name, outcome in report.workers.items():
        if outcome.error is None:
            continue
        code = max(code, 1) if code != 4 else 4
        if isinstance(outcome.error, RigatoniError):
            click.echo(f"{name} failed:", err=True)
            fail(outcome.error, 1)
        else:
            click.echo(f"{name} failed on a bug:", err=True)
            traceback.print_exception(outcome.error)
            code = 70
    return code
