"""The worker: reads one stream, writes its batches, and then saves its position."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import (
    BatchSplitter,
    Destination,
    PositionKeeper,
    Prefetching,
    Source,
    StateStore,
    Transform,
)
from rigatoni_core.api.errors import (
    AccessDenied,
    CorruptCheckpointError,
    DestinationError,
    LeaseLostError,
    PositionLostError,
    RigatoniError,
    ShutdownError,
    SourceError,
    StreamEndedError,
)
from rigatoni_core.api.events import Position, Stream, Timestamp
from rigatoni_core.api.notices import LeaseLost, WorkerFailing
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.assignment import Share
from rigatoni_core.engine.batcher import Batcher
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.delivery import Delivery
from rigatoni_core.engine.found_gaps import FoundGaps
from rigatoni_core.engine.leases import LeaseHolder
from rigatoni_core.engine.left_out import LeftOut
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_core.engine.recovery import Recovery
from rigatoni_core.engine.rejection_policy import RejectionPolicy
from rigatoni_core.engine.retry import Retry, delay_before
from rigatoni_core.engine.shutdown import Shutdown
from rigatoni_core.engine.snapshots.runner import NoSnapshots, SnapshotRunner
from rigatoni_core.engine.snapshots.taking import Snapshots
from rigatoni_core.engine.succession import Succession
from rigatoni_core.engine.transforming import Transforming


class Worker:
    """Runs one stream until it is stopped, has caught up (`once`), or fails permanently.

    Args:
        stream: The stream.
        source: Where its events come from.
        destination: Where its batches go.
        state: Keeps its checkpoint, and its lease if it can.
        settings: Limits, delays and policies.
        owner: The name of this instance in leases.
        share: The streams of this instance and of the others.
        transforms: What changes its events on their way to the destination, in order.
        dead_letters: Where rejected events go, if anywhere.
        redact: Takes secrets out of the text of an error.
        once: Whether to end as soon as the stream has caught up with the server's time at start.
        watched: The names of all streams of the pipeline.
        budget: Bounds the bytes that all workers hold together.
    """

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
        transforms: Sequence[Transform] = (),
        dead_letters: Destination | None = None,
        redact: Callable[[str], str] = str,
        once: bool = False,
        watched: Collection[str] = (),
        budget: MemoryBudget | None = None,
    ) -> None:
        self._budget = budget
        self.stream = stream
        self.source = source
        self.destination = destination
        self.settings = settings
        self.shutdown = Shutdown(stream)
        self.retry = Retry(stream, settings.retry, self.shutdown)
        self.lease = LeaseHolder(stream, state, owner, settings, self.retry, self.shutdown, share)
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
        self.snapshots = Snapshots(
            stream,
            source=source,
            destination=destination,
            settings=settings,
            checkpoint=self.checkpoint,
            retry=self.retry,
            shutdown=self.shutdown,
            check=self._check,
            transforms=transforms,
            dead_letters=dead_letters,
            redact=redact,
            budget=budget,
            once=once,
        )
        self.recovery = Recovery(
            stream,
            source=source,
            keeper=destination if isinstance(destination, PositionKeeper) else None,
            checkpoint=self.checkpoint,
            settings=settings,
            retry=self.retry,
            check=self.lease.check,
            progress=partial(destination.progress, stream),
            succession=Succession(
                stream,
                watched,
                source=source,
                destination=destination,
                state=state,
                settings=settings,
                retry=self.retry,
                lease=lambda former: LeaseHolder(
                    former, state, owner, settings, self.retry, self.shutdown, share, successor=stream
                ),
                check=self._check,
            ),
            transforms=transforms,
            before_first=self.snapshots.request_initial,
            before_gap=self.snapshots.request_after,
        )
        self.transforming = (
            Transforming(stream, transforms, destination, settings.write_timeout) if transforms else None
        )
        self.gaps = FoundGaps(stream, self.checkpoint, self.retry, self.snapshots.request_moved_in)
        self._share = share
        self._once = once
        self._target: Timestamp | None = None  # the server's time at start
        self._opened = self._wrote = False  # whether the source, and the destination, ever worked in this run
        self._failures = 0  # in a row, each after all retries
        self._batches: Batcher | None = None

    def stop(self) -> None:
        """End gracefully: finish the batch in flight and at most one of the events read, save, return."""
        self.shutdown.request()
        if self._batches is not None:
            self._batches.stop()

    async def run(self) -> None:
        """Run the stream until it ends. If an entry ends early, for any reason, the worker enters again.

        Raises:
            RigatoniError: The error that stops this worker permanently.
        """
        while not self.shutdown.requested:
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
                await self._wait_until_next_entry(error)

    async def _enter(self) -> bool:
        """Resume, then read, batch, write and save. False if the stream is left to another instance."""
        position = await self.recovery.position()
        left_out = self.recovery.left_out()
        done = False
        async with self._snapshot_runner() as snapshots, self._read_after(position, left_out, snapshots) as batches:
            async for item in batches:
                self._opened = True
                self.lease.check()  # an idle stream writes nothing, but must notice too
                await self.gaps.record()  # before the checkpoint passes them
                if isinstance(item, EventBatch) and len(left_out.kept(item)):
                    await snapshots.before_batch()
                    while end := await self.retry(self._delivery(left_out.kept(item))):  # write_batch, then flush
                        item = await batches.realign(item, end)
                    self._note_delivery()
                    await self.checkpoint.advance(item.end, len(left_out.kept(item)))
                else:
                    committed = isinstance(item, Heartbeat) and await self.recovery.note_idle(item)
                    # never before an undelivered event: see EventBuffer
                    await self.checkpoint.advance(item.end, 0, committed=committed)
                snapshots.reached(item)
                if (done := snapshots.finished and self._has_caught_up(item)) or self.lease.yielded:
                    break
        await self.checkpoint.close()
        if not (done or self.shutdown.requested or self.lease.yielded):
            raise StreamEndedError(f"{self.stream}: the source ended the stream, although a stream has no end")
        return done or self.shutdown.requested

    def _check(self) -> None:
        """Raise what should end a longer step: the wish to stop, or a lost lease."""
        self.shutdown.check()
        self.lease.check()

    def _snapshot_runner(self) -> SnapshotRunner | NoSnapshots:
        return self.snapshots.runner(self.recovery.definition)

    def _read_after(self, position: Position, left_out: LeftOut, snapshots: SnapshotRunner | NoSnapshots) -> Batcher:
        self.shutdown.check()
        self._batches = Batcher(
            self.stream,
            snapshots.watched(self.gaps.sifted(self.recovery.read(position))),
            self.settings,
            split=left_out.splitting(self.destination.split if isinstance(self.destination, BatchSplitter) else len),
            eager=self._once,
            budget=self._budget,
            prefetching=left_out.prefetching(
                self.transforming or (self.destination if isinstance(self.destination, Prefetching) else None)
            ),
        )
        return self._batches

    def _delivery(self, batch: EventBatch) -> Delivery:
        return Delivery(
            batch,
            destination=self.destination,
            rejections=self.rejections,
            settings=self.settings,
            check=self.lease.check,
            transforming=self.transforming,
        )

    def _note_delivery(self) -> None:
        """Reset the failure count: the destination works for this stream."""
        self._wrote, self._failures = True, 0
        self._share.delivered(self.stream)
        self.recovery.delivered()

    def _has_caught_up(self, item: EventBatch | Heartbeat) -> bool:
        """Return whether, with `once`, the stream has reached the server's time at this worker's start.

        With the snapshot mode `only`, whether there is nothing but the snapshot to do.
        """
        if self.settings.snapshot.mode == "only":
            return True
        if not self._once:
            return False
        self._target = self._target or item.source_time
        past = item.end.cluster_time and self._target and item.end.cluster_time > self._target
        return bool(past) or (isinstance(item, Heartbeat) and item.caught_up)

    async def _wait_until_next_entry(self, error: RigatoniError) -> None:
        """Report that the worker is failing, and wait. Re-raises errors that retrying cannot fix."""
        if not (error.transient or self._was_revoked(error)) or self._is_final(error):
            raise error
        self._share.failed(self.stream)
        self._failures += 1
        delay = delay_before(self._failures + 1, self.settings.retry, error)
        if not error.transient:
            delay = max(delay, self.settings.retry.max_retry_delay)
        publish(WorkerFailing(stream=self.stream, error=error, delay=delay))
        with suppress(ShutdownError):  # a stop is not a failure
            await self.shutdown.pause(delay)

    def _is_final(self, error: RigatoniError) -> bool:
        """Whether the policy is to stop now. Reading is retried by entering again; all else was retried before."""
        retried = not isinstance(error, SourceError) or self._failures >= self.settings.retry.max_retries
        return self.settings.failure_policy(once=self._once) == "stop" and (retried or not error.transient)

    def _was_revoked(self, error: RigatoniError) -> bool:
        """Whether a right or a password is missing with which this run has worked: it may come back."""
        worked = self._wrote if isinstance(error, DestinationError) else self._opened
        return worked and isinstance(error, AccessDenied)
