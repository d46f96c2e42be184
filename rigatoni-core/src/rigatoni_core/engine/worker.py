"""The worker: reads one stream, writes its batches, and only then saves how far it came.

The only room that calls a destination's `write_batch`, beside `sidestream`, which writes single events.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import BatchSplitter, Destination, PositionKeeper, Prefetching, Source, StateStore
from rigatoni_core.api.errors import (
    CorruptCheckpointError,
    LeaseLostError,
    PositionLostError,
    RejectedEventsError,
    RigatoniError,
    ShutdownError,
    SourceError,
)
from rigatoni_core.api.events import Position, Stream, Timestamp
from rigatoni_core.api.notices import (
    BatchRead,
    BatchRealigned,
    BatchWritten,
    LeaseLost,
    WorkerFailing,
)
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.assignment import Share
from rigatoni_core.engine.batcher import Batcher
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.found_gaps import FoundGaps
from rigatoni_core.engine.leases import LeaseHolder
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_core.engine.recovery import Recovery
from rigatoni_core.engine.rejection_policy import RejectionPolicy
from rigatoni_core.engine.retry import Retry, time_limit


class Worker:
    """Runs one stream until it is stopped, has caught up (`once`), or can not go on."""

    def __init__(
        self,
        stream: Stream,
        *,
        source: Source,
        destination: Destination,
        state: StateStore,
        settings: Settings,
        owner: str,
        share: Share,
        dead_letters: Destination | None = None,
        redact: Callable[[str], str] = str,
        once: bool = False,
        budget: MemoryBudget | None = None,
    ) -> None:
        self._budget = budget
        self.stream = stream
        self.source = source
        self.destination = destination
        self.settings = settings
        self.retry = Retry(stream, settings.retry)
        self.lease = LeaseHolder(stream, state, owner, settings, self.retry, share)
        self.checkpoint = CheckpointKeeper(
            stream, state, settings, lambda: self.lease.fencing_token, lambda: self.recovery.identity
        )
        self.rejections = RejectionPolicy(
            stream,
            settings,
            dead_letters,
            plugin=type(destination).__module__.partition(".")[0],
            check=self.lease.check,
            redact=redact,
        )
        self._share = share
        self.recovery = Recovery(
            stream,
            source=source,
            keeper=destination if isinstance(destination, PositionKeeper) else None,
            checkpoint=self.checkpoint,
            settings=settings,
            retry=self.retry,
            check=self.lease.check,
        )
        self.gaps = FoundGaps(stream, self.checkpoint, self.retry)
        self._once = once
        self._target: Timestamp | None = None  # the server's time at start
        self._attempt = 0  # to write the batch in work
        self._batches: Batcher | None = None

    def stop(self) -> None:
        """End gracefully: finish the batch in flight and at most one of what was gathered, save, return."""
        self.retry.stop()
        if self._batches is not None:
            self._batches.stop()

    async def run(self) -> None:
        """The stream until it ends as wished; whatever happens, there is one way back: enter again.

        Raises the `RigatoniError` that stops this worker for good, or whatever bug there is.
        """
        while not self.retry.stopping:
            try:
                async with self.lease:
                    try:
                        done = await self._enter()
                    except (PositionLostError, CorruptCheckpointError) as error:
                        await self.recovery.abandon_position(error)
                        continue
                if done:
                    return
            except ShutdownError:
                return
            except LeaseLostError as error:
                publish(LeaseLost(stream=self.stream, error=error))
            except RigatoniError as error:
                await self._wait_for_better_times(error)

    async def _enter(self) -> bool:
        """From the checkpoint on: read, batch, write, save. False where the stream is left to another instance."""
        position = await self.recovery.position()
        async with Batcher(
            self.gaps.sifted(self.recovery.read(position)),
            self.settings,
            cut=self._cut,
            eager=self._once,
            budget=self._budget,
            preparer=self.destination if isinstance(self.destination, Prefetching) else None,
        ) as batches:
            self._batches, done = batches, False
            if self.retry.stopping:
                batches.stop()
            async for item in batches:
                self._take_up(item, batches)
                self.lease.check()  # an idle stream writes nothing, and must notice all the same
                await self.gaps.record()  # before the checkpoint passes them
                if isinstance(item, EventBatch):
                    item = await self._delivered(item, batches)
                    await self.checkpoint.advance(item.end, item.read)
                else:
                    await self.checkpoint.advance(item.end, 0)
                done = self._is_caught_up(item)
                if done or self.lease.yielded:
                    break
        await self.checkpoint.close()
        return done or self.retry.stopping or not self.lease.yielded

    async def _delivered(self, batch: EventBatch, batches: Batcher) -> EventBatch:
        """The batch, durable; with another end, if an earlier run had fixed one."""
        while fixed := await self.retry(self._deliver, batch):
            batch = await batches.realign(batch, fixed)
            publish(BatchRealigned(stream=self.stream, events=len(batch)))
        return batch

    async def _deliver(self, batch: EventBatch) -> Position | None:
        """One attempt to make the batch durable; a position where the destination holds another end for it.

        Events that the destination rejects are settled first (they become dead letters), then the rest is written.
        """
        self._attempt += 1
        started, found = asyncio.get_running_loop().time(), self.destination.found_count(self.stream)
        rest, rejected = batch, dict[int, Exception]()
        while True:
            try:
                fixed = await self._write(rest)
                break
            except RejectedEventsError as error:
                written = [index for index in range(len(batch)) if index not in rejected]
                rejected |= {written[index]: reason for index, reason in error.events.items()}
                await self.rejections.settle(batch, rejected, self._attempt)
                rest = batch.without(rejected)
        if fixed is not None:
            self._attempt = 0
            return fixed
        self.rejections.delivered(batch, rejected)
        self.retry.progress()
        self._share.failing = False
        self.recovery.delivered()
        self._attempt = 0
        seconds = asyncio.get_running_loop().time() - started
        publish(
            BatchWritten(
                stream=self.stream,
                events=len(rest),
                bytes=rest.nbytes,
                seconds=seconds,
                found=self.destination.found_count(self.stream) > found,
            )
        )
        return None

    async def _write(self, batch: EventBatch) -> Position | None:
        """Write and flush what the destination may take; a position where it holds another end for it."""
        self.lease.check()
        async with time_limit(self.settings.write_timeout, f"the destination, given a batch of {self.stream},"):
            fixed = await self.destination.write_batch(batch)
            if fixed is None:
                await self.destination.flush()
            return fixed

    async def _wait_for_better_times(self, error: RigatoniError) -> None:
        """The worker is failing: say so, wait, and enter again; raises what waiting can not mend."""
        if not error.transient or (self.settings.failure_policy(once=self._once) == "stop" and self._is_final(error)):
            raise error
        self._share.failing = True
        delay = self.retry.next_round(error)
        publish(WorkerFailing(stream=self.stream, error=error, delay=delay))
        with suppress(ShutdownError):  # a wish to stop is no failure
            await self.retry.pause(delay)

    def _is_final(self, error: RigatoniError) -> bool:
        """Whether the retries are used up. Reading is retried here, by entering again; all else was retried before."""
        return not isinstance(error, SourceError) or self.retry.rounds >= self.settings.retry.max_retries

    def _cut(self, batch: EventBatch) -> int:
        return self.destination.cut(batch) if isinstance(self.destination, BatchSplitter) else len(batch)

    def _take_up(self, item: EventBatch | Heartbeat, batches: Batcher) -> None:
        publish(
            BatchRead(
                stream=self.stream,
                events=len(item) if isinstance(item, EventBatch) else 0,
                bytes=item.nbytes if isinstance(item, EventBatch) else 0,
                end=item.end,
                source_time=item.source_time,
                caught_up=isinstance(item, Heartbeat) and item.caught_up,
                waited=batches.waited,
                buffered_bytes=batches.buffered_bytes,
            )
        )
        if self._target is None:
            self._target = item.source_time

    def _is_caught_up(self, item: EventBatch | Heartbeat) -> bool:
        """With `once`: whether the stream has come to where the server was when this worker started."""
        if not self._once:
            return False
        past = item.end.cluster_time and self._target and item.end.cluster_time > self._target
        return bool(past) or (isinstance(item, Heartbeat) and item.caught_up)
