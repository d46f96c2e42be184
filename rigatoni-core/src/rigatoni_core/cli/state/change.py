"""`rigatoni state set | clear | rebuild | confirm-deployment | rename`: changes saved positions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rigatoni_core.api.commands import takes_file

Function = TypeVar("Function", bound=Callable[..., Any])


def changes_state(function: Function) -> Function:
    """Add the options of every command that changes a saved position."""
    history = click.option(
        "--history", type=click.Path(path_type=Path), help="File that records the change and the old record."
    )
    yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
    return takes_file(yes(history(function)))


@click.command("set")
@changes_state
@click.argument("stream")
@click.option(
    "--at",
    "time",
    metavar="TIME",
    help="Resume at the first change at this time or later, such as 2026-11-23T14:00:00Z.",
)
@click.option("--token", help="Resume after this resume token, as printed by the server or `state show --tokens`.")
def set_(
    file: Path,
    overrides: tuple[str, ...],
    stream: str,
    time: str | None,
    token: str | None,
    history: Path | None,
    yes: bool,
) -> None:
    """Sets the position at which STREAM of the pipeline in FILE resumes.

    A later position skips changes, and the gap is recorded. An earlier position delivers changes again. It is rejected
    if the destination records its own position, because such a destination would not write the changes again. The
    pipeline must not be running. The old record is kept in the history, a file next to FILE.
    """
    from rigatoni_core.cli.state.position_changes import set_position
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(stream, set_position(time, token))


@click.command()
@changes_state
@click.argument("stream")
def clear(file: Path, overrides: tuple[str, ...], stream: str, history: Path | None, yes: bool) -> None:
    """Clears the position of STREAM of the pipeline in FILE.

    The next run resumes at the position that the destination records, else it starts at the source's start_at. The old
    record is kept in the history, a file next to FILE.
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
    """Confirms that the pipeline in FILE should read the deployment that its source names now.

    Applies to STREAM, or to every stream. If only the collections were replaced, the stream resumes at its position. If
    the deployment has another id, its history differs: the stream resumes at now, and the gap is recorded. The old
    records are kept in the history, a file next to FILE.
    """
    from rigatoni_core.cli.state.position_changes import confirmed_deployment
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(stream, confirmed_deployment())


@click.command()
@changes_state
@click.argument("old")
@click.argument("new")
def rename(file: Path, overrides: tuple[str, ...], old: str, new: str, history: Path | None, yes: bool) -> None:
    """Moves the positions of the pipeline OLD to its new name NEW, which FILE already contains.

    Files that OLD has written stay at the destination under that name. NEW continues after them in its own folder,
    without loss or repeats. OLD must not be running. The old records are kept in the history, a file next to FILE.
    """
    from rigatoni_core.cli.state.rename import rename_positions

    rename_positions(file, overrides, old, new, history, yes)


@click.command()
@changes_state
@click.argument("stream", required=False)
def rebuild(file: Path, overrides: tuple[str, ...], stream: str | None, history: Path | None, yes: bool) -> None:
    """Restores positions from the destination: of STREAM, or of every stream of the pipeline in FILE.

    Use it for a lost or damaged state store, if the destination records the position of each stream. The old records
    are kept in the history, a file next to FILE.
    """
    from rigatoni_core.cli.state.position_changes import from_destination
    from rigatoni_core.cli.state.repairs import Repair

    Repair(file, overrides, history, yes).run(stream, from_destination())
