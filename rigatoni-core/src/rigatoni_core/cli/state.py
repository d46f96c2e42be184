"""`rigatoni state`: where each stream stands, in words."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.cli.app import CAN_NOT_START
from rigatoni_core.cli.files import configuration_of, takes_file
from rigatoni_core.cli.output import as_json, bold, fail, say, time_in_words
from rigatoni_core.errors import RigatoniError

if TYPE_CHECKING:
    from rigatoni_core.config import PipelineConfiguration
    from rigatoni_core.events import Checkpoint, Gap


@click.group()
def state() -> None:
    """Shows the saved positions."""


@state.command()
@takes_file
@click.argument("stream", required=False)
@click.option("--tokens", is_flag=True, help="Also the raw resume tokens; they can hold a document's _id.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def show(file: Path, overrides: tuple[str, ...], stream: str | None, tokens: bool, json_: bool) -> None:
    """Shows the checkpoint of every stream of the pipeline in FILE, or of one STREAM.

    Changes nothing, and may be called while the pipeline runs.
    """
    import asyncio

    configuration = configuration_of(file, overrides)
    records = asyncio.run(_load(configuration, stream, tokens))
    if json_:
        as_json(records)
    for record in records:
        if "error" in record:
            fail(RigatoniError(record["error"], remedy=record["remedy"]), f"{record['stream']}: ")
        elif not json_:
            _print(record)
    if any("error" in record for record in records):
        sys.exit(CAN_NOT_START)


async def _load(configuration: "PipelineConfiguration", stream: str | None, tokens: bool) -> list[dict[str, Any]]:
    from rigatoni_core.events import Stream

    records: list[dict[str, Any]] = []
    for name in [stream] if stream else await configuration.source.streams():
        try:
            checkpoint = await configuration.state.load_resume_token(Stream(configuration.name, name))
        except RigatoniError as error:
            records.append({"stream": name, "error": str(error), "remedy": error.remedy})
        else:
            records.append({"stream": name, **_described(checkpoint, tokens)})
    return records


def _described(checkpoint: "Checkpoint | None", tokens: bool) -> dict[str, Any]:
    """A checkpoint as plain values. A token may hold a document's _id: unasked, only its hash is shown."""
    from rigatoni_core.events import token_hash

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
        "deployment": position.deployment,
        "fingerprint": position.fingerprint,
        "fencing_token": checkpoint.fencing_token,
        "gaps": [_gap(gap) for gap in checkpoint.gaps],
    }


def _gap(gap: "Gap") -> dict[str, Any]:
    return {
        "cause": gap.cause,
        "after": time_in_words(gap.lost.cluster_time) if gap.lost else None,
        "before": time_in_words(gap.resumed.cluster_time),
    }


def _print(record: dict[str, Any]) -> None:
    say(bold(record["stream"]))
    if record["position"] is None:
        say("  no position yet: it begins where the source's start_at says")
        return
    time = record["cluster_time"]
    exact = f", cluster time {time[0]}.{time[1]}, {record['ordinal']} of its events" if time else ""
    say(f"  everything up to {record['position']} is delivered{exact}")
    say(f"  events         {record['events']:,} delivered since the stream began")
    say(f"  resume token   {record.get('resume_token', '#' + record['token_hash'])}")
    say(f"  deployment     {record['deployment'] or 'unknown'}")
    say(f"  fingerprint    {record['fingerprint']} of what is watched, filtered and looked up")
    say(f"  fencing token  {record['fencing_token'] or 'none: this state store grants no leases'}")
    for gap in record["gaps"]:
        begin = f"after {gap['after']}" if gap["after"] else "from an unknown position"
        say(f"  gap            lost for good: {begin}, until {gap['before']}: {gap['cause']}")
