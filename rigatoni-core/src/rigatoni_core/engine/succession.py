"""How a new stream continues former ones after `watch` was changed, so that nothing is lost and nothing repeated.

A stream is new if it has no position, or if it was closed because others continued it. It *succeeds* the streams of its
pipeline that are no longer watched and that share namespaces with it. The rule, each step of which is on record at the
destination before the next one, so that nothing is computed twice after a crash:

1. Take the lease of each former stream.
2. Close it: programs that still run it stop, and requests under way end. Only then read where it ended, from checkpoint
   and destination, the later counts.
3. Record that end: its cluster time, and the *rest*, the events of that very time that it had still to deliver. They
   are found by resuming the former stream once by its own token. Tokens are opaque: they are compared for equality.
4. The new stream begins at the oldest cluster time of which some namespace in its scope lacks events, and leaves out
   what former streams have delivered, rests excepted. A namespace that no stream watched adds no starting point.

The rule was checked with a model of random schedules; its mutants are tests of this module.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import partial
from typing import ParamSpec, Protocol, TypeVar, cast

import attrs

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import (
    Destination,
    LeaseKeeper,
    Source,
    StateStore,
    StreamLister,
    TimeReader,
)
from rigatoni_core.api.errors import (
    CorruptCheckpointError,
    PositionLostError,
    TokenRefusedError,
    WatchChangedError,
)
from rigatoni_core.api.events import Checkpoint, Coverage, Definition, Position, Stream, Timestamp, token_hash
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.notices import RepeatsPossible, StreamsSucceeded
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.succession import History, ScopeReader, SuccessionKeeper
from rigatoni_core.engine.recognition import recognize, recognize_now
from rigatoni_core.engine.retry import Retry
from rigatoni_core.engine.time_limit import time_limit

P = ParamSpec("P")
T = TypeVar("T")

EVERYTHING = "*"
"""As the rest: every event of the last cluster time, those included that are yet to happen."""


class Lease(Protocol):
    """The lease of a former stream."""

    def check(self) -> None:
        """Raise `LeaseLostError` unless it is held."""


@attrs.frozen
class Plan:
    """Where a new stream begins, and what it leaves out."""

    former: tuple[Stream, ...]
    position: Position
    left_out: tuple[Coverage, ...]

    def checkpoint(self, saved: Checkpoint | None) -> Checkpoint:
        """What the stream's checkpoint will be, in place of the one that it has."""
        return Checkpoint(self.position, identity=saved.identity if saved else Identity())


class Succession:
    """Plans how one stream continues former ones, and closes these.

    Args:
        stream: The stream.
        watched: The names of all streams of the pipeline.
        source: Reads the streams.
        destination: Has on record what was delivered.
        state: Lists the streams that have a checkpoint, if it can.
        settings: `on_lost_position`, `write_timeout`.
        retry: Repeats a question that failed with a `Transient` error.
        lease: Returns the lease of a former stream, to be entered.
        check: Raises an error if the worker should stop, or has lost the lease of its own stream.
    """

    def __init__(
        self,
        stream: Stream,
        watched: Collection[str],
        *,
        source: Source,
        destination: Destination,
        state: StateStore,
        settings: Settings,
        retry: Retry,
        lease: Callable[[Stream], AbstractAsyncContextManager[Lease]],
        check: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._watched = watched
        self._source = source
        self._destination = destination
        self._keeper = destination if isinstance(destination, SuccessionKeeper) else None
        self._state = state
        self._settings = settings
        self._retry = retry
        self._lease = lease
        self._check = check

    async def plan(self, position: Position | None) -> Plan | None:
        """Return what the stream continues; None if it resumes where it was, or begins fresh.

        Args:
            position: Its own position, if it has a checkpoint.

        Raises:
            WatchChangedError: It cannot be determined where a former stream ended.
            OtherDeploymentError: The source reads another deployment than a former stream did.
        """
        own = await self._history(self._stream)
        if not own.closed and (own.known or position is not None):
            return None
        former = await former_streams(self._stream, self._watched, self._source, self._state, self._destination)
        if own.closed:
            former = (*former, self._stream)
        if not former:
            return None
        source, keeper = self._abilities(former)
        for each in former:
            if not (await self._history(each)).ended:
                await self._end(source, keeper, each)
        histories = [await self._history(each) for each in former]
        coverage = [each for history in histories for each in history.coverage]
        shared = source.shared(self._stream.name, {each.scope for each in coverage})
        begin = oldest_undelivered(shared, coverage)
        plan = Plan(
            tuple(former),
            source.position_at(self._stream, begin),
            tuple(each for each in coverage if each.end >= begin),
        )
        names = tuple(each.name for each in former)
        leased = isinstance(self._state, LeaseKeeper)
        publish(StreamsSucceeded(stream=self._stream, former=names, position=plan.position, leased=leased))
        return plan

    def _abilities(self, former: Sequence[Stream]) -> tuple[ScopeReader, SuccessionKeeper]:
        if isinstance(self._source, ScopeReader) and self._keeper is not None:
            return self._source, self._keeper
        raise no_record(self._stream, former)

    async def _history(self, stream: Stream) -> History:
        return await self._ask(stream, self._keeper.history, stream) if self._keeper else History()

    # --- closing a former stream

    async def _end(self, source: ScopeReader, keeper: SuccessionKeeper, former: Stream) -> None:
        """Close a stream, and put on record where it ended."""
        own = nullcontext(self)
        async with own if former == self._stream else self._lease(former) as lease:
            saved = await self._saved(former)
            kept = await self._ask(former, keeper.recorded_identity, former)
            known = saved.identity if saved else Identity()
            definition, _ = await recognize_now(cast("Source", source), former, saved=known, kept=kept)
            lease.check()
            committed = await self._ask(former, keeper.close_stream, former)
            saved = await self._saved(former)  # only now: a batch that was under way may have been saved meanwhile
            end = later(committed, saved)
            if end is None or end.cluster_time is None:
                raise no_position(self._stream, former)
            rest = await self._rest(former, definition, end, saved)
            lease.check()
            await self._ask(former, keeper.end_stream, former, definition, end, rest)

    def check(self) -> None:
        """See `Lease`: that of the stream itself is held anyway."""
        self._check()

    async def _saved(self, stream: Stream) -> Checkpoint | None:
        try:
            return await self._ask(stream, self._state.load_resume_token, stream)
        except CorruptCheckpointError as error:
            raise WatchChangedError(
                f"{self._stream} would continue {stream}, but its checkpoint is damaged: {error}", remedy=error.remedy
            ) from error

    # --- the rest

    async def _rest(
        self, former: Stream, definition: Definition, end: Position, saved: Checkpoint | None
    ) -> Collection[str]:
        """The hashes of the tokens of those events of the last cluster time that the stream had still to deliver.

        If it delivered none of them, there is nothing to read: those that happen later belong to the rest, too.
        """
        if not end.ordinal:
            return (EVERYTHING,)
        position = attrs.evolve(end, fingerprint=definition.fingerprint)  # the definition may differ
        delivered = saved.delivered if saved is not None and saved.position == end else end.of_event
        ways = [partial(self._source.read, former, after=position)] * 2  # a server may refuse a token once
        if isinstance(self._source, TimeReader) and delivered is not None:
            ways.append(partial(self._source.read_by_time, former, position=position, delivered=delivered))
        for number, way in enumerate(ways, 1):
            try:
                return await self._hashes(way(), cast("Timestamp", end.cluster_time))
            except PositionLostError as error:
                if isinstance(error, TokenRefusedError) and number < len(ways):
                    continue
                if self._settings.on_lost_position == "stop":
                    raise WatchChangedError(
                        f"{self._stream} would continue {former}, but what that had not delivered is lost: {error}",
                        remedy=error.remedy,
                    ) from error
                break
        reason = f"the history of {former} does not tell which events of its last cluster time were delivered"
        publish(RepeatsPossible(stream=self._stream, reason=reason))
        return (EVERYTHING,)

    async def _hashes(self, items: object, time: Timestamp) -> Collection[str]:
        """The hashes of the events of this cluster time that come, until a later time."""
        found = set[str]()
        async with aclosing(cast("AsyncGenerator[EventBatch | Heartbeat]", items)) as reading:
            async for item in reading:
                self._check()
                if isinstance(item, EventBatch):
                    marks = [item.token_and_time(index) for index in range(len(item))]
                    found |= {token_hash(token) for token, at in marks if at == time}
                    if any(at is not None and at > time for _, at in marks):
                        break
                elif _is_past(item, time):
                    break
        return found

    async def _ask(self, stream: Stream, question: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the destination or the state store about a stream; each attempt within `write_timeout`."""

        async def ask() -> T:
            self._check()
            who = f"the destination or the state store, asked about {stream},"
            progress = partial(self._destination.progress, stream)
            async with time_limit(self._settings.write_timeout, who, progress):
                return await question(*args, **kwargs)

        return await self._retry(ask)


async def former_streams(
    stream: Stream, watched: Collection[str], source: Source, state: StateStore, destination: Destination
) -> tuple[Stream, ...]:
    """Return the streams of the pipeline that are no longer watched and share namespaces with this one, in order.

    They are those that the state store lists, and those that the destination has on record.

    Raises:
        WatchChangedError: A recorded name means nothing to the source.
    """
    if not isinstance(source, ScopeReader):
        return ()
    recorded = set[Stream]()
    if isinstance(state, StreamLister):
        recorded |= set(await state.streams(stream.pipeline))
    if isinstance(destination, SuccessionKeeper):
        recorded |= set(await destination.recorded_streams(stream.pipeline))
    names = {each.name for each in recorded} - set(watched) - {stream.name}
    if not names:
        return ()
    try:
        sharing = frozenset[str]().union(*source.shared(stream.name, names))
    except ValueError as error:
        raise WatchChangedError(f"{stream} may continue a stream of another source: {error}") from None
    return tuple(Stream(stream.pipeline, name) for name in sorted(sharing))


def _is_past(item: Heartbeat, time: Timestamp) -> bool:
    """Whether no event of this time is still to come: it is not enough that there is none at present."""
    at = item.source_time if item.caught_up else None
    return max(item.end.cluster_time or time, at or time) > time


def oldest_undelivered(shared: Iterable[frozenset[str]], coverage: Sequence[Coverage]) -> Timestamp:
    """Return the oldest cluster time of which some namespace lacks events, among those that were watched at all.

    Args:
        shared: For each namespace, the scopes that include it.
        coverage: What these scopes have delivered; at least one of them.
    """
    points = list[Timestamp]()
    for scopes in shared:
        intervals = sorted((each.start, each.end) for each in coverage if each.scope in scopes)
        if not intervals:
            continue  # no stream watched it
        point = intervals[0][1]
        for start, end in intervals[1:]:
            point = max(point, end) if start <= point else point
        points.append(point)
    return min(points)


def later(committed: Position | None, saved: Checkpoint | None) -> Position | None:
    """Where a stream ended: the destination's end or the checkpoint, the later of the two.

    A gap on record counts as delivered, also if the stream did not resume behind it.
    """
    if saved is None:
        return committed
    position = saved.open_gap.resumed if saved.open_gap else saved.position
    return committed if committed is not None and committed.order > position.order else position


def named(streams: Iterable[Stream]) -> str:
    """The names of these streams, for a message."""
    return ", ".join(stream.name for stream in streams)


async def preview(
    stream: Stream, watched: Collection[str], source: Source, state: StateStore, destination: Destination
) -> Plan | None:
    """Return what the stream would continue if it were started now, None if no other stream. Changes nothing.

    Its position is a lower bound: streams that are not closed yet may still move.

    Raises:
        WatchChangedError: As `Succession.plan`.
        OtherDeploymentError: As `Succession.plan`.
    """
    keeper = destination if isinstance(destination, SuccessionKeeper) else None
    own = await keeper.history(stream) if keeper else History()
    if not own.closed and (own.known or await state.load_resume_token(stream) is not None):
        return None
    former = await former_streams(stream, watched, source, state, destination)
    if own.closed:
        former = (*former, stream)
    if not former:
        return None
    if not isinstance(source, ScopeReader) or keeper is None:
        raise no_record(stream, former)
    coverage = list[Coverage]()
    for each in former:
        history = await keeper.history(each)
        coverage += history.coverage
        if history.ended:
            continue
        saved = await state.load_resume_token(each)
        identity = saved.identity if saved else Identity()
        kept = await keeper.recorded_identity(each)
        recognize(each, source.definition(each).identity, saved=identity, kept=kept)
        end = later(await keeper.last_committed(each), saved)
        if end is None or end.cluster_time is None:
            raise no_position(stream, each)
        coverage.append(Coverage(each.name, end.cluster_time, end.cluster_time))
    begin = oldest_undelivered(source.shared(stream.name, {each.scope for each in coverage}), coverage)
    return Plan(former, source.position_at(stream, begin), ())


def no_record(stream: Stream, former: Iterable[Stream]) -> WatchChangedError:
    """The error for a destination that keeps no record of what was delivered."""
    return WatchChangedError(
        f"{stream} covers what {named(former)} watched, but this destination keeps no record of what a stream has "
        "delivered, so the new stream cannot continue where these ended"
    )


def no_position(stream: Stream, former: Stream) -> WatchChangedError:
    """The error for a former stream of which nothing tells when it ended."""
    return WatchChangedError(f"{stream} would continue {former}, but that has no position with a cluster time")
