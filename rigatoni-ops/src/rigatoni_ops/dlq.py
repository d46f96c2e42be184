"""The command `rigatoni dlq`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration
    from rigatoni_core.api.dead_letters import DeadLetter


@click.group()
def dlq() -> None:
    """Lists, shows and replays dead letters: events that the destination could not write."""


_of_stream = click.option("--stream", help="Only the letters of this stream.")
_as_json = click.option("--json", "json_", is_flag=True, help="Machine-readable output.")


@dlq.command("list")
@takes_file
@_of_stream
@_as_json
@pass_application
def list_(app: Application, file: Path, overrides: tuple[str, ...], stream: str | None, json_: bool) -> ExitCode:
    """Lists the dead letters of the pipeline in FILE, oldest first. Changes nothing; the pipeline may run meanwhile.

    Exits with 3 if some of them cannot be read.
    """
    from rigatoni_ops.letters import Letters, record_of

    configuration = app.configuration(file, overrides)
    letters = Letters.read(configuration, stream)
    records = [record_of(letter, replayed, configuration) for letter, replayed in letters.found]
    if json_:
        app.as_json(records)
    elif records:
        columns = ("id", "namespace", "time of the event", "rejected by", "error", "status")
        rows = [
            (r["id"], r["namespace"] or r["stream"], r["time"], r["plugin"], r["error_id"], r["status"])
            for r in records
        ]
        app.table(columns, rows)
    elif letters.error is None:
        app.echo("there are no dead letters")
    if letters.error is None:
        return ExitCode.DONE
    app.fail(letters.error)
    return ExitCode.CANNOT_START


@dlq.command()
@takes_file
@click.argument("letter")
@_of_stream
@click.option("--raw", is_flag=True, help="Write the raw bytes of the event to standard output and nothing else.")
@_as_json
@pass_application
def show(
    app: Application,
    file: Path,
    overrides: tuple[str, ...],
    letter: str,
    stream: str | None,
    raw: bool,
    json_: bool,
) -> None:
    """Shows the dead LETTER (its ID or the beginning of it) of the pipeline in FILE, with the full error."""
    from rigatoni_ops.letters import Letters, described, record_of

    configuration = app.configuration(file, overrides)
    letters = Letters.read(configuration, stream)
    ((found, replayed),) = letters.chosen((letter,))
    if letters.error is not None:
        app.fail(letters.error)
    if raw:
        app.write(found.event)
        return
    record = record_of(found, replayed, configuration)
    if json_:
        import base64

        event = base64.b64encode(found.event).decode()
        app.as_json({**record, "error": found.error, "resume_token": found.position.resume_token, "event": event})
        return
    app.echo(click.style(f"{found.id} of {record['stream']}", bold=True))
    for title, text in described(found, record):
        app.echo(f"  {title:<14} {text}")
    if found.event:
        app.echo(f"  the raw event  rigatoni dlq show {file} {found.id} --raw > event.bson")


@dlq.command()
@takes_file
@click.argument("letters", nargs=-1)
@_of_stream
@click.option("--yes", is_flag=True, help="Write. Without it, only list what would be written.")
@_as_json
@pass_application
def replay(
    app: Application,
    file: Path,
    overrides: tuple[str, ...],
    letters: tuple[str, ...],
    stream: str | None,
    yes: bool,
    json_: bool,
) -> ExitCode:
    """Writes the events of dead LETTERS again after you fixed the cause; of all that wait if none are named.

    They go through the serializer into the destination of the pipeline in FILE, next to its streams, as those of
    `<pipeline>.replayed`: the streams have passed their place. Each letter stays and is marked. If the destination is
    exactly once in effect, a second replay changes nothing.

    Exits with 1 if an event is rejected again.
    """
    import asyncio

    from rigatoni_ops.letters import Letters

    configuration = app.configuration(file, overrides)
    read = Letters.read(configuration, stream)
    if letters:
        wanted = [letter for letter, _ in read.chosen(letters)]
        if read.error is not None:
            app.fail(read.error)
    elif read.error is not None:
        raise read.error  # a letter that seems to wait may have been replayed
    else:
        wanted = [letter for letter, replayed in read.found if not replayed]
    if not yes:
        asyncio.run(_plan(app, configuration, wanted, json_))
        return ExitCode.DONE
    outcomes = asyncio.run(_replay(app, configuration, wanted, json_))
    if json_:
        app.as_json([{"id": letter.id, "replayed": error is None, "error": error} for letter, error in outcomes])
    rejected = sum(error is not None for _, error in outcomes)
    app.echo_err(f"{len(outcomes) - rejected} replayed, {rejected} rejected again")
    return ExitCode.WORKER_FAILED if rejected else ExitCode.DONE


async def _plan(
    app: Application, configuration: "PipelineConfiguration", wanted: "list[DeadLetter]", json_: bool
) -> None:
    """Print what would be written, once the destination is known to be reachable."""
    from rigatoni_ops.letters import record_of

    async with configuration.destination as destination:
        into = destination.metadata()
    records = [record_of(letter, False, configuration) for letter in wanted]
    if json_:
        app.as_json(records)
    for record in records if not json_ else ():
        app.echo(f"{record['id']}  {record['operation'] or 'undecodable'} of {record['namespace'] or record['stream']}")
    where = f"{into.description} ({into.delivery.value})"
    app.echo_err(f"would write {len(wanted)} events into {where}; nothing was written")
    if wanted:
        app.echo_err("what to do: to write them, pass --yes")


async def _replay(
    app: Application, configuration: "PipelineConfiguration", wanted: "list[DeadLetter]", json_: bool
) -> "list[tuple[DeadLetter, str | None]]":
    """Replay the letters, and report each as it is done."""
    from rigatoni_ops.letters import place_of
    from rigatoni_ops.replayer import Replayer

    outcomes: list[tuple[DeadLetter, str | None]] = []
    async with place_of(configuration), configuration.destination:
        async for letter, error in Replayer(app, configuration).replay(wanted):
            outcomes.append((letter, str(error) if error else None))
            if error:
                app.fail(error, f"{letter.id}: ")
            elif not json_:
                app.echo(f"{letter.id}  replayed")
    return outcomes
