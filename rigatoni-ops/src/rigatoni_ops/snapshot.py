"""The command `rigatoni snapshot`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file
from rigatoni_core.api.parameters import Duration

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration


@click.group()
def snapshot() -> None:
    """Requests snapshots of what exists in a collection, and shows, pauses and cancels them."""


_as_json = click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
_reference = click.argument("reference", metavar="STREAM[#N]")


@snapshot.command()
@takes_file
@click.argument("stream", required=False)
@click.option(
    "--collection", "collections", multiple=True, help="A collection to read; all of the stream unless given."
)
@click.option("--filter", "filters", multiple=True, metavar="COLLECTION=JSON", help="Read only documents that match.")
@click.option("--from", "lowest", default="", metavar="ID", help="The first `_id` to read, as Extended JSON.")
@click.option("--to", "highest", default="", metavar="ID", help="The `_id` before which reading ends.")
@_as_json
@pass_application
def start(
    app: Application,
    file: Path,
    overrides: tuple[str, ...],
    stream: str | None,
    collections: tuple[str, ...],
    filters: tuple[str, ...],
    lowest: str,
    highest: str,
    json_: bool,
) -> None:
    """Requests a snapshot of STREAM, which may be omitted if the pipeline in FILE has only one.

    The source checks the request, then it is recorded at the destination. The instance that runs the stream carries it
    out, now or when it starts. Snapshots of one stream run one after another.
    """
    import asyncio

    from rigatoni_ops.snapshots import request_of, snapshots_of

    configuration = app.configuration(file, overrides)
    pairs = [text.partition("=") for text in filters]
    if not all(mark for _, mark, _ in pairs):
        raise click.UsageError("--filter takes COLLECTION=JSON")

    async def record() -> str:
        async with snapshots_of(configuration, stream) as found:
            if len(found) > 1:
                names = ", ".join(each.stream.name for each in found)
                raise click.UsageError(f"name one of the streams {names}")
            request = await request_of(
                configuration,
                found[0].stream,
                collections=collections,
                filters={name: query for name, _, query in pairs},
                lowest=lowest,
                highest=highest,
            )
            return f"{found[0].stream.name}#{await found[0].ledger.request(request)}"

    name = asyncio.run(record())
    if json_:
        app.as_json({"snapshot": name})
    else:
        app.echo(f"requested {name}")


@snapshot.command("list")
@takes_file
@click.argument("reference", metavar="[STREAM[#N]]", required=False)
@_as_json
@pass_application
def list_(app: Application, file: Path, overrides: tuple[str, ...], reference: str | None, json_: bool) -> None:
    """Lists the snapshots of the pipeline in FILE, or those of one stream. Changes nothing."""
    import asyncio

    from rigatoni_ops.snapshots import named, snapshots_of

    configuration = app.configuration(file, overrides)
    stream, number = named(reference)

    async def read() -> list[dict[str, object]]:
        async with snapshots_of(configuration, stream) as found:
            return [
                dict(await each.record_of(requested))
                for each in found
                for requested in await each.ledger.requests()
                if number in (None, requested.number)
            ]

    records = asyncio.run(read())
    if json_:
        app.as_json(records)
    elif records:
        columns = ("snapshot", "state", "rows", "ranges", "collections", "reason")
        app.table(
            columns,
            [
                (
                    str(r["snapshot"]),
                    str(r["state"]),
                    f"{r['rows']:,}",
                    f"{r['complete_ranges']} of {r['ranges']}",
                    ", ".join(map(str, r["collections"])) if isinstance(r["collections"], list) else "",
                    str(r["reason"]),
                )
                for r in records
            ],
        )
    else:
        app.echo("there are no snapshots")


@snapshot.command()
@takes_file
@_reference
@click.option("--timeout", type=Duration(min=0.1), help="How long to wait, such as `10 min`; without end unless given.")
@pass_application
def wait(app: Application, file: Path, overrides: tuple[str, ...], reference: str, timeout: float | None) -> ExitCode:
    """Waits until a snapshot has ended.

    Without a number, it is the oldest one that has not ended, or the newest one if all have ended.

    Exits with 0 if it is done, with 1 if it ended otherwise, and with 6 if the time is over.
    """
    import asyncio

    from rigatoni_ops.snapshots import named, snapshots_of

    configuration = app.configuration(file, overrides)
    stream, number = named(reference)

    async def wait_() -> ExitCode:
        async with asyncio.timeout(timeout), snapshots_of(configuration, stream) as found:
            number_ = number if number is not None else await found[0].open_or_newest()
            end = await found[0].wait(number_)
        app.echo(f"{stream}#{number_}: {end.state}, {end.rows:,} rows{': ' + end.reason if end.reason else ''}")
        return ExitCode.DONE if end.state == "done" else ExitCode.WORKER_FAILED

    try:
        return asyncio.run(wait_())
    except TimeoutError:
        app.echo_err(f"{reference} has not ended within {timeout:g} s")
        return ExitCode.TIMED_OUT


@snapshot.command()
@takes_file
@_reference
@pass_application
def pause(app: Application, file: Path, overrides: tuple[str, ...], reference: str) -> None:
    """Pauses a snapshot until `resume`, also over restarts. The stream continues."""
    _control(app, app.configuration(file, overrides), reference, paused=True)


@snapshot.command()
@takes_file
@_reference
@pass_application
def resume(app: Application, file: Path, overrides: tuple[str, ...], reference: str) -> None:
    """Resumes a paused snapshot."""
    _control(app, app.configuration(file, overrides), reference, paused=False)


@snapshot.command()
@takes_file
@_reference
@click.option("--yes", is_flag=True, help="Cancel. Without it, only say what would be cancelled.")
@pass_application
def cancel(app: Application, file: Path, overrides: tuple[str, ...], reference: str, yes: bool) -> None:
    """Ends a snapshot for good. Rows that are written stay, and the stream continues."""
    import asyncio

    from rigatoni_core.api.snapshot_records import EndRecord

    from rigatoni_ops.snapshots import named, snapshots_of

    configuration = app.configuration(file, overrides)
    stream, number = named(reference)

    async def end() -> str:
        async with snapshots_of(configuration, stream) as found:
            number_ = await found[0].open(number)
            if not yes:
                return f"would cancel {stream}#{number_}; pass --yes to do so"
            made = EndRecord(state="cancelled", reason="a command cancelled it")
            return f"{stream}#{number_}: {(await found[0].ledger.end(number_, made)).state}"

    app.echo(asyncio.run(end()))


def _control(app: Application, configuration: "PipelineConfiguration", reference: str, *, paused: bool) -> None:
    import asyncio

    from rigatoni_ops.snapshots import named, snapshots_of

    stream, number = named(reference)

    async def control() -> str:
        async with snapshots_of(configuration, stream) as found:
            number_ = await found[0].open(number)
            changed = await found[0].ledger.set_paused(number_, paused=paused)
        state = "paused" if paused else "resumed"
        return f"{stream}#{number_}: {state if changed else f'{state} already'}"

    app.echo(asyncio.run(control()))
