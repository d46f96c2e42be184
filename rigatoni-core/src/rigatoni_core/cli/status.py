"""`rigatoni status`: prints the status of the running pipelines on this host."""

import sys
from pathlib import Path
from typing import Any

import click

from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.api.words import duration, error_in_words, size
from rigatoni_core.cli.output import as_json, bold, complain, fail, say, table
from rigatoni_core.observe.snapshot_figures import snapshot_in_words


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def status(file: Path | None, json_: bool) -> None:
    """Shows the status of `rigatoni run` processes on this host: all of this user, or those that run FILE.

    Exits with 3 if no process is running, or if one does not respond.
    """
    from rigatoni_core.api.errors import NoAnswerError
    from rigatoni_core.cli.sockets import running

    wanted = str(file.resolve()) if file else None
    statuses: list[dict[str, Any]] = []
    silent = False
    for _, reply in running():
        if isinstance(reply, NoAnswerError):
            silent = True
            fail(reply)
        elif wanted in (None, reply["file"]):
            statuses.append(reply)
    statuses.sort(key=lambda each: (each["file"], each.get("instance", "")))
    if json_:
        as_json(statuses)
    for each in statuses if not json_ else ():
        _print(each)
    if not statuses and not silent:
        complain(f"no pipeline{f' from {file}' if file else ''} is running on this host")
    if silent or not statuses:
        sys.exit(ExitCode.CANNOT_START)


def _print(process: dict[str, Any]) -> None:
    instance = f", instance {process['instance']}" if process.get("instance") else ""
    say(bold(process["file"]) + f"{instance}, process {process['pid']}, since {process['started']}")
    rows = [_row(pipeline["name"], stream) for pipeline in process["pipelines"] for stream in pipeline["streams"]]
    columns = ("stream", "state", "events", "read lag", "delivery lag", "buffer", "checkpoint", "retries", "gaps")
    table((*columns, "last error"), rows)
    for name, numbers in process.get("counts", {}).items():
        if counted := ", ".join(f"{number:,} {reason}" for reason, number in numbers.items() if number):
            say(f"{name}: {counted}")
    for pipeline in process["pipelines"]:
        for stream in pipeline["streams"]:
            if snapshot := stream.get("snapshot"):
                say(f"{pipeline['name']}/{stream['name']} {snapshot_in_words(snapshot)}")


def _row(pipeline: str, stream: dict[str, Any]) -> tuple[str, ...]:
    read, delivery, age = (
        "" if stream[key] is None else duration(stream[key]) for key in ("read_lag", "delivery_lag", "checkpoint_age")
    )
    return (
        f"{pipeline}/{stream['name']}",
        stream["state"],
        f"{stream['events']:,}",
        read,
        delivery,
        size(stream["buffered_bytes"]),
        f"{age} old" if age else "",
        f"{stream['retries']:,}",
        f"{stream['gaps']:,}",
        error_in_words(stream["last_error"]),
    )
