"""`rigatoni run`: runs pipelines until they are stopped."""

import sys
from pathlib import Path

import click

from rigatoni_core.api.commands import takes_file
from rigatoni_core.api.parameters import Duration
from rigatoni_core.cli.files import configurations_of


@click.command()
@takes_file
@click.option("--once", is_flag=True, help="Stop when every stream has caught up with the server's time at start.")
@click.option(
    "--timeout",
    type=Duration(min=0, min_open=True),
    metavar="DURATION",
    help="With --once: stop after this time (`10 min`), even if streams have not caught up. Exits with 6 in that case.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest level to log. While the live display is on, only errors are logged; with debug, everything.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "human", "json"]),
    default="auto",
    show_default=True,
    help="auto: a live display on a terminal, JSON lines otherwise.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors, at the end.")
def run(
    file: Path,
    overrides: tuple[str, ...],
    once: bool,
    timeout: float | None,
    log_level: str,
    log_format: str,
    quiet: bool,
) -> None:
    """Runs the pipelines in FILE, a file or a folder of files, until Ctrl-C or SIGTERM.

    Then it finishes the batch in flight, saves its checkpoint, and closes everything. A second Ctrl-C stops
    immediately. In both cases the next run resumes where this one ended. Logs are written to stderr.

    It waits for unavailable servers, also at the start. With --once the retries are limited (on_failure = "stop",
    unless FILE sets it), and the exit code reports the cause: see `rigatoni --help`.

    SIGHUP reads FILE again. New sources and destinations are opened and checked while the pipelines run. Then the
    pipelines stop, and resume from their checkpoints. If a check fails, the reload is rejected with the reason, and the
    pipelines continue unchanged.
    """
    import asyncio

    if timeout is not None and not once:
        raise click.UsageError("--timeout needs --once: without it the pipelines run until they are stopped")
    from rigatoni_core.cli.running import Run

    call = Run(
        file,
        lambda: configurations_of(file, overrides),
        once=once,
        timeout=timeout,
        quiet=quiet,
        log_level=log_level,
        log_format=log_format,
    )
    sys.exit(asyncio.run(call.run()))
