"""`rigatoni state set | clear | rebuild`: repairs of saved positions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rigatoni_core.api.commands import takes_file

Function = TypeVar("Function", bound=Callable[..., Any])


def changes_state(function: Function) -> Function:
    """The options of every command that changes a saved position."""
    history = click.option(
        "--history", type=click.Path(path_type=Path), help="Where the change and the old record are noted."
    )
    yes = click.option("--yes", is_flag=True, help="Do it without asking.")
    return takes_file(yes(history(function)))


@click.command("set")
@changes_state
@click.argument("stream")
@click.option(
    "--at",
    "time",
    metavar="TIME",
    help="Go on with the first change at this time or later, such as 2026-11-23T14:00:00Z.",
)
@click.option("--token", help="Go on after this resume token, as the server or `state show --tokens` prints it.")
def set_(
    file: Path,
    overrides: tuple[str, ...],
    stream: str,
    time: str | None,
    token: str | None,
    history: Path | None,
    yes: bool,
) -> None:
    """Sets where STREAM of the pipeline in FILE goes on.

    A later position skips changes: the gap is recorded. An earlier one delivers changes again, and is refused where the
    destination keeps a record of what it holds, since it would not write them again. The pipeline must not run
    meanwhile. The old record is kept in the history, a file beside FILE.
    """
    from rigatoni_core.cli.state.position_changes import set_position
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(stream, set_position(time, token))


@click.command()
@changes_state
@click.argument("stream")
def clear(file: Path, overrides: tuple[str, ...], stream: str, history: Path | None, yes: bool) -> None:
    """Forgets where STREAM of the pipeline in FILE stands.

    The next run begins where the destination knows, else where the source's start_at says. The old record is kept in
    the history, a file beside FILE.
    """
    from rigatoni_core.cli.state.position_changes import forget
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(stream, forget())


@click.command("confirm-deployment")
@changes_state
@click.argument("stream", required=False)
def confirm_deployment(
    file: Path, overrides: tuple[str, ...], stream: str | None, history: Path | None, yes: bool
) -> None:
    """Confirms that the pipeline in FILE is to read the deployment that its source names now.

    For STREAM, or for every stream. If only the collections were replaced, the stream resumes at its position. If the
    deployment has another id, its history is another one: the stream resumes at now, with a gap on record. The old
    records are kept in the history, a file beside FILE.
    """
    from rigatoni_core.cli.state.position_changes import confirmed_deployment
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(stream, confirmed_deployment())


@click.command()
@changes_state
@click.argument("old")
@click.argument("new")
def rename(file: Path, overrides: tuple[str, ...], old: str, new: str, history: Path | None, yes: bool) -> None:
    """Moves the positions of the pipeline OLD to NEW, which FILE describes by now.

    For a pipeline that got another name. What OLD has written stays at the destination under that name; NEW continues
    right behind it, in a folder of its own, without loss or repeats. OLD must not run any more. The old records are
    kept in the history, a file beside FILE.
    """
    from rigatoni_core.cli.state.rename import rename_positions

    rename_positions(file, overrides, old, new, history, yes)


@click.command()
@changes_state
@click.argument("stream", required=False)
def rebuild(file: Path, overrides: tuple[str, ...], stream: str | None, history: Path | None, yes: bool) -> None:
    """Takes positions from the destination: of STREAM, or of every stream of the pipeline in FILE.

    For a lost or damaged state store: the destination knows by itself how far each stream has come. The old records
    are kept in the history, a file beside FILE.
    """
    from rigatoni_core.cli.state.position_changes import from_destination
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(stream, from_destination())
