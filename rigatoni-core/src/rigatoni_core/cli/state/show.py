"""`rigatoni state show`: prints the position of each stream."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.api.commands import takes_file
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.files import configurations_of
from rigatoni_core.cli.output import as_json, bold, fail, say, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rigatoni_core.api.configuration import PipelineConfiguration
    from rigatoni_core.api.events import Checkpoint, Definition, Gap, Stream
    from rigatoni_core.api.identity import Identity

SOURCE_TIMEOUT = 10.0
"""Seconds to wait for the present definition of the streams. Without a response the rest is shown."""


@click.command()
@takes_file
@click.argument("stream", required=False)
@click.option("--offline", is_flag=True, help="Do not connect to the source.")
@click.option("--tokens", is_flag=True, help="Also print raw resume tokens, which may contain a document's _id.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def show(file: Path, overrides: tuple[str, ...], stream: str | None, offline: bool, tokens: bool, json_: bool) -> None:
    """Shows the checkpoint of every stream of the pipelines in FILE, or of one STREAM.

    It changes nothing, and works while a pipeline runs.
    """
    import asyncio

    records = []
    for configuration in configurations_of(file, overrides):
        records += asyncio.run(_load(configuration, stream, offline, tokens))
    if json_:
        as_json(records)
    for record in records:
        if "error" in record:
            fail(RigatoniError(record["error"], remedy=record["remedy"]), f"{record['stream']}: ")
        elif not json_:
            _print(record)
    if any("error" in record for record in records):
        sys.exit(ExitCode.CANNOT_START)


async def _load(
    configuration: "PipelineConfiguration", stream: str | None, offline: bool, tokens: bool
) -> list[dict[str, Any]]:
    from rigatoni_core.api.contracts import StateInspector
    from rigatoni_core.cli.state.components import looking, streams_of

    state, records = configuration.state, []
    watched = await streams_of(configuration, None)
    definitions = {} if offline else await _definitions(configuration, watched)
    async with looking(state):
        for each in await _shown(configuration, watched, stream):
            record: dict[str, Any] = {"stream": each.name, "pipeline": each.pipeline, "watched": each in watched}
            try:
                checkpoint = await state.load_resume_token(each)
                record["holder"] = await state.holder(each) if isinstance(state, StateInspector) else None
                record |= _described(checkpoint, definitions.get(each), tokens)
            except RigatoniError as error:
                record |= {"error": str(error), "remedy": error.remedy}
            records.append(record)
    return records


async def _shown(
    configuration: "PipelineConfiguration", watched: "Sequence[Stream]", stream: str | None
) -> "Sequence[Stream]":
    """Return the named stream; by default all watched streams, then those that only have a position."""
    from rigatoni_core.cli.state.components import streams_of
    from rigatoni_core.cli.strays import unwatched

    if stream is not None:
        return await streams_of(configuration, stream, recorded=True)
    try:
        names = {each.name for each in watched}
        return [*watched, *await unwatched(configuration.state, configuration.name, names)]
    except RigatoniError as error:
        warn(str(error))
        return watched


async def _definitions(configuration: "PipelineConfiguration", streams: "Any") -> "dict[Stream, Definition]":
    """Return the present definition of each stream; nothing if the source does not respond in time."""
    import asyncio

    try:
        async with asyncio.timeout(SOURCE_TIMEOUT), configuration.source as source:
            return {stream: source.definition(stream) for stream in streams}
    except (RigatoniError, TimeoutError):
        return {}


def _described(checkpoint: "Checkpoint | None", now: "Definition | None", tokens: bool) -> dict[str, Any]:
    """Return a checkpoint as plain values, with hashes instead of tokens, which may contain a document's _id."""
    from rigatoni_core.api.events import token_hash
    from rigatoni_core.api.identity import same_deployment

    if checkpoint is None:
        return {"position": None}
    position, time = checkpoint.position, checkpoint.position.cluster_time
    return {
        "position": time_in_words(time),
        "cluster_time": [time.seconds, time.increment] if time else None,
        "ordinal": position.ordinal,
        "token_hash": token_hash(position.resume_token),
        **({"resume_token": position.resume_token} if tokens else {}),
        "events": checkpoint.events,
        "delivered": time_in_words(checkpoint.delivered.cluster_time) if checkpoint.delivered else None,
        "delivered_up_to_position": checkpoint.delivered == position,
        "deployment": _identity(checkpoint.identity),
        "deployment_now": _identity(now.identity) if now else None,
        "same_deployment": same_deployment(checkpoint.identity, now.identity) if now else None,
        "fingerprint": position.fingerprint,
        "fingerprint_now": now.fingerprint if now else None,
        "fencing_token": checkpoint.fencing_token,
        "gaps": [_gap(gap) for gap in checkpoint.gaps],
    }


def _identity(identity: "Identity") -> dict[str, Any]:
    return {"name": identity.name, "id": identity.id or None, "collections": len(identity.collections or ())}


def _gap(gap: "Gap") -> dict[str, Any]:
    return {
        "cause": gap.cause,
        "after": time_in_words(gap.lost.cluster_time) if gap.lost else None,
        "before": time_in_words(gap.resumed.cluster_time),
        "collection": str(gap.namespace) if gap.namespace else None,
    }


def _print(record: dict[str, Any]) -> None:
    say(bold(f"{record['pipeline']}/{record['stream']}"))
    if not record["watched"]:
        say("  not watched    by this pipeline any more; `rigatoni state clear` removes its position")
    say(f"  lease          {'held by ' + record['holder'] if record['holder'] else 'not held'}")
    if record["position"] is None:
        say("  no position yet: it starts at the destination's position, else at the source's start_at")
        return
    time = record["cluster_time"]
    exact = f", cluster time {time[0]}.{time[1]}, ordinal {record['ordinal']}" if time else ""
    say(f"  position       everything up to {record['position']} is delivered{exact}")
    say(f"  events         {record['events']:,} delivered since the stream started")
    say(f"  resume token   {record.get('resume_token', '#' + record['token_hash'])}")
    if not record["delivered_up_to_position"]:
        say(f"  last delivered {record['delivered'] or 'nothing yet'}; the position was reached without an event")
    say(f"  deployment     {_recognized(record)}")
    say(f"  definition     {record['fingerprint']}: {_compared(record)}")
    say(f"  fencing token  {record['fencing_token'] or 'none'}")
    for gap in record["gaps"]:
        if gap["collection"]:
            say(f"  gap            documents of {gap['collection']}, at {gap['before']}: {gap['cause']}")
            continue
        begin = f"after {gap['after']}" if gap["after"] else "from an unknown position"
        say(f"  gap            lost for good: {begin}, until {gap['before']}: {gap['cause']}")


def _recognized(record: dict[str, Any]) -> str:
    deployment, same = record["deployment"], record["same_deployment"]
    name = (deployment["name"] or "unknown") + (f" ({deployment['id']})" if deployment["id"] else "")
    if record["deployment_now"] is None:
        return f"{name}; not compared with the source"
    if same is None:
        return f"{name}; the record does not identify it"
    if same:
        return f"{name}; the source reads the same one"
    return f"{name}; the source reads another one, or may do so: the next run refuses to start"


def _compared(record: dict[str, Any]) -> str:
    if record["fingerprint_now"] is None:
        return "not compared with the source"
    if record["fingerprint_now"] == record["fingerprint"]:
        return "unchanged"
    return f"changed to {record['fingerprint_now']}; the next run resumes by the time above, not by the token"
