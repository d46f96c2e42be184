"""`rigatoni dlq`: dead letters listed, shown, and replayed once the cause was mended."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rigatoni_core.api.commands import takes_file
from rigatoni_core.api.errors import ConfigurationError, UnreadableError
from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.files import configuration_of
from rigatoni_core.cli.output import as_json, bold, complain, fail, say, table

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration
    from rigatoni_core.api.contracts import Destination
    from rigatoni_core.engine.dead_letters import DeadLetter

T = TypeVar("T")


@click.group()
def dlq() -> None:
    """Lists, shows and replays dead letters: events that the destination could not take."""


@dlq.command("list")
@takes_file
@click.option("--stream", help="Only the letters of this stream.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def list_(file: Path, overrides: tuple[str, ...], stream: str | None, json_: bool) -> None:
    """Lists the dead letters of the pipeline in FILE, oldest first. Changes nothing; the pipeline may run meanwhile."""
    configuration = configuration_of(file, overrides)
    records, error = _read(configuration, stream, lambda letter, replayed: _record(letter, replayed, configuration))
    if json_:
        as_json(records)
    elif records:
        _print(records)
    elif error is None:
        say("there are no dead letters")
    if error is not None:
        fail(error)
        sys.exit(ExitCode.CANNOT_START)


def _print(records: list[dict[str, Any]]) -> None:
    rows = [
        (r["id"], r["namespace"] or r["stream"], r["time"], r["plugin"], r["error_id"], r["status"]) for r in records
    ]
    table(("id", "namespace", "time of the event", "rejected by", "error", "status"), rows)


@dlq.command()
@takes_file
@click.argument("letter")
@click.option("--stream", help="Only the letters of this stream.")
@click.option("--raw", is_flag=True, help="Write the event's raw bytes to standard output and nothing else.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def show(file: Path, overrides: tuple[str, ...], letter: str, stream: str | None, raw: bool, json_: bool) -> None:
    """Shows the dead LETTER (its id, or the beginning of it) of the pipeline in FILE, with all that the error says."""
    from rigatoni_core.api.words import printable

    configuration = configuration_of(file, overrides)
    ((found, replayed),) = _chosen(configuration, stream, (letter,))
    if raw:
        sys.stdout.buffer.write(found.event)
        sys.stdout.buffer.flush()
        return
    record = _record(found, replayed, configuration)
    if json_:
        import base64

        event = base64.b64encode(found.event).decode()
        as_json({**record, "error": found.error, "resume_token": found.position.resume_token, "event": event})
        return
    say(bold(f"{found.id} of {record['stream']}"))
    what = f"{record['operation'] or 'undecodable'} of {record['namespace'] or '?'}"
    say(f"  event          {what}, {record['bytes']} bytes")
    seconds, increment = record["cluster_time"] or ("?", "?")
    say(f"  time           {record['time']}, cluster time {seconds}.{increment}, ordinal {record['ordinal']}")
    say(f"  rejected by    {found.plugin}, at attempt {found.attempt}")
    say(f"  error          {printable(found.error, len(found.error))}")
    say(f"  status         {record['status']}")
    say(f"  the raw event  rigatoni dlq show {file} {found.id} --raw > event.bson")


@dlq.command()
@takes_file
@click.argument("letters", nargs=-1)
@click.option("--stream", help="Only the letters of this stream.")
@click.option("--yes", is_flag=True, help="Write. Without it, only say what would be written.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def replay(
    file: Path, overrides: tuple[str, ...], letters: tuple[str, ...], stream: str | None, yes: bool, json_: bool
) -> None:
    """Writes the events of dead LETTERS again, after the cause was mended; of all that wait, where none are named.

    They go through the serializer into the destination of the pipeline in FILE, but beside its streams, as those of
    `<pipeline>.replayed`: their place in the order of the stream is past. Each letter stays and is marked. Replaying
    one twice delivers it once where the destination is exactly once in effect.

    Exits with 1 where an event is rejected again.
    """
    import asyncio

    configuration = configuration_of(file, overrides)
    if letters:
        wanted = [letter for letter, _ in _chosen(configuration, stream, letters)]
    else:
        wanted, error = _read(configuration, stream, lambda letter, replayed: None if replayed else letter)
        if error is not None:
            raise error  # whatever seems to wait may have been replayed
    if not yes:
        asyncio.run(_plan(configuration, wanted, json_))
        return
    outcomes = asyncio.run(_replay(configuration, wanted, json_))
    if json_:
        as_json([{"id": letter.id, "replayed": error is None, "error": error} for letter, error in outcomes])
    rejected = sum(error is not None for _, error in outcomes)
    complain(f"{len(outcomes) - rejected} replayed, {rejected} rejected again")
    if rejected:
        sys.exit(ExitCode.WORKER_FAILED)


async def _plan(configuration: "PipelineConfiguration", wanted: "list[DeadLetter]", json_: bool) -> None:
    """Say what would be written, once it is known that the destination can be reached."""
    async with configuration.destination as destination:
        into = destination.metadata()
    if json_:
        as_json([_record(letter, False, configuration) for letter in wanted])
    for letter in wanted if not json_ else ():
        record = _record(letter, False, configuration)
        say(f"{letter.id}  {record['operation'] or 'undecodable'} of {record['namespace'] or letter.stream.name}")
    complain(f"would write {len(wanted)} events into {into.description} ({into.delivery.value}); nothing was written.")
    if wanted:
        complain("what to do: if that is right, say it again with --yes")


async def _replay(
    configuration: "PipelineConfiguration", wanted: "list[DeadLetter]", json_: bool
) -> "list[tuple[DeadLetter, str | None]]":
    from rigatoni_core.engine.replay import Replayer

    outcomes: list[tuple[DeadLetter, str | None]] = []
    dead_letters = _dead_letters(configuration)
    async with contextlib.AsyncExitStack() as stack:
        for destination in (dead_letters, configuration.destination):
            await stack.enter_async_context(destination)
        decoder, settings = configuration.source.decoder, configuration.settings
        async for letter, error in Replayer(configuration.destination, dead_letters, decoder, settings).replay(wanted):
            outcomes.append((letter, str(error) if error else None))
            if error:
                fail(error, f"{letter.id}: ")
            elif not json_:
                say(f"{letter.id}  replayed")
    return outcomes


def _dead_letters(configuration: "PipelineConfiguration") -> "Destination":
    if configuration.dead_letters is None:
        raise ConfigurationError(
            f"the pipeline {configuration.name} keeps no dead letters",
            remedy="Where they should go is said in the table [pipeline.dead_letters]; it takes any destination.",
        )
    return configuration.dead_letters


def _read(
    configuration: "PipelineConfiguration", stream: str | None, what: "Callable[[DeadLetter, bool], T | None]"
) -> tuple[list[T], UnreadableError | None]:
    """`what` of each dead letter, and whether it was replayed (of one stream, if one is named) where it is not None.

    And the error, where not all of them could be read.
    """
    import asyncio

    from rigatoni_core.engine.replay import kept_letters

    dead_letters, found = _dead_letters(configuration), list[T]()

    async def read() -> UnreadableError | None:
        async with dead_letters:
            try:
                async for letter, replayed in kept_letters(dead_letters, configuration.name):
                    if stream in (None, letter.stream.name) and (wanted := what(letter, replayed)) is not None:
                        found.append(wanted)
            except UnreadableError as error:
                return error
        return None

    return found, asyncio.run(read())


def _chosen(
    configuration: "PipelineConfiguration", stream: str | None, ids: tuple[str, ...]
) -> "list[tuple[DeadLetter, bool]]":
    """The letters with these ids, or with ids that begin so."""
    beginnings = tuple(id_.lower().removeprefix("#") for id_ in ids)

    def choose(letter: "DeadLetter", replayed: bool) -> "tuple[DeadLetter, bool] | None":
        return (letter, replayed) if letter.id.startswith(beginnings) else None

    found, error = _read(configuration, stream, choose)
    if error is not None:
        fail(error)
    for beginning in beginnings:
        count = sum(letter.id.startswith(beginning) for letter, _ in found)
        if count != 1:
            raise click.UsageError(f'{count or "no"} dead letters have an id that begins with "{beginning}"')
    return found


def _record(letter: "DeadLetter", replayed: bool, configuration: "PipelineConfiguration") -> dict[str, Any]:
    """A letter as plain values, without the event's content and the error's text: these may be long and private."""
    from rigatoni_core.api.words import printable

    time = letter.position.cluster_time
    operation = namespace = None
    with contextlib.suppress(Exception):  # whatever is wrong with it may be why it is here
        event = configuration.source.decoder.event(memoryview(letter.event))
        operation, namespace = printable(str(event.operation)), printable(str(event.namespace or ""))
    return {
        "id": letter.id,
        "stream": letter.stream.name,
        "operation": operation,
        "namespace": namespace or None,
        "time": time_in_words(time),
        "cluster_time": [time.seconds, time.increment] if time else None,
        "ordinal": letter.position.ordinal,
        "bytes": len(letter.event),
        "plugin": letter.plugin,
        "error_id": letter.error_id,
        "attempt": letter.attempt,
        "status": "replayed" if replayed else "waiting",
    }
