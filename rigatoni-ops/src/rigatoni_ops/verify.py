"""The command `rigatoni verify`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file
from rigatoni_core.api.parameters import Duration

if TYPE_CHECKING:
    from rigatoni_ops.verification import Outcome


@click.command()
@takes_file
@click.argument("stream", required=False)
@click.option(
    "--timeout",
    type=Duration(min=0.1),
    default="1 min",
    show_default=True,
    help="How long to wait until the stream has delivered what was written meanwhile.",
)
@click.option(
    "--show",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many documents of each kind of difference to name, by a hash.",
)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
@pass_application
def verify(
    app: Application,
    file: Path,
    overrides: tuple[str, ...],
    stream: str | None,
    timeout: float,
    show: int,
    json_: bool,
) -> ExitCode:
    """Compares the collections of STREAM with what the destination holds; of all streams if none is named.

    Replays the destination's events up to one cluster time, and reports documents that are missing, extra or
    different, events that occur twice, and files that are missing or damaged. Documents are named by a hash of `_id`.
    Changes nothing; the pipeline may run meanwhile.

    Exits with 7 if there are differences, or if none of a stream's documents could be compared. Exits with 6 if the
    time is over.
    """
    import asyncio

    from rigatoni_ops.verification import verify as outcomes_of

    configuration = app.configuration(file, overrides)

    async def collect() -> "list[Outcome]":
        return [outcome async for outcome in outcomes_of(configuration, stream, timeout=timeout, show=show)]

    try:
        outcomes = asyncio.run(collect())
    except TimeoutError:
        app.echo_err(f"the stream has not delivered within {timeout:g} s what was written while it was read")
        app.echo_err("what to do: run the pipeline meanwhile, or give it more time with --timeout")
        return ExitCode.TIMED_OUT
    if json_:
        app.as_json([_record(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            _print(app, outcome, show)
    proven = all(outcome.same and not outcome.nothing_compared for outcome in outcomes)
    return ExitCode.DONE if proven else ExitCode.DIFFERENT


def _record(outcome: "Outcome") -> dict[str, object]:
    return {
        "stream": outcome.stream,
        "at": [outcome.at.seconds, outcome.at.increment],
        "same": None if outcome.nothing_compared else outcome.same,
        "complete": outcome.complete,
        **outcome.counts,
        "hashes": {verdict: list(hashes) for verdict, hashes in outcome.hashes.items()},
        "missing_files": {stream: list(names) for stream, names in outcome.missing_files.items()},
        "unreadable": [str(error) for error in outcome.unreadable],
    }


def _headline(outcome: "Outcome") -> str:
    if not outcome.same:
        return "DIFFERENT"
    if outcome.nothing_compared:
        return f"nothing could be compared, {outcome.not_compared:,} not compared,"
    if outcome.not_compared:
        equal, rest = outcome.counts["equal"], outcome.not_compared
        return f"no differences in what could be compared, {equal:,} equal, {rest:,} not compared,"
    return "no differences"


def _print(app: Application, outcome: "Outcome", show: int) -> None:
    app.echo(f"{outcome.stream}: {_headline(outcome)} at {outcome.at}")
    words = {
        "equal": "equal",
        "missing": "missing at the destination",
        "extra": "only at the destination",
        "different": "different",
        "doubled": "events that occur twice",
        "changed_since": "changed since, not compared",
        "partial": "updated without the whole document, not compared",
        "unknown": "unknown to the destination, not compared",
    }
    for verdict, meaning in words.items():
        if outcome.counts[verdict] or verdict == "equal":
            app.echo(f"  {outcome.counts[verdict]:>12,}  {meaning}")
        for each in outcome.hashes.get(verdict, ()):
            app.echo(f"                #{each}")
    for stream, names in outcome.missing_files.items():
        app.echo(f"  {len(names):>12,}  files of {stream} missing, though the records of complete batches name them")
        for name in names[:show]:
            app.echo(f"                {name}")
    for error in outcome.unreadable:
        app.echo(f"  {error}")
        app.echo(f"  what to do: {error.remedy}")
    if not outcome.all_known:
        app.echo("  no snapshot of the whole stream is done: only documents that the destination knows were compared")
