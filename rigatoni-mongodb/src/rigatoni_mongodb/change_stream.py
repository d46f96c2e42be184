"""Reads one change stream continuously: opens it, turns replies into batches, and resumes after errors and invalidates.

Resuming follows the change-streams specification ("Resume Process"), since raw cursors do not resume by themselves.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress

import attrs
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.errors import DamagedEventError, RigatoniError
from rigatoni_core.api.events import Definition, Position, Stream, Timestamp
from rigatoni_core.api.notices import DuplicatesDropped, Invalidated, RepeatsPossible, Resumed
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.cursor import Reply, ReplyCursor
from rigatoni_mongodb.decoding import ChangeEventDecoder, token_text
from rigatoni_mongodb.error_codes import LOST, is_resumable
from rigatoni_mongodb.errors import MongoDBPositionLostError
from rigatoni_mongodb.refused_events import refuses_an_event
from rigatoni_mongodb.resume import Start, after_position, at_time, high_water_mark, time_reached, time_token
from rigatoni_mongodb.split_events import Joiner
from rigatoni_mongodb.swaps import SwapDetector
from rigatoni_mongodb.twins import without_twins
from rigatoni_mongodb.watchdog import Watchdog

DECODER = ChangeEventDecoder()

LOOK_INTERVAL = 600.0
"""Seconds between listings of the deployment's collections, which identify it at the next start."""

_REFUSALS = (9, 2, 72, 40415)
"""Codes with which servers without `startAfter` refuse it."""

_INVALIDATED = (
    "the watched collection or database was dropped or renamed; the stream stays open, and delivers again once one of "
    "that name exists. To follow a renamed one, add its new name to watch"
)


@attrs.define
class Reader:
    """One pass over a stream. `open` opens a cursor, `now` returns the deployment's current operation time.

    A server refuses a whole reply because of one event, such as one of more than 16 MB. The events before it are then
    read in replies of one event, and the error is raised once they have been delivered.
    """

    stream: Stream
    definition: Definition
    open: Callable[[Start], Awaitable[ReplyCursor]]
    now: Callable[[], Awaitable[Timestamp | None]]
    reply_events: int
    translate: Callable[[PyMongoError], RigatoniError]
    watchdog: Watchdog
    swaps: SwapDetector
    drops_twins: bool = False
    start_at: Timestamp | None = None
    joiner: Joiner | None = None
    look: Callable[[], Awaitable[None]] | None = None
    position: Position = attrs.field(init=False)
    _cursor: ReplyCursor | None = attrs.field(default=None, init=False)
    _dropping: Position | None = attrs.field(default=None, init=False)
    _by_time: Position | None = attrs.field(default=None, init=False)
    _held: list[EventBatch] = attrs.field(factory=list, init=False)
    _target: Timestamp | None = attrs.field(default=None, init=False)
    _singly: int = attrs.field(default=0, init=False)  # number of events still to read one at a time
    _look_at: float = attrs.field(default=0.0, init=False)  # on the event loop's clock
    _interrupted: tuple[str, float] | None = attrs.field(default=None, init=False)  # why and when, on the same clock

    async def read(self, after: Position | None) -> AsyncGenerator[EventBatch | Heartbeat]:
        """Yield the stream's batches; see `Source.read`."""
        resumed_at: Position | None = None
        try:
            last: EventBatch | Heartbeat = await self._begin(after)
            yield last
            while True:
                try:
                    if self._cursor is None:
                        self._cursor = await self._open_after(self.position)
                    events = 1 if self._singly else self.reply_events
                    reply = await self.watchdog(self._cursor.next_reply(events))
                    batches = self._batches(reply)
                except PyMongoError as error:
                    await self._close()
                    if self._falls_back_to_token(error):
                        continue
                    if not self._singly and refuses_an_event(error):
                        self._singly = self.reply_events
                        self._interrupt(error)
                        continue
                    if not is_resumable(error) or self.position == resumed_at:
                        raise self.translate(error) from error
                    resumed_at = self.position
                    self._interrupt(error)
                    continue
                self._publish_resumed()
                self._singly = max(0, self._singly - len(reply.documents))
                if not reply.alive or asyncio.get_running_loop().time() >= self._look_at:
                    await self._look()
                if gaps := self.swaps.found(reply.documents):
                    yield Heartbeat(last.end, reply.operation_time, gaps=gaps)
                self.swaps.reported()
                for last in batches:
                    yield last
                if not reply.alive:
                    self.swaps.look_soon()
                    await self._close()
                    if self.position == resumed_at:
                        raise MongoDBPositionLostError(f"{self.stream}: the server keeps ending the stream there")
                    resumed_at = self.position
                    publish(Invalidated(stream=self.stream, reason=_INVALIDATED))
        finally:
            await self.swaps.close()
            await self._close()

    def _interrupt(self, error: PyMongoError) -> None:
        """Record why and since when reading is interrupted."""
        if self._interrupted is None:
            self._interrupted = str(self.translate(error)), asyncio.get_running_loop().time()

    def _publish_resumed(self) -> None:
        """Publish that reading has resumed, if it was interrupted."""
        if self._interrupted is not None:
            (reason, since), self._interrupted = self._interrupted, None
            publish(Resumed(stream=self.stream, reason=reason, seconds=asyncio.get_running_loop().time() - since))

    async def _begin(self, after: Position | None) -> Heartbeat:
        """Open the stream; return the anchor, a heartbeat at the start position."""
        try:
            if after is None:
                anchor = self.position = await self._anchor()
            else:
                anchor = after
                await self._resume(after)
                self.swaps.resume(after)
            await self.swaps.first_scan()
        except PyMongoError as error:
            raise self.translate(error) from error
        assert self._cursor is not None
        self._target = self._cursor.opening.operation_time
        return Heartbeat(anchor, self._cursor.opening.operation_time)

    async def _anchor(self) -> Position:
        """Open a fresh stream; return the position of the opening reply."""
        known = None if self.start_at else await self.now()
        start = at_time(self.start_at) if self.start_at else Start()
        self._cursor = await self.open(start)
        opening = self._cursor.opening
        bound = known.next() if known else self.start_at
        if self.start_at and opening.operation_time:  # an idle deployment's may precede start_at
            bound = min(self.start_at, opening.operation_time.next())
        token = token_text(opening.token) if opening.token else time_token(self.start_at or bound or Timestamp(0, 1))
        position = Position(token, self.definition.fingerprint, bound, 0)
        return high_water_mark(position, opening.token, token, opening.operation_time) if opening.token else position

    async def _resume(self, after: Position) -> None:
        """Open the stream after a saved position; under another fingerprint by time, not by token."""
        self.position = attrs.evolve(after, fingerprint=self.definition.fingerprint)
        if after.fingerprint == self.definition.fingerprint or after.cluster_time is None:
            self._cursor = await self._open_after(after)
        else:
            self.position = attrs.evolve(self.position, ordinal=0)
            self._dropping = after if after.ordinal else None
            self._by_time = after
            try:
                self._cursor = await self.open(at_time(after.cluster_time))
            except OperationFailure as error:
                if not self._falls_back_to_token(error):
                    raise
                self._cursor = await self._open_after(after)
        opening = self._cursor.opening
        known = max((time for time in (opening.operation_time, opening.cluster_time) if time), default=None)
        if known and after.cluster_time and after.cluster_time > known.next():
            raise MongoDBPositionLostError(
                f"{self.stream}: the saved position (cluster time {after.cluster_time}) is later than the deployment's "
                f"newest time ({known}): it was restored from a backup, or is another deployment"
            )

    def _falls_back_to_token(self, error: PyMongoError) -> bool:
        """Switch a changed stream from its start time, which has left the oplog, to the token, which may be newer."""
        if self._by_time is None or not isinstance(error, OperationFailure) or error.code not in LOST:
            return False
        self.position = attrs.evolve(self.position, ordinal=self._by_time.ordinal)
        self._by_time = self._dropping = None
        return True

    async def _open_after(self, position: Position) -> ReplyCursor:
        """Open by token; with `resumeAfter` if the server does not support `startAfter`."""
        start = after_position(position, str(self.stream))
        try:
            return await self.open(start)
        except OperationFailure as error:
            if start.option != "startAfter" or error.code not in _REFUSALS:
                raise
            return await self.open(after_position(position, str(self.stream), option="resumeAfter"))

    def _batches(self, reply: Reply) -> Sequence[EventBatch | Heartbeat]:
        """Return the reply's events as batches, then a heartbeat if the reply advances the position.

        Raises AutoReconnect for a damaged reply, so that it is requested again.
        """
        batches: list[EventBatch] = []
        self._by_time = None
        try:
            documents = self.joiner.joined(reply.documents) if self.joiner else reply.documents
            if self.drops_twins:
                documents = self._distinct(documents)
            if len(documents):
                buffer, offsets, time = documents.buffer, documents.offsets, reply.operation_time
                batch = EventBatch.from_reply(self.position, self.stream, buffer, offsets, DECODER, source_time=time)
                self.position = batch.end
                batches = [batch]
        except (ValueError, DamagedEventError) as error:
            raise AutoReconnect(f"a damaged reply: {error}") from None
        if self._dropping is not None:
            batches = self._without_repeats(batches, caught_up=not batches)
        if self._dropping is not None or (self.joiner and self.joiner.waits):
            return batches
        token = token_text(reply.token) if reply.token else self.position.resume_token
        if token != self.position.resume_token and reply.token:
            self.position = high_water_mark(self.position, reply.token, token, reply.operation_time)
        elif len(reply.documents):
            return batches
        caught_up = reply.alive and not len(reply.documents) and self._has_passed_target(reply)
        return [*batches, Heartbeat(self.position, reply.operation_time, caught_up)]

    def _distinct(self, documents: Segment) -> Segment:
        """Return the events without those that the deployment reports twice."""
        distinct = without_twins(documents, self.position.resume_token)
        if dropped := len(documents) - len(distinct):
            reason = "two shards reported one update while a chunk moved between them (MongoDB before 5.3)"
            publish(DuplicatesDropped(stream=self.stream, events=dropped, reason=reason))
        return distinct

    def _without_repeats(self, batches: list[EventBatch], *, caught_up: bool) -> list[EventBatch]:
        """Drop events delivered under the old definition: those of one cluster time, up to the saved token."""
        dropping = self._dropping
        assert dropping is not None
        self._held += batches
        if not self._held:
            if caught_up:
                self._dropping = None
            return []
        held = EventBatch.join(self._held)
        for index in range(len(held)):
            token, time = held.token_and_time(index)
            if token == dropping.resume_token:
                self._dropping, self._held = None, []
                return [held[index + 1 :]] if index + 1 < len(held) else []
            if time != dropping.cluster_time:
                caught_up = True
                break
        if not caught_up:
            return []  # all events so far have that cluster time: the saved token may still follow
        if held.token_and_time(0)[1] == dropping.cluster_time:
            reason = "the stream's definition has changed and excludes the event of the saved position"
            publish(RepeatsPossible(stream=self.stream, reason=reason))
        self._dropping, self._held = None, []
        return [held]

    def _has_passed_target(self, reply: Reply) -> bool:
        """Return whether an empty reply proves that all events up to the server's time at opening were read."""
        reached = time_reached(reply)
        if reached is None or self._target is None:
            return True  # an opaque token: the empty reply is the only evidence
        return reached >= self._target

    async def _look(self) -> None:
        """List the deployment's current collections, which identify it."""
        self._look_at = asyncio.get_running_loop().time() + LOOK_INTERVAL
        if self.look is not None:
            with suppress(PyMongoError):  # needed only to identify the deployment at the next start
                await self.look()

    async def _close(self) -> None:
        cursor, self._cursor = self._cursor, None
        if self.joiner:
            self.joiner.forget()
        if cursor is not None:
            with suppress(PyMongoError):  # the server drops a cursor that cannot be closed
                await cursor.close()
