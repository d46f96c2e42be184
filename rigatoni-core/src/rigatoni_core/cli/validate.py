"""`rigatoni validate`: every fault of the file at once, then whether everything can be reached."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.cli.app import CAN_NOT_START, WRONG
from rigatoni_core.cli.files import configuration_of
from rigatoni_core.cli.output import as_json, fail, say, time_in_words, warn
from rigatoni_core.errors import ConfigurationError, PipelineTimeoutError, RigatoniError

if TYPE_CHECKING:
    from rigatoni_core.config import PipelineConfiguration


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Check only the file: connect to nothing.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds for each connection."
)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def validate(file: Path, offline: bool, timeout: float, json_: bool) -> None:
    """Checks the pipeline in FILE.

    First every fault of the file at once; then whether all components can be reached and used; then
    which streams there are, where they stand, and what is guaranteed under which conditions.
    """
    import asyncio

    from rigatoni_core.config import InvalidConfigurationError

    result: dict[str, Any] = {"file": str(file), "valid": False, "warnings": [], "faults": []}
    try:
        configuration = configuration_of(file)
    except ConfigurationError as error:
        if not json_:
            raise
        details = error.details if isinstance(error, InvalidConfigurationError) else ()
        faults = [{"key": fault.key, "line": fault.line, "message": fault.message} for fault in details]
        as_json({**result, "faults": faults or [{"key": None, "line": None, "message": str(error)}]})
        sys.exit(WRONG)
    warnings = [*configuration.warnings, *getattr(configuration.source, "warnings", tuple)()]
    result |= {"valid": True, "pipeline": configuration.name, "warnings": warnings}
    if offline:
        _print(result, {}, json_)
    else:
        asyncio.run(_connect(configuration, result, timeout, json_))


async def _connect(configuration: "PipelineConfiguration", result: dict[str, Any], timeout: float, json_: bool) -> None:
    """Enter each component by itself, so that one that fails does not hide another; print and end."""
    import asyncio
    from contextlib import AsyncExitStack

    failures: dict[str, RigatoniError] = {}
    async with AsyncExitStack() as stack:
        kinds = ["state", "destination", *(["dead_letters"] if configuration.dead_letters else []), "source"]
        for kind in kinds:
            try:
                async with asyncio.timeout(timeout):
                    await stack.enter_async_context(getattr(configuration, kind))
            except RigatoniError as error:
                failures[kind] = error
            except TimeoutError:
                failures[kind] = PipelineTimeoutError(
                    f"it did not answer within {timeout:g} s", remedy="Is it there? --timeout allows it more."
                )
        if not failures:
            result |= await _described(configuration)
        result["components"] = {kind: kind not in failures for kind in kinds}
    _print(result, failures, json_)
    if any(isinstance(error, PipelineTimeoutError) for error in failures.values()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(CAN_NOT_START)  # a thread that hangs in it would keep the process
    if failures:
        sys.exit(CAN_NOT_START)


async def _described(configuration: "PipelineConfiguration") -> dict[str, Any]:
    from rigatoni_core.cli.guarantee import guarantee, rejections
    from rigatoni_core.events import Stream

    streams: dict[str, str] = {}
    level, conditions = "", tuple[str, ...]()
    for name in await configuration.source.streams():
        stream = Stream(configuration.name, name)
        level, conditions = guarantee(stream, configuration.source, configuration.destination)
        try:
            checkpoint = await configuration.state.load_resume_token(stream)
            streams[name] = (
                f"goes on from {time_in_words(checkpoint.position.cluster_time)}" if checkpoint else "no position yet"
            )
        except RigatoniError as error:
            streams[name] = f"its position can not be read: {error}"
    return {
        "destination": configuration.destination.metadata().description,
        "streams": streams,
        "guarantee": level,
        "conditions": list(conditions),
        "rejected_events": rejections(configuration),
    }


def _print(result: dict[str, Any], failures: dict[str, RigatoniError], json_: bool) -> None:
    if json_:
        errors = {kind: {"error": str(error), "remedy": error.remedy} for kind, error in failures.items()}
        as_json({**result, "errors": errors})
    for text in result["warnings"] if not json_ else ():
        warn(text)
    for kind, error in failures.items():
        fail(error, f"{kind}: ")
    if json_:
        return
    if "streams" in result:
        for name, position in result["streams"].items():
            say(f"stream       {name}: {position}")
        say(f"destination  {result['destination']}")
        say(f"guarantee    {result['guarantee']}{', provided that' if result['conditions'] else ''}")
        for condition in result["conditions"]:
            say(f"             - {condition}")
        say(f"rejected     events that can not be written {result['rejected_events']}")
    if not failures:
        tail = "everything can be reached" if "streams" in result else "nothing was connected to"
        say(f"{result['file']} is valid; {tail}")
