"""The transforms of one stream: applied on a thread between batch and destination, ahead of time if possible."""

import asyncio
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import pairwise

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.bus import publish
from rigatoni_core.api.components import component_name
from rigatoni_core.api.contracts import Destination, Prefetching, Reporter, StreamChecker, Transform
from rigatoni_core.api.errors import BrokenPluginError, ConfigurationError, PipelineTimeoutError, RejectedEventsError
from rigatoni_core.api.events import Definition, Stream
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_core.api.protection import fingerprint, transform_record
from rigatoni_core.api.records import canonical
from rigatoni_core.engine.time_limit import time_limit


@attrs.frozen
class Rejections:
    """What one transform rejected: the reasons by index in the batch as it was read, and the transform's package."""

    plugin: str
    events: Mapping[int, Exception]


@attrs.frozen
class Transformed:
    """What the destination gets of a batch, and what was rejected on the way, in order.

    Attributes:
        batch: The batch for the destination.
        rejections: What was rejected, by each transform.
        protected: The batch after the transforms that keep data from leaving: all that may be quarantined.
        protected_by: The fingerprints of these transforms.
        unprotected: The events that one of them rejected, by index in the batch as it was read: their content must not
            leave.
    """

    batch: EventBatch
    rejections: tuple[Rejections, ...] = ()
    protected: EventBatch = attrs.field(default=attrs.Factory(lambda self: self.batch.as_read, takes_self=True))
    protected_by: tuple[str, ...] = ()
    unprotected: frozenset[int] = frozenset()

    def content(self, index: int) -> bytes | None:
        """Return what may be quarantined of an event, by its index in the batch as it was read; None for nothing."""
        if index in self.unprotected:
            return None
        return bytes(self.protected.raw(bisect_left(self.protected.indices, index)))


def transformed(batch: EventBatch, transforms: Sequence[Transform]) -> Transformed:
    """Apply the transforms one after another. Blocks: call it on a thread.

    Raises:
        BrokenPluginError: A transform returned other events than it was given.
    """
    rejections = []
    protected, protected_by, unprotected = batch.as_read, list[str](), set[int]()
    for transform in transforms:
        while True:
            try:
                after = transform.transform(batch)
                break
            except RejectedEventsError as error:
                events = {batch.indices[index]: reason for index, reason in error.events.items()}
                rejections.append(Rejections(type(transform).__module__.partition(".")[0], events))
                unprotected |= events.keys() if transform.protects else set()
                batch = batch.without(error.events)
        _check(transform, batch, after)
        batch = after
        if transform.protects:
            protected = batch
            protected_by.append(fingerprint(transform))
    return Transformed(batch, tuple(rejections), protected, tuple(protected_by), frozenset(unprotected))


def _check(transform: Transform, before: EventBatch, after: EventBatch) -> None:
    """Refuse a batch that is not made of the given one: its events would lose their place in the stream."""
    same = (after.stream, after.first, after.end, after.decoder) == (
        *(before.stream, before.first, before.end, before.decoder),
    )
    kept = after.indices is before.indices or (
        set(before.indices).issuperset(after.indices) and all(one < other for one, other in pairwise(after.indices))
    )
    if not (same and kept and after.as_read is before.as_read):
        raise BrokenPluginError(
            f'the transform "{component_name(type(transform))}" returned other events than it was given, or in another '
            f"order, for a batch of {before.stream}",
            remedy="Nothing of the batch was written. Tell the author of the transform: the testing kit finds this.",
        )


def defined_with(definition: Definition, transforms: Sequence[Transform]) -> Definition:
    """Return the definition of a stream whose events pass these transforms: others make another definition.

    Options at their defaults do not count, so a new option of a later version changes nothing.
    """
    if not transforms:
        return definition
    short = [transform_record(transform, defaults=False) for transform in transforms]
    changed = hashlib.sha256(canonical({"of": definition.fingerprint, "transforms": short})).hexdigest()[:16]
    details = {
        **definition.details,
        "transforms": [transform_record(transform, defaults=True) for transform in transforms],
    }
    return attrs.evolve(definition, fingerprint=changed, details=details)


def transforms_of(transforms: Sequence[Transform], stream: Stream) -> tuple[Transform, ...]:
    """Return the transforms that apply to this stream, in order."""
    return tuple(transform for transform in transforms if transform.applies_to(stream))


def check_scopes(transforms: Sequence[Transform], pipeline: str, names: Sequence[str]) -> None:
    """Raise a `ConfigurationError` for a transform that names a stream which the pipeline does not have.

    It would be applied to nothing: a mask that masks nothing must not start.
    """
    for place, transform in enumerate(transforms):
        for name in transform.streams:
            one = attrs.evolve(transform, streams=(name,))
            if not any(one.applies_to(Stream(pipeline, each)) for each in names):
                raise ConfigurationError(
                    f'transforms[{place}].streams: the pipeline has no stream "{name}", only {", ".join(names)}',
                    remedy="Name streams as the source's option watch does; * stands for any text.",
                )
        if isinstance(transform, StreamChecker):
            transform.check_streams([name for name in names if transform.applies_to(Stream(pipeline, name))])


@attrs.define(eq=False)
class _Work:
    """A batch on its way through the transforms; `waiting` holds it until the thread takes it."""

    events: EventBatch
    waiting: list[EventBatch]
    future: "Future[Transformed]"

    def cancel(self) -> None:
        if self.future.cancel():
            self.waiting.clear()


class Transforming(Prefetching):
    """Applies a stream's transforms to its batches, one at a time on a thread of its own. Used on the event loop.

    It stands before the destination: what it prepares, it hands to a destination that prefetches as soon as it is done.

    Args:
        stream: The stream.
        transforms: Its transforms, in order.
        destination: What the transformed batches are written to.
        limit: Seconds that a batch may take. After that its transformation continues, and the next call waits for it.
    """

    def __init__(self, stream: Stream, transforms: Sequence[Transform], destination: Destination, limit: float) -> None:
        self._stream = stream
        self._transforms = transforms
        self._destination = destination
        self._limit = limit
        self._current: _Work | None = None
        self._next: _Work | None = None
        self._thread = SerialExecutor(
            f"rigatoni transforms of {stream}", lambda seconds: PipelineTimeoutError(f"stuck for {seconds:.0f} s")
        )

    async def __call__(self, events: EventBatch) -> Transformed:
        """Return the batch as the destination gets it.

        Raises:
            PipelineTimeoutError: The limit is over. Called again with this batch, it waits for the same work.
        """
        work = self._take(events)
        async with time_limit(self._limit, f"the transforms, given a batch of {self._stream},"):
            await _finished(work.future)
        self._current = None
        done = work.future.result()
        for transform in self._transforms:
            for notice in transform.reports(self._stream) if isinstance(transform, Reporter) else ():
                publish(notice)
        return done

    def prepare(self, events: EventBatch) -> None:
        """Begin with the next batch, and let the destination prepare what comes of it."""
        if self._next is not None:  # that one has been taken to be delivered now
            self._current = self._next
        self._next = work = self._begin(events)
        if isinstance(self._destination, Prefetching):
            _when_done(work.future, partial(self._hand_on, work))

    def discard(self, stream: Stream) -> None:
        """Drop what was prepared."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if isinstance(self._destination, Prefetching):
            self._destination.discard(stream)

    def _hand_on(self, work: _Work) -> None:
        if work is self._next and isinstance(self._destination, Prefetching) and not work.future.exception():
            self._destination.prepare(work.future.result().batch)

    def _take(self, events: EventBatch) -> _Work:
        """The work on this batch: that of an earlier attempt, what was prepared, or begun now."""
        if self._current is not None and self._current.events is events:
            return self._current
        if self._current is not None:
            self._current.cancel()
        if self._next is not None and self._next.events is events:
            self._current, self._next = self._next, None
        else:
            self._current = self._begin(events)
        return self._current

    def _begin(self, events: EventBatch) -> _Work:
        waiting = [events]
        return _Work(events, waiting, self._thread.begin(lambda: transformed(waiting.pop(), self._transforms)))


async def _finished(future: "Future[Transformed]") -> None:
    """Wait until the future is done; giving up leaves it as it is."""
    done = asyncio.Event()
    _when_done(future, done.set)
    await done.wait()


def _when_done(future: "Future[Transformed]", call: Callable[[], None]) -> None:
    """Call this on the event loop when the future is done."""
    loop = asyncio.get_running_loop()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and no caller waits
            loop.call_soon_threadsafe(call)

    future.add_done_callback(tell)
