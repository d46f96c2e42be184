"""`rigatoni state export | import`: saved positions as a file, for backups and for a move to another state store."""

import json
from pathlib import Path
from typing import BinaryIO

import click

from rigatoni_core.api.commands import takes_file
from rigatoni_core.cli.files import configuration_of
from rigatoni_core.cli.state.change import changes_state


@click.command()
@takes_file
def export(file: Path, overrides: tuple[str, ...]) -> None:
    """Prints the positions of the pipeline in FILE as JSON, for `rigatoni state import`.

    The output contains resume tokens, and these may contain a document's _id. Works while the pipeline runs.
    """
    import asyncio

    from rigatoni_core.cli.state.position_changes import exported

    records = asyncio.run(exported(configuration_of(file, overrides)))
    click.echo(json.dumps(records, indent=2, ensure_ascii=False))  # not redacted: a token may look like a secret


@click.command("import")
@changes_state
@click.argument("records", type=click.File("rb"))
def import_(file: Path, overrides: tuple[str, ...], records: BinaryIO, history: Path | None, yes: bool) -> None:
    """Saves the positions in RECORDS, the output of `rigatoni state export`, for the pipeline in FILE.

    The old records are kept in the history, a file next to FILE.
    """
    from rigatoni_core.cli.state.position_changes import imported
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(None, imported(records.read(), records.name))
