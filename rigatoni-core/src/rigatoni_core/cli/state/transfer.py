"""`rigatoni state export | import`: saved positions as a file, for backups and for moving to another store."""

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

    They hold resume tokens, and so may hold documents' _id. May be called while the pipeline runs.
    """
    import asyncio

    from rigatoni_core.cli.state.position_changes import exported

    records = asyncio.run(exported(configuration_of(file, overrides)))
    click.echo(json.dumps(records, indent=2, ensure_ascii=False))  # as it is: a token may look like a secret by chance


@click.command("import")
@changes_state
@click.argument("records", type=click.File("rb"))
def import_(file: Path, overrides: tuple[str, ...], records: BinaryIO, history: Path | None, yes: bool) -> None:
    """Saves the positions in RECORDS, which `rigatoni state export` printed, for the pipeline in FILE.

    The old records are kept in the history, a file beside FILE.
    """
    from rigatoni_core.cli.state.position_changes import imported
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(None, imported(records.read(), records.name))
