"""The command `rigatoni doctor`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file
from rigatoni_core.api.parameters import Duration

if TYPE_CHECKING:
    from rigatoni_ops.diagnosis.examination import Found


@click.command()
@takes_file
@click.option("--timeout", type=Duration(min=0.1), default="15 s", show_default=True, help="Limit of each check.")
@click.option("--quiet", is_flag=True, help="Show only errors, warnings and checks that were not made.")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
@pass_application
def doctor(
    app: Application, file: Path, overrides: tuple[str, ...], timeout: float, quiet: bool, json_: bool
) -> ExitCode:
    """Finds what will hurt the pipelines in FILE later, with a remedy for each finding. Changes no data.

    `rigatoni validate` checks whether a pipeline can start now. `rigatoni doctor` also checks how long the oplog keeps
    the position of each stream, the members of the deployment, what may delete checkpoints or objects, and the space
    of the disks. Works while the pipelines run.

    \b
    ok           nothing to do
    not checked  the check cannot be made: the reason, and the privilege to grant
    warning      it will hurt later
    error        it is wrong now

    Exits with 0 if there is neither a warning nor an error, and otherwise with 1.
    """  # noqa: D301 (\b of click keeps the lines of a paragraph)
    import asyncio

    from rigatoni_ops.diagnosis.examination import examine
    from rigatoni_ops.diagnosis.output import record_of, show

    configurations = app.configurations(file, overrides)
    found: list[Found] = []
    for configuration in configurations:
        results = asyncio.run(examine(configuration, timeout))
        found += results
        if not json_:
            show(app, configuration.name, results, quiet=quiet)
    hurting = [each for each in found if each.finding.severity in ("warning", "error")]
    if json_:
        app.as_json({"file": str(file), "well": not hurting, "findings": [record_of(app, each) for each in found]})
    return ExitCode.WORKER_FAILED if hurting else ExitCode.DONE
