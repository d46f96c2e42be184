"""`rigatoni status`: what the running pipelines of this machine do, asked of themselves."""

import sys
from pathlib import Path
from typing import Any

import click

from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.api.words import duration, error_in_words, size
from rigatoni_core.cli.output import as_json, bold, complain, fail, say, table


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def status(file: Path | None, json_: bool) -> None:
    """Shows what `rigatoni run` processes on this machine do: all of yours, or those that run FILE.

    Exits with 3 where none runs, or where one does not answer.
    """
    from rigatoni_core.api.errors import NoAnswerError
    from rigatoni_core.cli.sockets import running

    wanted = str(file.resolve()) if file else None
    answers: list[dict[str, Any]] = []
    silent = False
    for _, answer in running():
        if isinstance(answer, NoAnswerError):
            silent = True
            fail(answer)
        elif wanted in (None, answer["file"]):
            answers.append(answer)
    if json_:
        as_json(answers)
    for answer in answers if not json_ else ():
        _print(answer)
    if not answers and not silent:
        complain(f"nothing of yours runs here{f' with {file}' if file else ''}")
    if silent or not answers:
        sys.exit(ExitCode.CANNOT_START)


def _print(answer: dict[str, Any]) -> None:
    say(bold(answer["file"]) + f", process {answer['pid']}, since {answer['started']}")
    rows = [_row(pipeline["name"], stream) for pipeline in answer["pipelines"] for stream in pipeline["streams"]]
    columns = ("stream", "state", "events", "read lag", "delivery lag", "buffer", "checkpoint", "retries", "gaps")
    table((*columns, "last error"), rows)


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
