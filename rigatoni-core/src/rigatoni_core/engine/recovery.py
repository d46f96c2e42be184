"""Finds the position at which a stream resumes: its checkpoint, the destination's position, a new anchor, or a gap.

Every entry of a worker starts here, for whatever reason the previous one ended.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import ParamSpec, TypeVar, cast

import attrs

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import (
    IdentityRefresher,
    PositionKeeper,
    Source,
    TimeReader,
    TransactionalKeeper,
    Transform,
)
from rigatoni_core.api.errors import RigatoniError, TokenRefusedError
from rigatoni_core.api.events import Definition, Gap, Position, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.notices import GapRecorded, PositionMoved, PositionTakenByTime, WorkerStarted
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.succession import ScopeReader, SuccessionKeeper
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.left_out import LeftOut
from rigatoni_core.engine.recognition import recognize_now
from rigatoni_core.engine.retry import Retry
from rigatoni_core.engine.succession import Plan, Succession
from rigatoni_core.engine.time_limit import time_limit
from rigatoni_core.engine.transforming import defined_with

P = ParamSpec("P")
T = TypeVar("T")

MAX_RECOVERIES = 3
"""Maximum number of consecutive recoveries from a lost position without a delivered event."""


class Recovery:
    """Finds the position of one stream, and replaces it when it is lost.

    Args:
        stream: The stream.
        source: Reads the stream, and creates the anchor of a fresh stream.
        keeper: The destination, if it keeps positions.
        checkpoint: The stream's checkpoint.
        settings: `on_lost_position`, and `write_timeout` for each call of the destination.
        retry: Repeats calls that fail with a `Transient` error.
        check: Raises `LeaseLostError` once the lease is lost. Called before each call of the destination.
        transforms: The stream's transforms, which are part of the definition that the destination records.
        progress: Returns the destination's count of progress. `write_timeout` limits the time without progress.
        succession: Continues streams that are no longer watched.
        before_first: Called before the first position of a stream is recorded that nothing is known of.
        before_gap: Called before the stream resumes behind a gap; again with the same gap after a crash.
    """

    definition: Definition
    """The definition of the stream, known after `position`."""

    def __init__(
        self,
        stream: Stream,
        *,
        source: Source,
        keeper: PositionKeeper | None,
        checkpoint: CheckpointKeeper,
        settings: Settings,
        retry: Retry,
        check: Callable[[], None],
        progress: Callable[[], int],
        succession: Succession,
        transforms: Sequence[Transform] = (),
        before_first: Callable[[], Awaitable[None]] | None = None,
        before_gap: Callable[[Gap], Awaitable[None]] | None = None,
    ) -> None:
        self._before_first = before_first
        self._before_gap = before_gap
        self._succession = succession
        self._stream = stream
        self._source = source
        self._keeper = keeper
        self._checkpoint = checkpoint
        self._settings = settings
        self._retry = retry
        self._check = check
        self._progress = progress
        self._transforms = transforms
        self._abandoned = 0
        self._saved = Identity()  # recorded in the checkpoint
        self._kept = Identity()  # recorded at the destination, now or by the next `begin`
        self._recognized = False  # a record proves that this is the recorded deployment
        self._refused: Position | None = None  # the position whose token the server refused
        self._by_time = False  # resume from that position by time
        self._committed_at = Timestamp(0, 0)  # the source's time of the destination's position

    @property
    def identity(self) -> Identity:
        """The deployment's identity to record: from the source, with the ids that the destination's record needs."""
        whole = self._source.definition(self._stream).identity
        present = attrs.evolve(whole.bounded(), listed=whole.listed)
        if present.collections is None:  # the source is not permitted to list them now
            present = attrs.evolve(present, collections=self._saved.collections)
        former = (id_ for id_ in self._kept.former if id_ not in (present.collections or ()))
        return attrs.evolve(present, id=present.id or self._saved.id, former=tuple(former))

    def delivered(self) -> None:
        """Reset the count of consecutive recoveries, because events were delivered."""
        self._abandoned = 0

    async def position(self) -> Position:
        """Return the position to resume from. It is saved before anything is written, so an early crash loses nothing.

        Raises:
            OtherDeploymentError: The source reads another deployment than before, or may do so. Nothing was changed.
        """
        await self._retry(self._checkpoint.load)
        definition = await self._recognize()
        if plan := await self._succession.plan(self._checkpoint.position):
            return await self._succeed(definition, plan)
        if (gap := self._checkpoint.open_gap) and not await self._takes_over_committed():
            await self._skip(definition, gap)
        position = self._checkpoint.position
        if position is None and self._keeper:
            position = await self._call(self._keeper.last_committed, self._stream)
        resumed = position is not None
        if position is None:
            position = await first_position(self._source.read(self._stream, after=None))
            if self._before_first is not None:
                await self._before_first()
        held = position
        if self._keeper:
            held = await self._call(self._keeper.begin, self._stream, definition, position)
            position = self._in_force(held)
        await self._anchor(position, held)
        publish(WorkerStarted(stream=self._stream, position=position, resumed=resumed))
        return position

    async def note_idle(self, beat: Heartbeat) -> bool:
        """Commit the position of an idle stream to a transactional destination, every `idle_commit_interval`.

        Measured by the source's time, so that it also happens if processes run briefly.

        Returns:
            Whether the destination now holds the position.
        """
        committed, now = self._checkpoint.committed, beat.source_time
        if not isinstance(self._keeper, TransactionalKeeper) or committed is None or now is None:
            return False
        since = max(self._committed_at, committed.cluster_time or Timestamp(0, 0)).seconds
        is_new = beat.end != committed and beat.end.order >= committed.order
        if not is_new or now.seconds < since + self._settings.idle_commit_interval:
            return False
        await self._call(self._keeper.commit_idle, self._stream, beat.end)
        self._committed_at = now
        return True

    def _in_force(self, held: Position) -> Position:
        """Return the destination's position, or the checkpoint's if only idle time lies between them.

        Only a transactional destination may have an earlier position than the checkpoint.
        """
        saved, committed = self._checkpoint.position, self._checkpoint.committed
        if not isinstance(self._keeper, TransactionalKeeper) or saved is None:
            return held
        if committed is not None and committed.order == held.order and saved.order >= held.order:
            return saved
        if saved.order != held.order:
            publish(PositionMoved(stream=self._stream, saved=saved, position=held))
        return held

    async def _anchor(self, position: Position, held: Position) -> None:
        committed = held if isinstance(self._keeper, TransactionalKeeper) else None
        await self._retry(self._checkpoint.anchor, position, committed)

    async def _succeed(self, definition: Definition, plan: Plan) -> Position:
        """Begin as planned. If the stream was closed, its recorded end replaces its checkpoint."""
        assert isinstance(self._keeper, SuccessionKeeper)
        if self._checkpoint.position is not None:
            await self._retry(self._checkpoint.anchor, plan.position)
        position = await self._call(self._keeper.succeed, self._stream, definition, plan.position, plan.left_out)
        await self._anchor(position, position)
        publish(WorkerStarted(stream=self._stream, position=position, resumed=True))
        return position

    def left_out(self) -> LeftOut:
        """Return the events after `position` that the stream leaves out, because other streams delivered them."""
        coverage = self._keeper.left_out(self._stream) if isinstance(self._keeper, SuccessionKeeper) else ()
        return LeftOut(self._source if isinstance(self._source, ScopeReader) else None, coverage)

    def read(self, position: Position) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream from `position` by token, or by time if the token was refused. See `Source.read`."""
        if self._by_time and position == self._refused:
            return self._read_by_time(position)
        return self._source.read(self._stream, after=position)

    async def abandon_position(self, error: RigatoniError) -> None:
        """Find another way to resume from a lost position, or a newer position, at worst now with a gap.

        Raises:
            RigatoniError: `error`, if the policy is to stop, or after `MAX_RECOVERIES` in a row.
        """
        refused = isinstance(error, TokenRefusedError) and self._checkpoint.position is not None
        if refused and self._refused != self._checkpoint.position:
            self._refused, self._by_time = self._checkpoint.position, False
            return  # a server may refuse a token only once: retry the same
        self._abandoned += 1
        if self._abandoned > MAX_RECOVERIES:
            raise error
        if refused and not self._by_time and self._is_provable():
            self._by_time = True
            return
        definition = await self._recognize()
        if await self._takes_over_committed():
            return
        if self._settings.on_lost_position == "stop":
            raise error
        lost, gap = self._checkpoint.position, self._checkpoint.open_gap
        if gap is None:
            gap = Gap(str(error), lost, await first_position(self._source.read_from_now(self._stream)))
        await self._skip(definition, gap)

    async def _recognize(self) -> Definition:
        """Compare the source's deployment with the identities recorded in the checkpoint and at the destination."""
        saved = self._checkpoint.identity
        if isinstance(self._source, IdentityRefresher):
            self._source.recall(self._stream, saved)
        kept = await self._call(self._keeper.recorded_identity, self._stream) if self._keeper else Identity()
        expected = kept if not self._checkpoint.open_gap else Identity()  # `_skip` passes the new one with the gap
        definition, self._recognized = await recognize_now(self._source, self._stream, saved=saved, kept=expected)
        given = definition.identity.bounded()
        self._saved, self._kept = saved, Identity().knowing(attrs.evolve(kept, former=()), given)
        self.definition = defined_with(attrs.evolve(definition, identity=given), self._transforms)
        return self.definition

    async def _takes_over_committed(self) -> bool:
        """Move the checkpoint to the destination's position if that is later, and return whether it was."""
        committed = await self._call(self._keeper.last_committed, self._stream) if self._keeper else None
        lost = self._checkpoint.position
        if committed is None or (lost is not None and committed.order <= lost.order):
            return False
        await self._checkpoint.anchor(committed)
        return True

    async def _skip(self, definition: Definition, gap: Gap) -> None:
        """Resume after the gap, which is recorded first."""
        if self._keeper:
            await self._checkpoint.note_gap(gap)  # or a crash in between would leave the gap only at the destination
        if self._before_gap is not None:
            await self._before_gap(gap)
        if self._keeper:
            await self._call(self._keeper.begin, self._stream, definition, gap.resumed, gap=gap)
        await self._checkpoint.record_gap(gap)
        publish(GapRecorded(stream=self._stream, gap=gap))

    def _is_provable(self) -> bool:
        """Return whether the source can find the position by time and prove that the history is unchanged.

        The last delivered event proves it. For a stream that has delivered nothing, the deployment's identity does.
        """
        position, delivered = self._checkpoint.position, self._checkpoint.delivered
        at = delivered if delivered is not None else position if self._recognized else None
        return isinstance(self._source, TimeReader) and at is not None and at.cluster_time is not None

    async def _read_by_time(self, position: Position) -> AsyncIterator[EventBatch | Heartbeat]:
        assert isinstance(self._source, TimeReader)
        items = self._source.read_by_time(self._stream, position=position, delivered=self._checkpoint.delivered)
        async with aclosing(cast("AsyncGenerator[EventBatch | Heartbeat]", items)) as reading:
            async for item in reading:
                if self._by_time:
                    reason = "the source refused the token of the saved position, and its history holds the place"
                    publish(PositionTakenByTime(stream=self._stream, position=position, reason=reason))
                    self._by_time = False  # the token may be refused again before the stream has moved
                yield item

    async def _call(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the destination, each attempt under the lease and limited by `write_timeout`."""

        async def attempt() -> T:
            self._check()
            what = f"the destination's lookup of the position of {self._stream}"
            async with time_limit(self._settings.write_timeout, what, self._progress):
                return await call(*args, **kwargs)

        return await self._retry(attempt)


async def first_position(items: AsyncIterator[EventBatch | Heartbeat]) -> Position:
    """Return the position at which this read of a source starts."""
    async with aclosing(cast("AsyncGenerator[EventBatch | Heartbeat]", items)) as reading:
        return (await anext(reading)).end
