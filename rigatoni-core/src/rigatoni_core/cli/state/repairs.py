"""Repairs of saved positions: what would change is said first, kept, and done under the stream's lease."""

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
    """What a repair sees of one stream. `damaged` says what is wrong with the stored record, if it cannot be read."""

    configuration: PipelineConfiguration
    stream: Stream
    before: Checkpoint | None
    damaged: str = ""


@attrs.frozen
class Plan:
    """What should be stored instead.

    Attributes:
        make: Returns it; None for no record at all.
        needs: The components that `make` expects to be entered.
        unwatched: Whether a stream may be named that is not watched any more but has a record.
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
        """Plan the change of one stream or of all, ask, and make it."""
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
        """Say what will happen, and whether the person who called agrees."""
        if not look.damaged and _essence(look.before) == _essence(after):
            say(f"{look.stream}: nothing to change, it stands {_words(look, look.before)}")
            return False
        complain(f"{look.stream} stands {_words(look, look.before)}")
        complain(f"and will go on {_words(look, after)}")
        for text in _consequences(look, after):
            warn(text)
        return agreed(self.yes)


def require_durable(configuration: PipelineConfiguration) -> None:
    """Raise `ConfigurationError` for a state store whose records end with the process."""
    if not configuration.state.durable:
        raise ConfigurationError(
            "this pipeline's state store forgets everything when its process ends: there is nothing to change",
            remedy='Use a state store that keeps positions, such as type = "file".',
        )


def agreed(yes: bool) -> bool:
    """Return whether the person who called agrees to what was said. Raises `ConfigurationError` without a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "nothing was changed: confirmation needs a terminal", remedy="Pass --yes if it is right."
        )
    return bool(click.confirm("Do it?", err=True))


async def _look(configuration: PipelineConfiguration, stream: Stream) -> Look:
    try:
        return Look(configuration, stream, await configuration.state.load_resume_token(stream))
    except CorruptCheckpointError as error:
        return Look(configuration, stream, None, str(error))


def _consequences(look: Look, after: Checkpoint | None) -> list[str]:
    """What a person should know before agreeing."""
    before, keeps = look.before, isinstance(look.configuration.destination, PositionKeeper)
    if after is None and keeps:
        return ["the next run goes on where the destination's own records end"]
    if after is None:
        return ["the next run begins where the source's start_at says; what changed until then may never be delivered"]
    if before and after.identity != before.identity and after.position == before.position:
        return [f"it is taken for a position of the deployment that the source reads now, {after.identity.name!r}"]
    texts = [f"the stored record cannot be read and is replaced: {look.damaged}"] if look.damaged else []
    if before and after.position.order > before.position.order and len(after.gaps) > len(before.gaps):
        texts.append("changes between the two are never delivered: this is recorded as a gap")
    if before and after.position.order < before.position.order:
        texts.append(
            "changes between the two are read again; the destination keeps a record of what it holds and does not "
            "write those again"
            if keeps
            else "changes between the two are delivered again, beside what is there already"
        )
    return texts


def _words(look: Look, checkpoint: Checkpoint | None) -> str:
    if checkpoint is None:
        return "at an unreadable record" if look.damaged else "at no position"
    if gap := checkpoint.open_gap:
        return f"behind a gap, after {time_in_words(gap.resumed.cluster_time)}"
    return f"after {time_in_words(checkpoint.position.cluster_time)}"


def _essence(checkpoint: Checkpoint | None) -> object:
    """What a repair may change."""
    return checkpoint and (checkpoint.position, checkpoint.identity, checkpoint.gaps)


def caller() -> str:
    """The command as it was typed, without what `--set` may have given."""
    return " ".join(("rigatoni", *(word for word in sys.argv[1:3])))
