"""`rigatoni state`: where each stream stands, in words."""

import asyncio
from pathlib import Path
from typing import Any

import click

from rigatoni_core.catalog import Catalog
from rigatoni_core.cli.output import as_json, in_words
from rigatoni_core.errors import RigatoniError
from rigatoni_core.events import Checkpoint, Stream, token_hash


@click.group()
def state() -> None:
    """Shows saved positions."""


@state.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("stream", required=False)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def show(file: Path, stream: str | None, json_: bool) -> None:
    """Shows the checkpoint of every stream of the pipeline in FILE, or of one STREAM. Changes nothing."""
    from rigatoni_core.config import load

    configuration = load(file, Catalog.discover())
    records = asyncio.run(_load(configuration, stream))
    if json_:
        as_json(records)
        return
    for record in records:
        click.secho(record["stream"], bold=True)
        for key, value in record.items():
            if key != "stream":
                click.echo(f"  {key.replace('_', ' '):<15}{value}")


async def _load(configuration: Any, stream: str | None) -> list[dict[str, Any]]:
    records = []
    for name in [stream] if stream else await configuration.source.streams():
        try:
            checkpoint = await configuration.state.load_resume_token(Stream(configuration.name, name))
        except RigatoniError as error:
            records.append({"stream": name, "problem": str(error), "remedy": error.remedy})
            continue
        records.append({"stream": name, **(_described(checkpoint) if checkpoint else {"position": "none yet"})})
    return records


def _described(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint in words; the token only as its hash, since it may hold a document's _id."""
    position = checkpoint.position
    return {
        "position": f"everything before {in_words(position.cluster_time)} is delivered",
        "token": f"#{token_hash(position.resume_token)}",
        "cluster_time": str(position.cluster_time),
        "events": checkpoint.events,
        "deployment": position.deployment,
        "fingerprint": position.fingerprint,
        "fencing_token": checkpoint.fencing_token,
        "gaps": [f"{gap.cause} (goes on at {in_words(gap.resumed.cluster_time)})" for gap in checkpoint.gaps],
    }
