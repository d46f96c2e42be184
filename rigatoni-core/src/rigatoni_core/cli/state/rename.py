"""`rigatoni state rename`: the positions of a pipeline that got another name."""

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
    """One stream's position on its way to another name, and the fencing tokens for both."""

    old: Stream
    new: Stream
    checkpoint: Checkpoint
    old_token: int
    new_token: int


@attrs.frozen
class Renaming:
    """One call of the command.

    A destination that keeps positions names its objects by the pipeline: those of the old name stay where they are,
    and the new name starts a chain right behind them. So the old chain is closed first, and its end counts where it is
    later than the checkpoint: nothing is lost or repeated. The new record is saved before the old one is cleared; a
    call that was interrupted is repeated.
    """

    file: Path
    overrides: tuple[str, ...]
    history: Path | None
    yes: bool
    old: str
    new: str

    def run(self) -> None:
        """Rename the streams of the pipeline and print what happened to each."""
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
                complain(f"{move.old} stands after {time_in_words(move.checkpoint.position.cluster_time)}")
            complain(f'and will be continued as "{self.new}"')
            if isinstance(destination, PositionKeeper):
                complain(
                    f'what "{self.old}" has written stays in {destination.metadata().description} under that name; '
                    f'"{self.new}" starts a folder of its own right behind it'
                )
            if not agreed(self.yes):
                return
            for move in moves:
                after = _later(move.checkpoint, await _closed(configuration, move.old))
                after = attrs.evolve(after, fencing_token=move.new_token)
                history.add(move.new, caller(), record_of(move.old, move.checkpoint), record_of(move.new, after))
                await state.save_resume_token(move.new, after)
                await state.clear_resume_token(move.old, fencing_token=move.old_token)
                say(f"{move.old} is {move.new} now; the old record is kept in {history.path}")

    async def _streams(self, configuration: PipelineConfiguration) -> Sequence[Stream]:
        """Every stream of the old name with a position; where the store lists none, those that are watched."""
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
        holds = f"It holds positions of {', '.join(others)}." if others else "Write OLD as it was in the file."
        raise ConfigurationError(f"the state store holds no position of the pipeline {self.old}", remedy=holds)

    async def _move(self, stack: AsyncExitStack, configuration: PipelineConfiguration, old: Stream) -> _Move:
        """Take both streams' leases, and make sure that nothing of the new name is overwritten."""
        state, destination, new = configuration.state, configuration.destination, Stream(self.new, old.name)
        old_token = await stack.enter_async_context(holding(configuration, old))
        new_token = await stack.enter_async_context(holding(configuration, new))
        checkpoint = await state.load_resume_token(old)
        if checkpoint is None:
            raise ConfigurationError(f"{old} has no position any more", remedy="Call the command again.")
        await _refuse_while_events_are_left_out(destination, old, checkpoint)
        if isinstance(destination, PositionKeeper) and await destination.last_committed(new) is not None:
            raise ConfigurationError(
                f"{new} has been run under the new name: the destination keeps a record of that, which cannot start at "
                "another place",
                remedy="Write a new name into the file that was never run, and rename to that.",
            )
        present = await state.load_resume_token(new)
        if present is not None and not _interrupted(present, checkpoint):
            raise ConfigurationError(
                f"{new} has a position of its own, after {time_in_words(present.position.cluster_time)}",
                remedy=f"Forget it first if it may be replaced: rigatoni state clear {self.file} {new.name}",
            )
        return _Move(old, new, checkpoint, old_token, new_token)


async def _open_streams(destination: Destination, streams: Sequence[Stream]) -> Sequence[Stream]:
    """The streams without those that others continued: these keep their old name, so they are never resumed."""
    if not isinstance(destination, SuccessionKeeper):
        return streams
    return [stream for stream in streams if not (await destination.history(stream)).ended]


async def _refuse_while_events_are_left_out(destination: Destination, old: Stream, checkpoint: Checkpoint) -> None:
    """What a stream leaves out is on record under its name: under another one, it would be delivered again."""
    left_out = (await destination.history(old)).left_out if isinstance(destination, SuccessionKeeper) else ()
    time = checkpoint.position.cluster_time
    if time is not None and any(each.end >= time for each in left_out):
        raise ConfigurationError(
            f"{old} has not passed yet what former streams delivered before `watch` was changed",
            remedy="Run the pipeline under the old name until it has caught up, then rename it.",
        )


def _interrupted(present: Checkpoint, old: Checkpoint) -> bool:
    """Whether the new record was saved by a call that was interrupted, and nothing was delivered since."""
    same = (present.events, present.gaps, present.identity) == (old.events, old.gaps, old.identity)
    return same and present.position.order >= old.position.order


async def _closed(configuration: PipelineConfiguration, stream: Stream) -> Position | None:
    """Let nothing more be written under the old name; where that ended, as far as the destination knows."""
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
    """The checkpoint at the destination's end, where that is later: a crash may have come before the last save."""
    if end is None or end.order <= checkpoint.position.order:
        return checkpoint
    return attrs.evolve(checkpoint, position=end, delivered=end.of_event)


def rename_positions(
    file: Path, overrides: tuple[str, ...], old: str, new: str, history: Path | None, yes: bool
) -> None:
    """Move every position of the pipeline `old` to `new`, which the file describes."""
    if old == new:
        raise click.UsageError("OLD and NEW are the same name")
    Renaming(file, overrides, history, yes, old, new).run()
