"""The command `rigatoni bigquery`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration


@click.group()
def bigquery() -> None:
    """Loads what waits in the bucket into BigQuery."""


@bigquery.command()
@takes_file
@click.argument("stream", required=False)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
@pass_application
def load(app: Application, file: Path, overrides: tuple[str, ...], stream: str | None, json_: bool) -> ExitCode:
    """Loads all objects of the pipeline in FILE that are not loaded yet, or those of one STREAM, and waits for the end.

    The pipeline itself does the same while it runs. Use this command after `rigatoni run --once`, whose last objects
    otherwise wait for the next run. It works while a pipeline runs: no object is loaded twice.
    """
    import asyncio

    rows = asyncio.run(_load(app, app.configuration(file, overrides), stream))
    if json_:
        app.as_json([{"stream": name, "table": table, "loaded_objects": loaded} for name, table, loaded in rows])
    else:
        app.table(("stream", "table", "loaded objects"), [(name, table, str(loaded)) for name, table, loaded in rows])
    return ExitCode.DONE


async def _load(
    app: Application, configuration: "PipelineConfiguration", stream: str | None
) -> list[tuple[str, str, int]]:
    from rigatoni_core.api.errors import ConfigurationError

    from rigatoni_bigquery.destination import BigQueryDestination
    from rigatoni_bigquery.loader import load_all

    destination = configuration.destination
    if not isinstance(destination, BigQueryDestination):
        raise ConfigurationError(
            f"the destination of {configuration.name} is not bigquery", remedy="Name the file of such a pipeline."
        )
    rows = []
    async with destination.without_loader():
        known = [
            each
            for pipeline in (configuration.name, f"{configuration.name}.snapshots")
            for each in await destination.recorded_streams(pipeline)
        ]
        chosen = [each for each in known if stream in (None, each.name, (each.of_snapshot or each).name)]
        if not chosen:
            raise ConfigurationError(
                f"nothing of {stream or 'any stream'} is in the bucket",
                remedy=f"Name one of {', '.join(each.name for each in known)}." if known else "Run the pipeline first.",
            )
        for each in chosen:
            with app.progress(f"loading {each.name}") as looked:
                loaded = await load_all(destination.loads(each), looked)
            rows.append((each.name, destination.table_of(each), loaded))
    return rows
