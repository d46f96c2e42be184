"""`rigatoni run`: runs pipelines until they are stopped."""

import sys
from pathlib import Path
from typing import Any, Literal

import click

from rigatoni_core.api.commands import takes_file
from rigatoni_core.api.parameters import Duration
from rigatoni_core.cli.files import configurations_of


def _number(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Return the value of `--instances`."""
    if value is None or value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value} is neither a number of instances from 1 on nor auto")
    return int(value)


@click.command()
@takes_file
@click.option("--once", is_flag=True, help="Stop when every stream has caught up with the server's time at start.")
@click.option(
    "--timeout",
    type=Duration(min=0, min_open=True),
    metavar="DURATION",
    help="With --once: stop after this time (`10 min`), even if streams have not caught up. Exits with 6 in that case.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest level to log. While the live display is on, only errors are logged; with debug, everything.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "human", "json"]),
    default="auto",
    show_default=True,
    help="auto: a live display on a terminal, JSON lines otherwise.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only errors, at the end.")
@click.option(
    "--instances",
    metavar="N|auto",
    callback=_number,
    help="Run N instances, processes that share the streams; auto: one for each core. Needs a state store with leases.",
)
@click.option("--instance", hidden=True, default="", metavar="I/N")
def run(
    file: Path,
    overrides: tuple[str, ...],
    once: bool,
    timeout: float | None,
    log_level: str,
    log_format: str,
    quiet: bool,
    instances: int | Literal["auto"] | None,
    instance: str,
) -> None:
    """Runs the pipelines in FILE, a file or a folder of files, until Ctrl-C or SIGTERM.

    Then it finishes the batch in flight, saves its checkpoint, and closes everything. A second Ctrl-C stops
    immediately. In both cases the next run resumes where this one ended. Logs are written to stderr.

    It waits for unavailable servers, also at the start. With --once the retries are limited (on_failure = "stop",
    unless FILE sets it), and the exit code reports the cause: see `rigatoni --help`.

    SIGHUP reads FILE again. New sources and destinations are opened and checked while the pipelines run. Then the
    pipelines stop, and resume from their checkpoints. If a check fails, the reload is rejected with the reason, and the
    pipelines continue unchanged.

    With several instances, this process starts and supervises them. It restarts one that crashes, passes signals on to
    all, and ends with the worst of their exit codes.
    """
    import asyncio

    if timeout is not None and not once:
        raise click.UsageError("--timeout needs --once: without it the pipelines run until they are stopped")
    from rigatoni_core.cli import instances as several
    from rigatoni_core.cli.app import rigatoni
    from rigatoni_core.cli.logs import make_log
    from rigatoni_core.cli.running import Run
    from rigatoni_core.observe.instance import set_instance_index

    loaded = []
    if instance:
        several.end_with_parent()
        set_instance_index(int(instance.partition("/")[0]) - 1)
    else:
        loaded.append(configurations_of(file, overrides))
        if (count := several.instances_of(instances, loaded[0])) > 1:
            context, terminal = click.get_current_context(), log_format == "auto" and sys.stderr.isatty()
            code = context.invoke(
                rigatoni.get_command(context, "supervise"),  # type: ignore[arg-type]  # it raises if there is none
                count=count,
                log=make_log("critical" if quiet else log_level, human=terminal or log_format == "human"),
                timeout=timeout,
                shutdown_timeout=max(each.settings.shutdown_timeout for each in loaded[0]),
                reloads=not terminal,
            )
            sys.exit(code)
    call = Run(
        file,
        lambda: loaded.pop() if loaded else configurations_of(file, overrides),
        once=once,
        timeout=timeout,
        quiet=quiet,
        log_level=log_level,
        log_format=log_format,
        instance=instance,
    )
    sys.exit(asyncio.run(call.run()))
