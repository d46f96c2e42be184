"""`rigatoni run`: the pipelines until they are stopped."""

import sys
from pathlib import Path

import click

from rigatoni_core.api.commands import takes_file
from rigatoni_core.cli.files import configurations_of


@click.command()
@takes_file
@click.option("--once", is_flag=True, help="Stop when every stream has caught up with the server's time at start.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --once: stop after this long, caught up or not. Exits with 6 then.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least important happenings to log. Beside the live display only errors are, or everything with debug.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "human", "json"]),
    default="auto",
    show_default=True,
    help="auto: a live display on a terminal, JSON lines otherwise.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what went wrong, at the end.")
def run(
    file: Path,
    overrides: tuple[str, ...],
    once: bool,
    timeout: float | None,
    log_level: str,
    log_format: str,
    quiet: bool,
) -> None:
    """Runs the pipelines in FILE, a file or a folder of them, until Ctrl-C or SIGTERM.

    Then the batch in work is finished, its checkpoint saved, and everything closed; a second Ctrl-C ends at once.
    Either way the next run resumes where this one ended. What happens is logged on stderr.

    A server that is away is waited for, also at the start. With --once the retries are limited (on_failure = "stop",
    unless FILE says otherwise), and the exit code tells the cause: see `rigatoni --help`.

    SIGHUP reads FILE again: new sources and destinations are opened and checked while the pipelines run, then these
    stop and resume from their checkpoints. If anything is wrong, the reload is refused with the reason, and everything
    runs on as before.
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
