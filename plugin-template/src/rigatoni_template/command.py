"""The command `rigatoni template`: prints the position of each stream of a pipeline.

`rigatoni --help` imports this module, so it imports nothing heavy; functions import what they need.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration


@click.command()
@takes_file
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
@pass_application
def command(app: Application, file: Path, overrides: tuple[str, ...], json_: bool) -> ExitCode:
    """Shows the streams of the pipeline in FILE and the position of each.

    Exits with 3 if the pipeline has no stream.
    """
    import asyncio

    from rigatoni_template.errors import TemplateCommandError

    configuration = app.configuration(file, overrides)
    positions = asyncio.run(_positions(configuration))
    if not positions:
        raise TemplateCommandError(f"the pipeline {configuration.name} has no stream")
    if json_:
        app.as_json(positions)
    else:
        app.table(("stream", "position"), list(positions.items()))
    return ExitCode.DONE


async def _positions(configuration: "PipelineConfiguration") -> dict[str, str]:
    """Return the time of each stream's checkpoint in words."""
    from rigatoni_core.api.events import Stream
    from rigatoni_core.api.words import time_in_words

    found = {}
    async with configuration.source, configuration.state:
        for name in await configuration.source.streams():
            checkpoint = await configuration.state.load_resume_token(Stream(configuration.name, name))
            found[name] = time_in_words(checkpoint.position.cluster_time) if checkpoint else "none yet"
    return found
