"""Runs the snapshots of one stream, one after another, next to the stream's own batches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import PositionKeeper
from rigatoni_core.api.errors import ConfigurationError, ShutdownError
from rigatoni_core.api.events import Gap
from rigatoni_core.api.snapshot_ledger import Requested
from rigatoni_core.api.snapshot_notices import (
    SnapshotDone,
    SnapshotEnded,
    SnapshotNotRequested,
    SnapshotPaused,
    SnapshotPlanned,
)
from rigatoni_core.api.snapshot_records import EndRecord, Place, PlanRecord
from rigatoni_core.api.snapshots import SnapshotPlan, Snapshotter
from rigatoni_core.engine.snapshots.context import SnapshotContext
from rigatoni_core.engine.snapshots.pace import LEAST, Pace
from rigatoni_core.engine.snapshots.range_reader import RangeReader, Totals
from rigatoni_core.engine.snapshots.stream_time import StreamTime
from rigatoni_core.engine.snapshots.turns import Turns

SHARE = 4
"""A chunk is not made smaller than this part of a batch for the sake of reading several ranges at a time."""


class NoSnapshots:
    """Stands in for a `SnapshotRunner` of a pipeline without snapshots."""

    finished = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def watched(self, items: AsyncIterator[EventBatch | Heartbeat]) -> AsyncIterator[EventBatch | Heartbeat]:
        """Return the items."""
        return items

    async def before_batch(self) -> None:
        """Do nothing."""

    def reached(self, item: EventBatch | Heartbeat) -> None:
        """Do nothing."""


class SnapshotRunner:
    """One entry of a worker: reads what is requested while the worker delivers the stream. Use it inside `async with`.

    Args:
        context: What the worker lends.
        gaps: The losses on record of the stream.
    """

    def __init__(self, context: SnapshotContext, gaps: tuple[Gap, ...]) -> None:
        self._context = context
        self._gaps = gaps
        self._turns = Turns()
        self._time = StreamTime(context.settings.snapshot.pause_when_lag, self._turns.notify)
        self._reported = ""
        self._number = 0  # of the snapshot that is read now
        self._idle = False  # nothing is requested
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._run())
        self._work.add_done_callback(lambda _: self._turns.notify())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._work is not None
        if kind is None:  # a graceful end: what is being written is finished
            await self._turns.close(patience=0.0)
        self._work.cancel()
        await asyncio.wait([self._work])
        if not self._work.cancelled():
            self._work.exception()  # raised by `check`, or no longer relevant

    # --- what the worker calls

    def watched(self, items: AsyncIterator[EventBatch | Heartbeat]) -> AsyncIterator[EventBatch | Heartbeat]:
        """Yield what the source yields; notes how far the stream is read."""
        return self._time.watched(items)

    async def before_batch(self) -> None:
        """Wait for the chunks that are read and written now; none begins before `reached`.

        Raises:
            RigatoniError: The snapshot failed.
        """
        await self._turns.close()
        self.check()

    def reached(self, item: EventBatch | Heartbeat) -> None:
        """Note that everything up to the end of this item is durable, and let chunks be read.

        Raises:
            RigatoniError: The snapshot failed.
        """
        self.check()
        self._time.reached(item)
        self._turns.open()
        self._report(self._time.obstacle)

    def check(self) -> None:
        """Raise the error of the snapshot, if it failed."""
        if self._work is not None and self._work.done() and not self._work.cancelled():
            self._work.result()

    @property
    def finished(self) -> bool:
        """Whether no snapshot is requested."""
        return self._idle or (self._work is not None and self._work.done())

    @property
    def _interval(self) -> float:
        """Seconds between two looks at the records."""
        return max(self._context.settings.idle_advance_interval, 0.1)

    # --- the snapshots

    async def _run(self) -> None:
        with suppress(ShutdownError):
            while True:
                requested = await self._context.ledger.current()
                if requested is None and not self._number and self._context.settings.snapshot.mode == "only":
                    publish(SnapshotNotRequested(stream=self._context.stream))
                self._idle = requested is None
                if requested is not None:
                    await self._carry_out_or_end(requested)
                elif self._context.ledger.polls:
                    await self._context.shutdown.pause(self._interval)
                else:
                    return

    async def _carry_out_or_end(self, requested: Requested) -> None:
        """Read one snapshot to its end. One that can never be read fails, and the stream continues."""
        try:
            await self._carry_out(requested)
        except ConfigurationError as error:
            if not requested.request.id:  # the configuration asks for it, so it must be corrected
                raise
            await self._end(requested, EndRecord(state="failed", reason=str(error)))

    async def _carry_out(self, requested: Requested) -> None:
        """Read one snapshot to its end."""
        started = asyncio.get_running_loop().time()
        self._number = requested.number
        record = await self._planned(requested)
        if lost := self._lost_after(record):
            await self._end(requested, EndRecord(state="ended", reason=f"changes were lost after it began: {lost}"))
            return
        places = await self._read_unless_ended(requested, record)
        if places is None:
            ended = await self._context.ledger.ended(requested.number)
            assert ended is not None
            await self._end(requested, ended)
            return
        end = EndRecord(
            state="done",
            anchor=record.anchor.cluster_time,
            latest=max((place.latest for place in places if place.latest), default=record.anchor.cluster_time),
            rows=sum(place.rows for place in places),
            ranges=len(places),
            filtered=any(place.filtered for place in places),
            collections=tuple(dict.fromkeys(str(each.namespace) for each in record.plan.ranges)),
        )
        await self._end(requested, end)
        if end.state == "done":
            seconds = asyncio.get_running_loop().time() - started
            publish(SnapshotDone(stream=self._context.stream, number=requested.number, rows=end.rows, seconds=seconds))

    async def _planned(self, requested: Requested) -> PlanRecord:
        """Return the plan in force, which is made now if there is none. The stream's position is on record before."""
        keeper, stream = self._context.destination, self._context.stream
        if isinstance(keeper, PositionKeeper):
            self._time.floor = await self._context.ask(keeper.last_committed, stream)
        self._time.reads_at_times = False  # an idle stream whose tokens hide their time has an old one
        await self._turns.until(lambda: self._time.at is not None)
        record = await self._context.ledger.plan(requested.number)
        resumed = record is not None
        if record is None:
            source, position = self._context.source, self._time.written
            assert isinstance(source, Snapshotter)
            assert position is not None
            plan = await self._context.retry(self._plan, source, requested)
            record = await self._context.ledger.plan(requested.number, PlanRecord(plan=plan, anchor=position))
            assert record is not None
        self._time.reads_at_times = record.plan.at is not None
        total = sum(each.nbytes for each in record.plan.ranges)
        ranges = len(record.plan.ranges)
        publish(SnapshotPlanned(stream=stream, number=requested.number, ranges=ranges, bytes=total, resumed=resumed))
        return record

    async def _plan(self, source: Snapshotter, requested: Requested) -> SnapshotPlan:
        concurrency = self._context.settings.snapshot.concurrency
        return await source.plan_snapshot(self._context.stream, requested.request, ranges=concurrency)

    async def _read_unless_ended(self, requested: Requested, record: PlanRecord) -> list[Place] | None:
        """Read every range; None if the snapshot was cancelled meanwhile."""
        if not self._context.ledger.polls:
            return await self._read(requested, record)
        self._time.paused = await self._context.ledger.is_paused(requested.number)
        reading = asyncio.create_task(self._read(requested, record))
        watching = asyncio.create_task(self._watch(requested.number))
        try:
            await asyncio.wait([reading, watching], return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else watching.result()
        finally:
            for task in (reading, watching):
                task.cancel()
            await asyncio.wait([reading, watching])
            self._time.paused = False

    async def _watch(self, number: int) -> None:
        """Look for commands; return once the snapshot has ended."""
        ledger = self._context.ledger
        while await ledger.ended(number) is None:
            self._time.paused = await ledger.is_paused(number)
            self._turns.notify()
            self._report(self._time.obstacle)
            await self._context.shutdown.pause(self._interval)

    async def _read(self, requested: Requested, record: PlanRecord) -> list[Place]:
        """Read every range, several at a time. Raises the first error, once the others have stopped."""
        pace, totals = self._pace(), Totals()
        waiting = list(reversed(range(len(record.plan.ranges))))
        places, active = list[Place](), list[int]()  # readers at work, of which the first ones may read

        async def read_some(number: int) -> None:
            active.append(number)
            while waiting:
                reader = RangeReader(
                    self._context,
                    requested,
                    record,
                    waiting.pop(),
                    turns=self._turns,
                    time=self._time,
                    pace=pace,
                    totals=totals,
                )
                places.append(await reader.run(lambda: active.index(number) < pace.width))
            active.remove(number)
            self._turns.notify()

        try:
            async with asyncio.TaskGroup() as readers:
                for number in range(min(self._concurrency, len(waiting))):
                    readers.create_task(read_some(number))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return places

    @property
    def _concurrency(self) -> int:
        return self._context.settings.snapshot.concurrency

    def _pace(self) -> Pace:
        """Chunks that fit, all together, into half of what a stream may hold."""
        settings = self._context.settings
        room = int(settings.max_buffered_bytes) // 2
        chunk = max(min(int(settings.batch_bytes), room) // SHARE, room // self._concurrency, LEAST)
        rate = settings.snapshot.max_rate
        chunk = min(chunk, int(settings.batch_bytes), chunk if rate is None else max(int(rate), LEAST))
        width = max(1, min(self._concurrency, room // chunk))
        return Pace(width, chunk, int(rate) if rate is not None else None, asyncio.get_running_loop().time)

    def _lost_after(self, record: PlanRecord) -> str:
        """Why rows of this plan are no base for later changes; empty if they are."""
        lost = [gap for gap in self._gaps if gap.namespace is None and gap.resumed.order > record.anchor.order]
        return lost[0].cause if lost else ""

    async def _end(self, requested: Requested, made: EndRecord) -> None:
        """Record how the snapshot ended."""
        stream, number = self._context.stream, requested.number
        record = await self._context.ledger.end(number, made)
        if record.state != "done":
            publish(SnapshotEnded(stream=stream, number=number, reason=record.reason))

    def _report(self, obstacle: str) -> None:
        """Report once why nothing is read."""
        kind = obstacle.partition(" has ")[0]
        if kind and kind != self._reported and self._number and not self.finished:
            publish(SnapshotPaused(stream=self._context.stream, number=self._number, reason=obstacle))
        self._reported = kind
