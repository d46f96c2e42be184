"""`rigatoni state rename`: moves the positions of a renamed pipeline."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import click

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Destination, PositionKeeper, StreamCloser, StreamLister
from rigatoni_core.api.errors import ConfigurationError, RigatoniError
from rigatoni_core.api.events import Checkpoint, Position, Stream
from rigatoni_core.api.succession import SuccessionKeeper
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.files import configurations_of
from rigatoni_core.cli.output import complain, say
from rigatoni_core.cli.state.components import holding
from rigatoni_core.cli.state.history import History, history_of, record_of
from rigatoni_core.cli.state.repairs import agreed, caller, require_durable


@attrs.frozen
class _Move:
    """The move of one stream's position to another name, with the fencing tokens of both."""

    old: Stream
    new: Stream
    checkpoint: Checkpoint
    old_token: int
    new_token: int


@attrs.frozen
class Renaming:
    """One call of the command.

    A destination that keeps positions names its objects by the pipeline. Objects of the old name stay, and the new name
    starts a chain after them. So the command first closes the old chain, and uses its end if it is later than the
    checkpoint: nothing is lost or repeated. It saves the new record before it clears the old one, so an interrupted
    call can be repeated.

    """

    file: Path
    overrides: tuple[str, ...]
    history: Path | None
    yes: bool
    old: str
    new: str

    def run(self) -> None:
        """Rename the streams of the pipeline, and print the result for each."""
        configuration = self._configuration()
        require_durable(configuration)
        asyncio.run(self._run(configuration))

    def _configuration(self) -> PipelineConfiguration:
        found = {each.name: each for each in configurations_of(self.file, self.overrides)}
        if self.new in found and self.old not in found:
            return found[self.new]
        if self.old in found:
            problem = f"{self.file} still describes a pipeline {self.old}"
        else:
            problem = f"{self.file} describes no pipeline {self.new}"
        raise ConfigurationError(
            f"{problem}: nothing was changed", remedy=f'Write name = "{self.new}" into the file first.'
        )

    async def _run(self, configuration: PipelineConfiguration) -> None:
        history = History(self.history or history_of(self.file))
        state, destination = configuration.state, configuration.destination
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(state)
            if isinstance(destination, PositionKeeper):
                await stack.enter_async_context(destination)
            streams = await _open_streams(destination, await self._streams(configuration))
            moves = [await self._move(stack, configuration, old) for old in streams]
            for move in moves:
                complain(f"{move.old} is at {time_in_words(move.checkpoint.position.cluster_time)}")
            complain(f'and will continue as "{self.new}"')
            if isinstance(destination, PositionKeeper):
                complain(
                    f'files of "{self.old}" stay in {destination.metadata().description} under that name; '
                    f'"{self.new}" continues after them in its own folder'
                )
            if not agreed(self.yes):
                return
            for move in moves:
                after = _later(move.checkpoint, await _closed(configuration, move.old))
                after = attrs.evolve(after, fencing_token=move.new_token)
                history.add(move.new, caller(), record_of(move.old, move.checkpoint), record_of(move.new, after))
                await state.save_resume_token(move.new, after)
                await state.clear_resume_token(move.old, fencing_token=move.old_token)
                say(f"{move.old} is now {move.new}; the old record is kept in {history.path}")

    async def _streams(self, configuration: PipelineConfiguration) -> Sequence[Stream]:
        """Return every stream of the old name with a position. If the store cannot list, check the watched ones."""
        state = configuration.state
        if not isinstance(state, StreamLister):
            named = [Stream(self.old, name) for name in await configuration.source.streams()]
            found: Sequence[Stream] = [each for each in named if await state.load_resume_token(each) is not None]
            others: Sequence[str] = ()
        else:
            found = await state.streams(self.old)
            others = sorted({stream.pipeline for stream in await state.streams()} - {self.new})
        if found:
            return found
        remedy = (
            f"Name one of the pipelines with positions: {', '.join(others)}."
            if others
            else "Write OLD exactly as it was in the file."
        )
        raise ConfigurationError(f"the state store has no position of the pipeline {self.old}", remedy=remedy)

    async def _move(self, stack: AsyncExitStack, configuration: PipelineConfiguration, old: Stream) -> _Move:
        """Acquire the leases of both streams, and check that no position of the new name would be overwritten."""
        state, destination, new = configuration.state, configuration.destination, Stream(self.new, old.name)
        old_token = await stack.enter_async_context(holding(configuration, old))
        new_token = await stack.enter_async_context(holding(configuration, new))
        checkpoint = await state.load_resume_token(old)
        if checkpoint is None:
            raise ConfigurationError(f"{old} no longer has a position", remedy="Call the command again.")
        await _reject_while_events_are_left_out(destination, old, checkpoint)
        if isinstance(destination, PositionKeeper) and await destination.last_committed(new) is not None:
            raise ConfigurationError(
                f"{new} has already run under the new name, so the destination has another position of it",
                remedy="Write a name into the file that has never run, and rename to that.",
            )
        present = await state.load_resume_token(new)
        if present is not None and not _interrupted(present, checkpoint):
            raise ConfigurationError(
                f"{new} already has a position: {time_in_words(present.position.cluster_time)}",
                remedy=f"Clear it first if it may be replaced: rigatoni state clear {self.file} {new.name}",
            )
        return _Move(old, new, checkpoint, old_token, new_token)


async def _open_streams(destination: Destination, streams: Sequence[Stream]) -> Sequence[Stream]:
    """Return the streams that no other stream continues. The others keep their old name and are never resumed."""
    if not isinstance(destination, SuccessionKeeper):
        return streams
    return [stream for stream in streams if not (await destination.history(stream)).ended]


async def _reject_while_events_are_left_out(destination: Destination, old: Stream, checkpoint: Checkpoint) -> None:
    """Reject a stream that still leaves out events. They are recorded by its name, so a new name would repeat them."""
    left_out = (await destination.history(old)).left_out if isinstance(destination, SuccessionKeeper) else ()
    time = checkpoint.position.cluster_time
    if time is not None and any(each.end >= time for each in left_out):
        raise ConfigurationError(
            f"{old} still has to pass events that other streams delivered before `watch` was changed",
            remedy="Run the pipeline under the old name until it has caught up, then rename it.",
        )


def _interrupted(present: Checkpoint, old: Checkpoint) -> bool:
    """Return whether an interrupted call saved the new record, and nothing was delivered since."""
    same = (present.events, present.gaps, present.identity) == (old.events, old.gaps, old.identity)
    return same and present.position.order >= old.position.order


async def _closed(configuration: PipelineConfiguration, stream: Stream) -> Position | None:
    """Close the stream at the destination, and return its end, if known."""
    destination = configuration.destination
    if not isinstance(destination, StreamCloser):
        return await destination.last_committed(stream) if isinstance(destination, PositionKeeper) else None
    while True:
        try:
            return await destination.close_stream(stream)
        except RigatoniError as error:
            if error.retry_after is None:
                raise
            complain(f"{error}; waiting")
            await asyncio.sleep(error.retry_after)


def _later(checkpoint: Checkpoint, end: Position | None) -> Checkpoint:
    """Return the checkpoint at the destination's end, if that is later: the last save may be missing after a crash."""
    if end is None or end.order <= checkpoint.position.order:
        return checkpoint
    return attrs.evolve(checkpoint, position=end, delivered=end.of_event)


def rename_positions(
    file: Path, overrides: tuple[str, ...], old: str, new: str, history: Path | None, yes: bool
) -> None:
    """Move every position of the pipeline `old` to `new`, which the file contains."""
    if old == new:
        raise click.UsageError("OLD and NEW are the same name")
    Renaming(file, overrides, history, yes, old, new).run()
