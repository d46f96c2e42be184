"""`rigatoni run`: the pipelines until they are stopped."""

import sys
from pathlib import Path

import click

from rigatoni_core.cli.files import configurations_of, takes_file


@click.command()
@takes_file
@click.option("--once", is_flag=True, help="Stop when every stream has caught up with the server's time at start.")
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
def run(file: Path, overrides: tuple[str, ...], once: bool, log_level: str, log_format: str, quiet: bool) -> None:
    """Runs the pipelines in FILE, a file or a folder of them, until Ctrl-C or SIGTERM.

    Then the batch in work is finished, its checkpoint saved, and everything closed; a second Ctrl-C ends at once.
    Either way the next run goes on where this one was. What happens is told on stderr.

    SIGHUP reads FILE again: the pipelines stop and go on from their checkpoints with what it says now. Where that is
    not safe it is refused, with the reason, and everything runs on as before.
    """
    import asyncio

    from rigatoni_core.cli.running import Run

    call = Run(
        file,
        lambda: configurations_of(file, overrides),
        once=once,
        quiet=quiet,
        log_level=log_level,
        log_format=log_format,
    )
    sys.exit(asyncio.run(call.run()))
