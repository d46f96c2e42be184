"""`rigatoni schema`: what a pipeline's file may hold, for editors."""

import click

from rigatoni_core.cli import installed
from rigatoni_core.cli.output import as_json


@click.command()
def schema() -> None:
    """Prints the JSON Schema of a pipeline's file, made from the installed components.

    \b
    Editors that know TOML complete and check with it (Taplo, "Even Better TOML"):
      rigatoni schema > rigatoni.schema.json
      and in the first line of the pipeline's file:  #:schema ./rigatoni.schema.json
    """
    from rigatoni_core.config.schema import schema as made_from

    as_json(made_from(installed.catalog()))
