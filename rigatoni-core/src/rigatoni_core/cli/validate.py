"""`rigatoni validate`: every fault of the file at once, then whether everything can be reached."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click

from rigatoni_core.catalog import Catalog
from rigatoni_core.cli.guarantee import guarantee
from rigatoni_core.cli.output import as_json, warn
from rigatoni_core.errors import PipelineTimeoutError

LIMIT = 30.0
"""Seconds that all connections together may take."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Only the file: connect to nothing.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def validate(file: Path, offline: bool, json_: bool) -> None:
    """Checks the pipeline in FILE: all faults of the file at once, then connections, rights and the guarantee."""
    from rigatoni_core.config import load

    configuration = load(file, Catalog.discover())
    warnings = [*configuration.warnings, *getattr(configuration.source, "warnings", tuple)()]
    result: dict[str, Any] = {"file": str(file), "pipeline": configuration.name, "warnings": warnings}
    if not offline:
        result |= asyncio.run(_connect(configuration))
    if json_:
        as_json(result)
        return
    for text in warnings:
        warn(text)
    if not offline:
        click.echo(f"streams    {', '.join(result['streams'])}")
        click.echo(f"guarantee  {result['guarantee']}")
        for condition in result["conditions"]:
            click.echo(f"           - {condition}")
    click.echo(f"{file} is valid" + (" (nothing was connected to)" if offline else " and everything can be reached"))


async def _connect(configuration: Any) -> dict[str, Any]:
    try:
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            for component in (configuration.state, configuration.destination, configuration.source):
                await stack.enter_async_context(component)
            streams = list(await configuration.source.streams())
            level, conditions = guarantee(configuration.name, streams, configuration.source, configuration.destination)
    except TimeoutError:
        raise PipelineTimeoutError(f"not everything could be reached within {LIMIT:.0f} s") from None
    return {"streams": streams, "guarantee": level, "conditions": conditions}
