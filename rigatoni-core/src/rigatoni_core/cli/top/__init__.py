"""`rigatoni top`: the running pipelines to look at, in the terminal or on a local page."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.cli.output import as_json, complain, say

if TYPE_CHECKING:
    from rigatoni_core.cli.top.history import History


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="Two looks, one table, and the end; so it is without a terminal.")
@click.option(
    "--json", "json_", is_flag=True, help="As --once, machine-readable: what `status --json` says, and rates."
)
@click.option("--web", is_flag=True, help="A page with charts instead, for browsers on this machine.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="Where the page is.")
def top(file: Path | None, interval: float, once: bool, json_: bool, web: bool, port: int) -> None:
    """Watches what `rigatoni run` processes on this machine do: all of yours, or those that run FILE.

    It asks the processes themselves and changes nothing. In the terminal: q quits, s sorts by the next column.

    Exits with 3 where --once or --json finds none.
    """
    from rigatoni_core.cli.top.history import History

    history = History(str(file.resolve()) if file else None)
    if web:
        from rigatoni_core.cli.top.page import serve

        serve(history, interval, port)
    elif once or json_ or not sys.stdout.isatty():
        _look_twice(history, min(interval, 1.0), json_)
    else:
        from rigatoni_core.cli.top.screen import watch

        watch(history, interval)


def _look_twice(history: "History", seconds: float, json_: bool) -> None:
    """Rates need two looks."""
    history.look()
    if history.streams:
        time.sleep(seconds)
        history.look()
    if json_:
        as_json(history.record())
    elif history.streams:
        from rigatoni_core.cli.top.screen import plain

        say(plain(history))
    if not history.streams:
        complain(f"nothing of yours runs here{' with that file' if history.file else ''}")
        sys.exit(ExitCode.CANNOT_START)
