"""`rigatoni schema`: what a pipeline's file may hold, for editors."""

import click
from rigatoni_core.api.commands import Application, pass_application


@click.command()
@pass_application
def schema(app: Application) -> None:
    """Prints the JSON Schema of a pipeline's file, made from the installed components.

    \b
    Editors that know TOML complete and check with it (Taplo, "Even Better TOML"):
      rigatoni schema > rigatoni.schema.json
      and in the first line of the pipeline's file:  #:schema ./rigatoni.schema.json
    """  # noqa: D301 (\b of click keeps the lines of a paragraph)
    from rigatoni_core.config import installed_plugins

    from rigatoni_ops.json_schema import schema as made_from

    app.as_json(made_from(installed_plugins()))
