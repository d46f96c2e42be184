"""`rigatoni validate`: checks the files (all errors together), connectivity, permissions and delivery guarantee."""

import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.api.commands import takes_file
from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.api.parameters import Duration
from rigatoni_core.cli.files import configurations_of
from rigatoni_core.cli.output import as_json, bold, complain, fail, say, warn

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration
    from rigatoni_core.cli.checks import Findings


@click.command()
@takes_file
@click.option("--offline", is_flag=True, help="Check only the file, without connecting.")
@click.option("--timeout", type=Duration(min=0.1), default="30 s", show_default=True, help="Limit of each step.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def validate(file: Path, overrides: tuple[str, ...], offline: bool, timeout: float, json_: bool) -> None:
    """Checks the pipelines in FILE, a file or a folder of files, and delivers nothing.

    It checks the file first, and reports all errors together, and options that are not recommended. Then it connects to
    source, destination and state store, reads each stream from its position, and reports the delivery guarantee and its
    conditions. Works while the pipelines run.
    """
    import asyncio

    configurations = _load(file, overrides, json_)
    checked = [_Checked(configuration, several=len(configurations) > 1) for configuration in configurations]
    asyncio.run(_look_offline(checked, timeout) if offline else _connect(checked, timeout))
    for each in checked:
        each.report(quiet=json_)
    if json_:
        records = [each.record for each in checked]
        as_json({"file": str(file), "valid": True, "faults": [], "pipelines": records})
    elif not any(each.failed for each in checked):
        say(f"{file} is valid; {'connections were not checked' if offline else 'all connections work'}")
    code = ExitCode.CANNOT_START if any(each.failed for each in checked) else ExitCode.DONE
    if any(each.hanging for each in checked):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # a hanging thread would keep the process alive
    sys.exit(code)


def _load(file: Path, overrides: tuple[str, ...], json_: bool) -> "Sequence[PipelineConfiguration]":
    from rigatoni_core.api.errors import ConfigurationError

    try:
        return configurations_of(file, overrides)
    except ConfigurationError as error:
        fail(error)
        if json_:
            details = getattr(error, "details", ())
            faults = [
                {"file": fault.file, "key": fault.key, "line": fault.line, "message": fault.message}
                for fault in details
            ]
            other = [{"file": str(file), "key": None, "line": None, "message": str(error)}]
            as_json({"file": str(file), "valid": False, "faults": faults or other, "pipelines": []})
        sys.exit(ExitCode.WRONG)


class _Checked:
    """One pipeline and the findings about it."""

    def __init__(self, configuration: "PipelineConfiguration", *, several: bool) -> None:
        self.configuration = configuration
        self._several = several
        self.record: dict[str, Any] = {"pipeline": configuration.name}
        self.failed = False
        self.hanging = False
        self.found: Findings

    def report(self, *, quiet: bool) -> None:
        """Print errors, and all other findings unless `quiet`. `record` contains everything."""
        import attrs

        from rigatoni_core.cli.checks import as_records

        name, found = self.configuration.name, self.found
        if self._several and not quiet:
            say(bold(name))
        self.record["paths"] = {key: str(path) for key, path in self.configuration.paths.items()}
        for key, path in self.record["paths"].items() if not quiet else ():
            say(f"path         {key}: {path}")
        self.record["warnings"] = list(dict.fromkeys([*self.configuration.warnings, *found.advice]))
        for text in self.record["warnings"] if not quiet else ():
            warn(text)
        errors = as_records(found.errors)
        self.record |= attrs.asdict(found, filter=attrs.filters.exclude("advice", "errors")) | {"errors": errors}
        if not quiet:
            _print(found)
        for place, failures in found.errors.items():
            for error in failures:
                fail(error, f"{name}: {place}: " if self._several else f"{place}: ")
        self.failed, self.hanging = bool(errors), found.hanging


async def _look_offline(checked: "Sequence[_Checked]", timeout: float) -> None:
    """Check what the file decides alone."""
    from rigatoni_core.cli.checks import Checks

    for each in checked:
        each.found = await Checks(each.configuration, timeout, ()).offline()


async def _connect(checked: "Sequence[_Checked]", timeout: float) -> None:
    """Open all pipelines together, as `run` does: so conflicts over a lock or a port are found."""
    from rigatoni_core.cli.checks import Checks

    names = {each.configuration.name for each in checked}
    checks = [Checks(each.configuration, timeout, names) for each in checked]
    async with AsyncExitStack() as stack:
        for check in checks:
            await check.open(stack)
        for each, check in zip(checked, checks, strict=True):
            each.found = await check.look(stack)


def _print(found: "Findings") -> None:
    for name, position in found.streams.items():
        say(f"stream       {name}: {position}")
    for name, transforms in found.transforms.items():
        say(f"transforms   {name}: {', '.join(transforms)}")
    if found.destination:
        say(f"destination  {found.destination}")
    if found.guarantee:
        say(f"guarantee    {found.guarantee}{', provided that' if found.conditions else ''}")
        for condition in found.conditions:
            say(f"             - {condition}")
    if found.snapshot:
        say(f"snapshot     {found.snapshot}")
    if found.rejected_events:
        say(f"rejected     events that cannot be written {found.rejected_events}")
    for note in found.notes:
        complain(f"note: {note}")
