"""Reads one range of a snapshot, chunk by chunk, and makes each chunk durable before the next one is read.

A chunk that exists at the destination already is adopted: what was read is discarded, and reading continues at the end
that its record names. So the chunks of a range form one chain, even if several instances write them.
"""

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial

import attrs

from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import PositionKeeper
from rigatoni_core.api.errors import SourceError
from rigatoni_core.api.events import Definition, Position, Stream, Timestamp
from rigatoni_core.api.records import canonical
from rigatoni_core.api.snapshot_ledger import Requested
from rigatoni_core.api.snapshot_notices import ChunkWritten, SnapshotPaused
from rigatoni_core.api.snapshot_records import Place, PlanRecord
from rigatoni_core.api.snapshots import Chunk, Snapshotter, SnapshotTimeError
from rigatoni_core.engine.memory_budget import Reservation
from rigatoni_core.engine.retry import delay_before
from rigatoni_core.engine.snapshots.context import Deliver, SnapshotContext
from rigatoni_core.engine.snapshots.pace import Pace
from rigatoni_core.engine.snapshots.rows import row_batch
from rigatoni_core.engine.snapshots.stream_time import StreamTime
from rigatoni_core.engine.snapshots.turns import Turns

TIMES = 5
"""After this many refused times in a row, chunks become half as large."""


@attrs.define
class Totals:
    """What is durable of a snapshot, as far as this run knows."""

    places: dict[int, Place] = attrs.field(factory=dict)

    @property
    def rows(self) -> int:
        """The rows of all ranges."""
        return sum(place.rows for place in self.places.values())

    @property
    def nbytes(self) -> int:
        """Their size in bytes."""
        return sum(place.nbytes for place in self.places.values())

    @property
    def complete(self) -> int:
        """The ranges without another chunk."""
        return sum(place.complete for place in self.places.values())


class RangeReader:
    """Reads one range to its end; use it once.

    Args:
        context: What the worker lends.
        requested: The snapshot.
        record: Its plan.
        index: The range's place in the plan.
        turns: When chunks may be read and written.
        time: At which time.
        pace: How fast.
        totals: Where the range's progress is noted.
    """

    def __init__(
        self,
        context: SnapshotContext,
        requested: Requested,
        record: PlanRecord,
        index: int,
        *,
        turns: Turns,
        time: StreamTime,
        pace: Pace,
        totals: Totals,
    ) -> None:
        self._context = context
        self._requested = requested
        self._record = record
        self._index = index
        self._turns = turns
        self._time = time
        self._pace = pace
        self._totals = totals
        self._stream = context.stream.snapshot_range(requested.number, index)
        self._fingerprint = record.fingerprint
        self._anchor = record.anchor.cluster_time
        self._refused = 0  # times in a row
        self._not_at: Position | None = None  # the time refused last
        self._failures = 0  # in a row
        self._delay = 0.0  # before the next attempt

    async def run(self, may_read: Callable[[], bool]) -> Place:
        """Read the range to its end, and return what was read.

        Args:
            may_read: Whether this reader is among those that may read now.

        Raises:
            SourceError: The range can never be read.
            RigatoniError: A chunk cannot be written.
        """
        place = await self._begin()
        deliver = self._context.delivering()
        reservation = self._context.budget.reserve(self._turns.notify)
        try:
            while not place.complete:
                self._totals.places[self._index] = place
                await self._turns.until(lambda: may_read() and (reservation.has_room or not self._context.budget.held))
                place = await self._next(place, deliver, reservation)
        finally:
            reservation.release()
        self._totals.places[self._index] = place
        return place

    async def _begin(self) -> Place:
        """Return the place after the last chunk that exists, at the destination or by the ledger."""
        start = Place(number=self._requested.number, index=self._index, low=self._record.plan.ranges[self._index].low)
        position = self._context.ledger.position(self._index)
        keeper = self._context.destination
        if isinstance(keeper, PositionKeeper):
            committed = await self._context.ask(keeper.last_committed, self._stream)
            position = committed or start.position(self._fingerprint, self._anchor)
            position = await self._context.ask(keeper.begin, self._stream, self._definition(), position)
        return Place.read(self._stream, position, self._fingerprint) if position is not None else start

    def _definition(self) -> Definition:
        """The definition of the range: that of the stream, for this plan."""
        of = self._context.definition()
        fingerprint = hashlib.sha256(canonical({"of": of.fingerprint, "plan": self._fingerprint})).hexdigest()[:16]
        details = {**of.details, "snapshot": {"number": self._requested.number, "range": self._index}}
        return attrs.evolve(of, fingerprint=fingerprint, details=details)

    # --- one chunk

    async def _next(self, place: Place, deliver: Deliver, reservation: Reservation) -> Place:
        """Read and write the next chunk; return the place after it, or `place` if nothing could be read."""
        await self._pace.wait()
        if self._delay:
            await self._context.shutdown.pause(self._delay)
            self._delay = 0.0
        await self._turns.until(self._is_time)
        async with self._turns.turn():
            at = self._time.at
            if at is None or not self._is_time():
                return place
            chunk = await self._read(place, at)
            if chunk is None:
                return place
            reservation.hold(chunk.nbytes)
            if self._time.has_written(chunk.after):
                return await self._written(place, chunk, deliver, reservation)
        await self._turns.until(lambda: self._time.has_written(chunk.after))
        async with self._turns.turn():
            return await self._written(place, chunk, deliver, reservation)

    def _is_time(self) -> bool:
        """Whether the stream has reached a time to read at: not before the plan, nor before its anchor."""
        at = self._time.at
        if at is None or (self._not_at is not None and at.order == self._not_at.order):
            return False
        first = [time for time in (self._record.plan.at, self._anchor) if time is not None]
        return at.cluster_time is None or all(at.cluster_time >= time for time in first)

    async def _read(self, place: Place, at: Position) -> Chunk | None:
        """Read a chunk at this position; None if another one is needed, or if reading was abandoned."""
        source = self._context.source
        assert isinstance(source, Snapshotter)
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            chunk = await self._turns.reading(
                source.read_chunk(
                    self._context.stream,
                    self._requested.request,
                    self._record.plan,
                    self._index,
                    name=f"{self._context.stream.name}#{self._requested.number}",
                    low=place.low,
                    at=at,
                    limit=self._pace.chunk,
                )
            )
        except SnapshotTimeError as error:
            self._refuse(at, error)
            return None
        except SourceError as error:
            self._fail(error)
            return None
        self._refused, self._failures, self._not_at = 0, 0, None
        if chunk is None:
            self._pace.shrink()
            return None
        self._pace.read(chunk.nbytes)
        self._pace.succeeded(chunk.nbytes, clock() - started)
        return chunk

    def _refuse(self, at: Position, error: SnapshotTimeError) -> None:
        """Note a time that the server refused: the next attempt waits until the stream has moved."""
        self._refused += 1
        if self._refused % TIMES == 0:
            self._pace.shrink()
            publish(SnapshotPaused(stream=self._context.stream, number=self._requested.number, reason=str(error)))
        self._not_at = at

    def _fail(self, error: SourceError) -> None:
        """Report an error that may pass, and note how long to wait. Raises any other one."""
        self._failures += 1
        retries = self._context.settings.retry
        if not error.transient or (not self._context.patient and self._failures > retries.max_retries):
            raise error
        self._pace.failed()
        publish(SnapshotPaused(stream=self._context.stream, number=self._requested.number, reason=str(error)))
        self._delay = delay_before(self._failures + 1, retries, error)

    async def _written(self, place: Place, chunk: Chunk, deliver: Deliver, reservation: Reservation) -> Place:
        """Make the chunk durable, or adopt the one that exists; return the place after it."""
        after = place.after(chunk, filtered=self._context.filtered)
        batch = row_batch(
            self._stream,
            place,
            after,
            chunk,
            self._context.source.decoder,
            fingerprint=self._fingerprint,
            anchor=self._anchor,
        )
        notice = partial(self._notice, after, chunk.at)
        end = await self._context.retry(deliver(batch, notice))
        reservation.hold(0)
        if end is not None:
            after = Place.read(self._stream, end, self._fingerprint)
            notice = partial(self._notice, after, after.latest)
            publish(notice(events=after.rows - place.rows, bytes=after.nbytes - place.nbytes, found=True))
        self._context.ledger.reached(self._index, batch.end if end is None else end)
        return after

    def _notice(
        self,
        after: Place,
        at: Timestamp | None,
        *,
        events: int,
        bytes: int,  # noqa: A002 (as notices name it)
        found: bool,
        seconds: float = 0.0,
        stream: Stream | None = None,
        end: Position | None = None,
    ) -> ChunkWritten:
        self._totals.places[self._index] = after
        return ChunkWritten(
            stream=self._context.stream,
            number=self._requested.number,
            events=events,
            bytes=bytes,
            at=at,
            seconds=seconds,
            found=found,
            total_rows=self._totals.rows,
            total_bytes=self._totals.nbytes,
            complete_ranges=self._totals.complete,
        )
