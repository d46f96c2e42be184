"""The command `rigatoni report`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path

import click
from rigatoni_core.api.commands import Application, pass_application, takes_file
from rigatoni_core.api.parameters import Duration


@click.command()
@takes_file
@click.option("--output", type=click.Path(path_type=Path), help="The file to write; never overwrites one.")
@click.option("--offline", is_flag=True, help="Leave out the findings of `rigatoni doctor`, which connects.")
@click.option("--timeout", type=Duration(min=0.1), default="15 s", show_default=True, help="Limit of each check.")
@click.option("--json", "json_", is_flag=True, help="Print the report instead of writing a file.")
@pass_application
def report(
    app: Application,
    file: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    offline: bool,
    timeout: float,
    json_: bool,
) -> None:
    """Collects what an issue needs about the pipelines in FILE into one JSON file.

    It contains the versions of Python, the system, the plugins and their libraries; the options that differ from their
    defaults, without secrets; figures and last errors of running pipelines; and the findings of `rigatoni doctor`. It
    contains no documents. Names of hosts, databases and folders appear as configured: read it before you attach it.

    Writes `rigatoni-report-<time>.json` into the current folder, unless --output names another file.
    """
    import asyncio
    import json
    from datetime import UTC, datetime

    from rigatoni_core.api.errors import ConfigurationError

    from rigatoni_ops.issue_report import collect

    now = datetime.now(UTC)
    if not file.exists():
        app.configurations(file, overrides)  # raises: there is nothing to report
    contents = asyncio.run(collect(app, file, overrides, now=now, timeout=None if offline else timeout))
    if contents["error"]:
        app.warn(f"{file} has errors, which the report contains; `rigatoni validate {file}` shows them")
    if json_:
        app.as_json(contents)
        return
    path = output or Path(f"rigatoni-report-{now:%Y%m%dT%H%M%SZ}.json")
    try:
        with path.open("x", encoding="utf-8") as target:
            target.write(json.dumps(contents, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        remedy = "Name another file with --output, or print the report with --json."
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", remedy=remedy) from error
    app.echo(f"wrote {path}")
    app.echo_err("what to do: read it, then attach it to your issue")
