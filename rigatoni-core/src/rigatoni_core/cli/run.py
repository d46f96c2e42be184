"""`rigatoni run`: the pipeline until it is stopped."""

from pathlib import Path

import click

from rigatoni_core.cli.files import configuration_of, takes_file
from rigatoni_core.cli.output import warn


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
def run(file: Path, overrides: tuple[str, ...], once: bool, log_level: str, log_format: str) -> None:
    """Runs the pipeline in FILE until Ctrl-C or SIGTERM.

    Then the batch in work is finished, its checkpoint saved, and everything closed; a second Ctrl-C ends at once.
    Either way the next run goes on where this one was. What happens is told on stderr.
    """
    from rigatoni_core.cli.running import execute

    configuration = configuration_of(file, overrides)
    for text in configuration.warnings:
        warn(text)
    execute(configuration, once=once, log_level=log_level, log_format=log_format)
