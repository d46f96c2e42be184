"""The command `rigatoni tail`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path

import click
from rigatoni_core.api.commands import Application, pass_application, takes_file


@click.command()
@takes_file
@click.argument("streams", nargs=-1)
@click.option("--since", metavar="TIME", help="Begin at this time, such as 2026-11-23T14:00:00Z.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after this many events.")
@click.option("--redact", is_flag=True, help="Show the names of fields and the types of their values, not the values.")
@click.option("--raw", is_flag=True, help="Show events as they are read, before the pipeline's transforms.")
@click.option("--json", "json_", is_flag=True, help="One JSON object for each event, whole. Values are for reading.")
@pass_application
def tail(
    app: Application,
    file: Path,
    overrides: tuple[str, ...],
    streams: tuple[str, ...],
    since: str | None,
    limit: int | None,
    redact: bool,
    raw: bool,
    json_: bool,
) -> None:
    """Shows the events of the pipeline in FILE as they happen: of all its streams, or of STREAMS. Ctrl-C ends it.

    Shows what would be delivered: events pass through the transforms of the pipeline first.

    Reads the source with a connection of its own. It writes no state and no event anywhere, so a running pipeline is
    not disturbed. Begins where a fresh stream would.
    """
    import asyncio

    from rigatoni_ops.view import watch

    configuration = app.configuration(file, overrides)
    asyncio.run(watch(app, configuration, streams, since=since, limit=limit, redact=redact, raw=raw, json_=json_))
