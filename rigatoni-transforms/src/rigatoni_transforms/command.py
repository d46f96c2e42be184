"""The command `rigatoni test`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file


@click.command()
@takes_file
@click.argument("cases", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
@pass_application
def test(app: Application, file: Path, overrides: tuple[str, ...], cases: tuple[Path, ...], json_: bool) -> ExitCode:
    """Runs the CASES of the pipeline in FILE: events through its transforms and its serializer, without servers.

    Without CASES, these are in the file next to FILE that ends in `.test.toml`: `pipeline.test.toml` for
    `pipeline.toml`. Connects to nothing and writes nothing.

    Exits with 1 if a case fails.
    """
    import asyncio

    from rigatoni_transforms.case_run import CaseRunner
    from rigatoni_transforms.cases import cases_of

    configuration = app.configuration(file, overrides)
    runner = CaseRunner(configuration, asyncio.run(configuration.source.streams()))
    results = []
    for place in cases or (file.with_suffix(".test.toml"),):
        for case in cases_of(place):
            failures = list(runner.failures(case))
            results.append({"file": str(place), "name": case.name, "passed": not failures, "failures": failures})
            if not json_:
                app.echo(f"{'FAILED' if failures else 'passed'}  {case.name}")
                for failure in failures:
                    app.echo("\n".join(f"    {line}" for line in failure.rstrip().splitlines()))
    failed = sum(not result["passed"] for result in results)
    if json_:
        app.as_json(results)
    else:
        app.echo(f"{len(results) - failed} passed, {failed} failed")
    return ExitCode.WORKER_FAILED if failed else ExitCode.DONE
