"""Repairs of saved positions: show the change, ask, record it in the history, and make it under the stream's lease."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import attrs
import click

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import PositionKeeper
from rigatoni_core.api.errors import ConfigurationError, CorruptCheckpointError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.files import configuration_of
from rigatoni_core.cli.output import complain, say, warn
from rigatoni_core.cli.state.components import holding, streams_of
from rigatoni_core.cli.state.history import History, history_of, record_of


@attrs.frozen
class Look:
    """The present state of one stream. `damaged` describes an unreadable record."""

    configuration: PipelineConfiguration
    stream: Stream
    before: Checkpoint | None
    damaged: str = ""


@attrs.frozen
class Plan:
    """A change of a stored record.

    Attributes:
        make: Returns the new checkpoint; None to clear the record.
        needs: The components that must be entered for `make`.
        unwatched: Whether the stream may be one that is no longer watched but has a record.
    """

    make: Callable[[Look], Awaitable[Checkpoint | None]]
    needs: tuple[Literal["source", "destination"], ...] = ()
    unwatched: bool = False


@attrs.frozen
class Repair:
    """One call of a command that changes saved positions."""

    file: Path
    overrides: tuple[str, ...]
    history: Path | None
    yes: bool

    def run(self, stream: str | None, plan: Plan) -> None:
        """Plan the change of one stream or of all, ask for confirmation, and make it."""
        configuration = configuration_of(self.file, self.overrides)
        require_durable(configuration)
        asyncio.run(self._run(configuration, stream, plan))

    async def _run(self, configuration: PipelineConfiguration, name: str | None, plan: Plan) -> None:
        history = History(self.history or history_of(self.file))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(configuration.state)
            for kind in plan.needs:
                await stack.enter_async_context(getattr(configuration, kind))
            for stream in await streams_of(configuration, name, recorded=plan.unwatched):
                async with holding(configuration, stream) as fencing_token:
                    look = await _look(configuration, stream)
                    after = await plan.make(look)
                    if not self._agreed(look, after):
                        continue
                    before = record_of(stream, look.before) or ({"damaged": look.damaged} if look.damaged else None)
                    if after is not None:
                        after = attrs.evolve(after, fencing_token=fencing_token)
                    history.add(stream, caller(), before, record_of(stream, after))
                    if after is None:
                        await configuration.state.clear_resume_token(stream, fencing_token=fencing_token)
                    else:
                        await configuration.state.save_resume_token(stream, after)
                    say(f"{stream}: done; the old record is kept in {history.path}")

    def _agreed(self, look: Look, after: Checkpoint | None) -> bool:
        """Show the change, and return whether the user confirms it."""
        if not look.damaged and _changeable(look.before) == _changeable(after):
            say(f"{look.stream}: nothing to change, the position is {_in_words(look, look.before)}")
            return False
        complain(f"{look.stream}: old position: {_in_words(look, look.before)}")
        complain(f"{look.stream}: new position: {_in_words(look, after)}")
        for text in _consequences(look, after):
            warn(text)
        return agreed(self.yes)


def require_durable(configuration: PipelineConfiguration) -> None:
    """Raise `ConfigurationError` for a state store whose records do not outlive the process."""
    if not configuration.state.durable:
        raise ConfigurationError(
            "the state store of this pipeline keeps positions only in memory, so no position can be changed",
            remedy='Use a durable state store, such as type = "file".',
        )


def agreed(yes: bool) -> bool:
    """Return whether the user confirms the change.

    Raises:
        ConfigurationError: There is no terminal to ask on.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError("nothing was changed: confirmation needs a terminal", remedy="Pass --yes to confirm.")
    return bool(click.confirm("Continue?", err=True))


async def _look(configuration: PipelineConfiguration, stream: Stream) -> Look:
    try:
        return Look(configuration, stream, await configuration.state.load_resume_token(stream))
    except CorruptCheckpointError as error:
        return Look(configuration, stream, None, str(error))


def _consequences(look: Look, after: Checkpoint | None) -> list[str]:
    """Return the consequences that a user should know before confirming."""
    before, keeps = look.before, isinstance(look.configuration.destination, PositionKeeper)
    if after is None and keeps:
        return ["the next run resumes at the destination's own position"]
    if after is None:
        return ["the next run starts at the source's start_at; earlier changes may never be delivered"]
    if before and after.identity != before.identity and after.position == before.position:
        return [f"the position will belong to the deployment that the source reads now, {after.identity.name!r}"]
    texts = [f"the stored record cannot be read and is replaced: {look.damaged}"] if look.damaged else []
    if before and after.position.order > before.position.order and len(after.gaps) > len(before.gaps):
        texts.append("changes between the two are never delivered: this is recorded as a gap")
    if before and after.position.order < before.position.order:
        texts.append(
            "changes between the two are read again, but the destination records its position and does not write them"
            if keeps
            else "changes between the two are delivered again, so the destination will hold them twice"
        )
    return texts


def _in_words(look: Look, checkpoint: Checkpoint | None) -> str:
    if checkpoint is None:
        return "unreadable" if look.damaged else "none"
    if gap := checkpoint.open_gap:
        return f"after a gap, {time_in_words(gap.resumed.cluster_time)}"
    return time_in_words(checkpoint.position.cluster_time)


def _changeable(checkpoint: Checkpoint | None) -> object:
    """Return the part of a checkpoint that a repair may change."""
    return checkpoint and (checkpoint.position, checkpoint.identity, checkpoint.gaps)


def caller() -> str:
    """Return the command's first words, without arguments, which may contain secrets."""
    return " ".join(("rigatoni", *(word for word in sys.argv[1:3])))
