"""`rigatoni validate`: every fault of the file at once, then whether everything can be reached and used."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.cli.app import CAN_NOT_START, WRONG
from rigatoni_core.cli.files import configuration_of, takes_file
from rigatoni_core.cli.output import as_json, complain, fail, say, warn

if TYPE_CHECKING:
    from rigatoni_core.cli.checks import Findings
    from rigatoni_core.config import PipelineConfiguration


@click.command()
@takes_file
@click.option("--offline", is_flag=True, help="Check only the file: connect to nothing.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds for each step."
)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def validate(file: Path, overrides: tuple[str, ...], offline: bool, timeout: float, json_: bool) -> None:
    """Checks the pipeline in FILE, and changes nothing.

    First every fault of the file at once, and what is allowed but unwise. Then whether source, destination and state
    store can be reached; whether each stream can be read with these rights and this filter from where it stands; and
    what is guaranteed under which conditions. May be called while the pipeline runs.
    """
    from rigatoni_core.cli.advice import advice_of

    result: dict[str, Any] = {"file": str(file), "valid": False, "warnings": [], "faults": []}
    configuration = _load(file, overrides, result, json_)
    result |= {
        "valid": True,
        "pipeline": configuration.name,
        "warnings": [*configuration.warnings, *advice_of(configuration)],
    }
    for text in result["warnings"] if not json_ else ():
        warn(text)
    if not offline:
        _connect(configuration, result, timeout, json_)
    elif json_:
        as_json(result)
    else:
        say(f"{file} is valid; nothing was connected to")


def _load(file: Path, overrides: tuple[str, ...], result: dict[str, Any], json_: bool) -> "PipelineConfiguration":
    from rigatoni_core.errors import ConfigurationError

    try:
        return configuration_of(file, overrides)
    except ConfigurationError as error:
        fail(error)
        if json_:
            details = getattr(error, "details", ())
            faults = [{"key": fault.key, "line": fault.line, "message": fault.message} for fault in details]
            as_json({**result, "faults": faults or [{"key": None, "line": None, "message": str(error)}]})
        sys.exit(WRONG)


def _connect(configuration: "PipelineConfiguration", result: dict[str, Any], timeout: float, json_: bool) -> None:
    import asyncio

    import attrs

    from rigatoni_core.cli.checks import Checks, as_records

    found = asyncio.run(Checks(configuration, timeout).run())
    errors = as_records(found.errors)
    advice = [text for text in found.advice if text not in result["warnings"]]
    result["warnings"] += advice
    for text in advice if not json_ else ():
        warn(text)
    if json_:
        described = attrs.asdict(found, filter=attrs.filters.exclude("advice", "errors"))
        as_json({**result, **described, "errors": errors})
    else:
        _print(configuration, found)
        if not errors:
            say(f"{result['file']} is valid; everything can be reached")
    for place, failures in found.errors.items():
        for error in failures:
            fail(error, f"{place}: ")
    if errors:
        sys.stdout.flush()
        sys.stderr.flush()
        if found.hanging:
            os._exit(CAN_NOT_START)  # a thread that hangs would keep the process
        sys.exit(CAN_NOT_START)


def _print(configuration: "PipelineConfiguration", found: "Findings") -> None:
    for name, position in found.streams.items():
        say(f"stream       {name}: {position}")
    if found.destination:
        say(f"destination  {found.destination}")
    if found.guarantee:
        say(f"guarantee    {found.guarantee}{', provided that' if found.conditions else ''}")
        for condition in found.conditions:
            say(f"             - {condition}")
    if found.rejected_events:
        say(f"rejected     events that can not be written {found.rejected_events}")
    for note in found.notes:
        complain(f"note: {note}")
