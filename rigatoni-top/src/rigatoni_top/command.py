"""The command `rigatoni top`. `rigatoni --help` imports this module, so functions import what they need."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application
from rigatoni_core.api.parameters import Duration

if TYPE_CHECKING:
    from rigatoni_top.history import History


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--interval", type=Duration(0.2, 60), default="1 s", show_default=True, help="Delay between looks.")
@click.option("--once", is_flag=True, help="Two looks, one table, and the end; so it is without a terminal.")
@click.option(
    "--json", "json_", is_flag=True, help="As --once, machine-readable: what `status --json` says, and rates."
)
@click.option("--web", is_flag=True, help="A page with charts instead, for browsers on this machine.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="Where the page is.")
@pass_application
def top(
    app: Application, file: Path | None, interval: float, once: bool, json_: bool, web: bool, port: int
) -> ExitCode:
    """Watches what `rigatoni run` processes on this machine do: all of yours, or those that run FILE.

    It asks the processes themselves and changes nothing. In the terminal: q quits, s sorts by the next column.

    Exits with 3 where --once or --json finds none.
    """
    from rigatoni_top.history import History

    history = History(app.running, str(file.resolve()) if file else None)
    if web:
        from rigatoni_top.page import serve

        serve(app, history, interval, port)
    elif once or json_ or not sys.stdout.isatty():
        return _look_twice(app, history, min(interval, 1.0), json_)
    else:
        from rigatoni_top.screen import watch

        watch(history, interval)
    return ExitCode.DONE


def _look_twice(app: Application, history: "History", seconds: float, json_: bool) -> ExitCode:
    """Print one table with the rates between two samples."""
    history.look()
    if history.streams:
        time.sleep(seconds)
        history.look()
    if json_:
        app.as_json(history.record())
    elif history.streams:
        from rigatoni_top.screen import plain

        app.echo(plain(history))
    if history.streams:
        return ExitCode.DONE
    app.echo_err(f"no pipeline{' from that file' if history.file else ''} is running on this machine")
    return ExitCode.CANNOT_START
