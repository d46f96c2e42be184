"""Contract tests for destinations."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager

import attrs
import pytest
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import (
    Delivery,
    Destination,
    FormatReader,
    PositionKeeper,
    Prefetching,
    StreamCloser,
    TransactionalKeeper,
)
from rigatoni_core.api.errors import DestinationError, RejectedEventsError
from rigatoni_core.api.events import Coverage, Definition, Position, ResumeToken, Stream
from rigatoni_core.api.succession import History, SuccessionKeeper

from rigatoni_testing.batches import START, STREAM, batch_of, event_document
from rigatoni_testing.contracts import watching
from rigatoni_testing.contracts.obligations import (
    ObligationsOfReaders,
    asynchronous,
    bounded,
    check_component,
    check_constructor,
    check_error,
    options_of,
    promised,
    refused,
)
from rigatoni_testing.serializers import TokenLines

DEFINITION = Definition("fingerprint", {"watch": "shop.orders"})
_ORDER = list(Delivery)


@attrs.frozen
class Place:
    """The place that one test writes to; empty when the test begins.

    Attributes:
        make: Returns a new destination that is not entered yet; all destinations of one test write to the same place.
            A destination with a serializer uses `rigatoni_testing.serializers.TokenLines`.
        written: Returns the resume tokens of a stream's events that a reader would see now, in order.
        outage: A context manager while which the place is unreachable, if the test can cause that.
    """

    make: Callable[[], Destination]
    written: Callable[[Stream], Awaitable[Sequence[ResumeToken]]]
    outage: Callable[[], AbstractContextManager[object]] | None = None


def events(first: int, last: int, stream: Stream = STREAM) -> EventBatch:
    """Return events `first` to `last` - 1 of an endless stream.

    Args:
        first: The number of the first event, from 0.
        last: The number after the last event.
        stream: The stream.
    """
    everything = batch_of([event_document(number) for number in range(last)], stream=stream)
    return everything[first:last]


def tokens(batch: EventBatch) -> list[ResumeToken]:
    """Return the resume tokens of the events of a batch, in order.

    Args:
        batch: The batch.
    """
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


async def begin(destination: Destination, stream: Stream = STREAM) -> None:
    """Begin the stream as the worker does before its first write.

    Args:
        destination: The destination.
        stream: The stream.
    """
    if isinstance(destination, PositionKeeper):
        await bounded(destination.begin(stream, DEFINITION, START), "begin")


async def _closed(destination: StreamCloser) -> Position | None:
    """Close the stream, retrying while requests are in flight."""
    for _ in range(20):
        try:
            end: Position | None = await bounded(destination.close_stream(STREAM), "close_stream")
            return end
        except DestinationError as error:
            promised(error.retry_after is not None, "while requests are in flight, the error has a retry_after")
            await asyncio.sleep(error.retry_after or 0)
    raise AssertionError("the contract is broken: close_stream succeeds after the retry_after it asked for")


async def deliver(destination: Destination, first: int, last: int, stream: Stream = STREAM, *, size: int = 100) -> None:
    """Write these events as the worker does. If the destination fixes another end, continue from there.

    Args:
        destination: The destination.
        first: The number of the first event.
        last: The number after the last event.
        stream: The stream.
        size: The number of events of a batch.
    """
    while first < last:
        batch = events(first, min(first + size, last), stream)
        while (fixed := await bounded(destination.write_batch(batch), "write_batch")) is not None:
            index = events(0, last + 100, stream).index_of(fixed.resume_token)
            promised(index is not None and index >= first, "an end that write_batch returns is an event of the stream")
            batch = events(first, (index or 0) + 1, stream)
        await bounded(destination.flush(), "flush")
        first += len(batch)


@asynchronous
class DestinationContract(ObligationsOfReaders):
    """The fixture `place` is a `Place`. `format` is the format of the events that are written there."""

    async def test_it_says_which_formats_it_reads_itself(self, place: Place) -> None:
        if isinstance(destination := place.make(), FormatReader):
            self.check_reader(destination)

    async def check(self, place: Place, delivery: Delivery, last: int, stream: Stream = STREAM) -> None:
        """Check that events 0 to `last` - 1 were written in order.

        No event may be missing, and none may occur twice if the guarantee excludes that.

        Args:
            place: The place that the destination writes to.
            delivery: The declared guarantee.
            last: The number after the last event.
            stream: The stream.
        """
        written, expected = list(await place.written(stream)), tokens(events(0, last, stream))
        promised(
            set(expected) <= set(written), f"no events are lost, but {len(set(expected) - set(written))} are missing"
        )
        promised(set(written) <= set(expected), "only events of the batches are written")
        firsts = list(dict.fromkeys(written))
        promised(firsts == expected, "events are written in the stream's order")
        if delivery is not Delivery.AT_LEAST_ONCE:
            promised(written == expected, f"it declares {delivery.value!r}, but events were duplicated")

    async def test_flushed_events_are_written_in_order(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
            for first, last in ((0, 5), (5, 6), (6, 10)):
                await deliver(destination, first, last)
                await self.check(place, destination.metadata().delivery, last)
            promised(destination.buffered_count() == 0, "after flush buffered_count is 0")

    async def test_a_repeated_batch_is_handled_as_declared(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
            await deliver(destination, 0, 5)
            await deliver(destination, 0, 5)
            await deliver(destination, 5, 8)
            await self.check(place, destination.metadata().delivery, 8)

    async def test_after_a_crash_batches_may_have_other_ends(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
            await deliver(destination, 0, 5)
            await deliver(destination, 5, 10)
        for last, size in ((10, 3), (12, 100)):
            async with place.make() as destination:
                await begin(destination)
                await deliver(destination, 0, last, size=size)
        await self.check(place, destination.delivery, 12)

    async def test_a_cancelled_write_may_be_repeated(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
            for steps in range(5):
                first = 4 * steps
                write = asyncio.ensure_future(destination.write_batch(events(first, first + 4)))
                for _ in range(steps):
                    await asyncio.sleep(0)
                write.cancel()
                await asyncio.gather(write, return_exceptions=True)
                await deliver(destination, first, first + 4)
            await self.check(place, destination.metadata().delivery, 20)

    async def test_streams_are_written_concurrently_and_separately(self, place: Place) -> None:
        streams = [Stream(STREAM.pipeline, name) for name in ("shop.a", "shop.b", "shop.*")]
        async with place.make() as destination:
            for stream in streams:
                await begin(destination, stream)
            for first in (0, 5):
                await asyncio.gather(*(deliver(destination, first, first + 5, stream) for stream in streams))
            for stream in streams:
                await self.check(place, destination.metadata().delivery, 10, stream)

    async def test_a_batch_whose_events_were_all_rejected_is_written_too(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
            empty = events(0, 3).without(range(3))
            promised(await bounded(destination.write_batch(empty), "write_batch") is None, "its range is written")
            await bounded(destination.flush(), "flush")
            await deliver(destination, 3, 5)
            written = await place.written(STREAM)
            promised(list(written) == tokens(events(3, 5)), "events after an empty batch are written")

    async def test_rejected_events_are_named_at_once_and_leave_nothing(self, place: Place) -> None:
        if not any(isinstance(value, TokenLines) for _, value in options_of(place.make())):
            pytest.skip("it has no serializer: its own tests cover rejections")
        batch = batch_of([TokenLines.poisoned(n) if n in (1, 3) else event_document(n) for n in range(5)])
        async with place.make() as destination:
            await begin(destination)
            try:
                await bounded(destination.write_batch(batch), "write_batch")
            except RejectedEventsError as error:
                check_error(error)
                promised(set(error.events) == {1, 3}, f"one error names all rejected events: {sorted(error.events)}")
            else:
                promised(False, "the serializer's RejectedEventsError reaches the caller")
            promised(not await place.written(STREAM), "no event of a rejected batch is visible")
            await bounded(destination.write_batch(batch.without({1, 3})), "write_batch")
            await bounded(destination.flush(), "flush")
            written = list(await place.written(STREAM))
            promised(written == tokens(batch.without({1, 3})), "the batch without them is written")

    async def test_prefetched_batches_are_written_in_order_or_discarded(self, place: Place) -> None:
        if not isinstance(place.make(), Prefetching):
            return  # optional interface
        async with place.make() as destination:
            assert isinstance(destination, Prefetching)
            await begin(destination)
            batches = [events(first, first + 4) for first in (0, 4, 8)]
            for batch, following in zip(batches, [*batches[1:], events(12, 16)], strict=True):
                destination.prepare(following)
                await bounded(destination.write_batch(batch), "write_batch")
                await bounded(destination.flush(), "flush")
            await self.check(place, destination.metadata().delivery, 12)
            await deliver(destination, 12, 15)  # the batch ends elsewhere than the prefetched one
            await self.check(place, destination.metadata().delivery, 15)
            destination.discard(STREAM)
            destination.discard(STREAM)
            if any(isinstance(value, TokenLines) for _, value in options_of(destination)):
                poisoned = batch_of([TokenLines.poisoned(15), event_document(16)], after=events(0, 15).end)
                destination.prepare(poisoned)
                with pytest.raises(RejectedEventsError):
                    await bounded(destination.write_batch(poisoned), "write_batch")
            destination.prepare(events(15, 20))  # never written

    async def test_an_outage_is_transient_and_loses_nothing(self, place: Place) -> None:
        if place.outage is None:
            pytest.skip("the place cannot simulate an outage")
        async with place.make() as destination:
            await begin(destination)
            with (
                place.outage(),
                refused(DestinationError, "an outage is a Transient DestinationError with a remedy", transient=True),
            ):
                await bounded(destination.write_batch(events(0, 5)), "write_batch")
                await bounded(destination.flush(), "flush")
            await deliver(destination, 0, 5)
            await self.check(place, destination.metadata().delivery, 5)

    async def test_it_reports_its_last_committed_position(self, place: Place) -> None:
        if not isinstance(place.make(), PositionKeeper):
            return  # optional interface
        async with place.make() as destination:
            assert isinstance(destination, PositionKeeper)
            promised(await destination.last_committed(STREAM) is None, "a stream that never wrote has no position")
            anchor = await destination.begin(STREAM, DEFINITION, START)
            promised(anchor == START, "the first begin anchors the stream at the caller's position")
            await deliver(destination, 0, 5)
        async with place.make() as destination:
            assert isinstance(destination, PositionKeeper)
            committed = await destination.last_committed(STREAM)
            promised(
                committed is not None and committed.order == events(0, 5).end.order,
                "last_committed is the newest batch's end, also for the next process",
            )

    async def test_it_counts_what_an_earlier_run_had_written_as_found(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
            await deliver(destination, 0, 5)
            promised(destination.already_written_count(STREAM) == 0, "newly written events are not counted as found")
        async with place.make() as destination:
            await begin(destination)
            await deliver(destination, 0, 5)
            counted = destination.already_written_count(STREAM)
            promised(counted in (0, 5), "found events are counted all or not at all")
            await deliver(destination, 5, 8)
            promised(destination.already_written_count(STREAM) == counted, "only found events are counted")

    async def test_a_closed_stream_has_an_end_and_may_begin_again(self, place: Place) -> None:
        if not isinstance(place.make(), StreamCloser):
            return  # it promises nothing of that kind
        async with place.make() as destination:
            assert isinstance(destination, StreamCloser)
            promised(await _closed(destination) is None, "a stream that never wrote has no end")
            await begin(destination)
            await deliver(destination, 0, 5)
        async with place.make() as destination:
            assert isinstance(destination, StreamCloser)
            for _ in range(2):
                end = await _closed(destination)
                promised(
                    end is not None and end.order == events(0, 5).end.order,
                    "the stream's end is the end of its last batch",
                )
        async with place.make() as destination:
            assert isinstance(destination, PositionKeeper)
            resumed = await bounded(destination.begin(STREAM, DEFINITION, START), "begin")
            behind = resumed.order == events(0, 5).end.order
            promised(behind or resumed == START, "a closed stream begins after its end, or at the caller's position")
            await deliver(destination, 5 if behind else 0, 8)
            await self.check(place, destination.metadata().delivery, 8)

    async def test_what_others_continue_ends_for_good_and_a_successor_remembers_what_it_leaves_out(
        self, place: Place
    ) -> None:
        if not isinstance(place.make(), SuccessionKeeper):
            return  # it promises nothing of that kind
        end = events(0, 5).end
        assert START.cluster_time is not None
        assert end.cluster_time is not None
        async with place.make() as destination:
            assert isinstance(destination, SuccessionKeeper)
            promised(await destination.history(STREAM) == History(), "nothing is known of a stream that never began")
            await begin(destination)
            await deliver(destination, 0, 5)
            promised(await destination.recorded_streams(STREAM.pipeline) == [STREAM], "a stream that began is listed")
        async with place.make() as destination:
            assert isinstance(destination, SuccessionKeeper)
            await _closed(destination)
            for rest in ("0123456789abcdef",), ():
                await bounded(destination.end_stream(STREAM, DEFINITION, end, rest), "end_stream")
        delivered = Coverage(STREAM.name, START.cluster_time, end.cluster_time, frozenset(["0123456789abcdef"]))
        async with place.make() as destination:
            assert isinstance(destination, SuccessionKeeper)
            history = await bounded(destination.history(STREAM), "history")
            promised(history == History(True, True, True, (delivered,)), "the first end that is recorded stays")
            behind = attrs.evolve(end, ordinal=0)
            resumed = await bounded(destination.succeed(STREAM, DEFINITION, behind, [delivered]), "succeed")
            promised(resumed == behind, "a successor starts at the given position")
        async with place.make() as destination:
            assert isinstance(destination, SuccessionKeeper)
            await bounded(destination.begin(STREAM, DEFINITION, resumed), "begin")
            promised([*destination.left_out(STREAM)] == [delivered], "what it leaves out is remembered")
            promised(not (await destination.history(STREAM)).closed, "a stream that was begun again is not closed")
            await deliver(destination, 5, 8)
            await self.check(place, destination.metadata().delivery, 8)

    async def test_its_metadata_promises_no_more_than_its_class(self, place: Place) -> None:
        async with place.make() as destination:
            metadata = destination.metadata()
            promised(
                _ORDER.index(metadata.delivery) <= _ORDER.index(type(destination).delivery),
                "metadata().delivery is at most the class's delivery",
            )
            promised(
                metadata.delivery is not Delivery.TRANSACTIONAL or isinstance(destination, TransactionalKeeper),
                "a transactional destination is a TransactionalKeeper; it passes TransactionalContract",
            )
            promised(metadata.description, "metadata() describes the destination")

    async def test_it_closes_what_it_opened(self, place: Place) -> None:
        async def use(stream: Stream) -> None:
            async with place.make() as destination:
                await begin(destination, stream)
                await deliver(destination, 0, 2, stream)

        await use(Stream("p", "first"))  # warm up: threads and caches that a library creates once are not leaks
        before = watching.held()
        for number in range(3):
            await use(Stream("p", f"s.{number}"))
        promised(not (more := await watching.left_over(before)), f"__aexit__ closes what was opened; left: {more}")

    async def test_its_constructor_does_no_io(self, place: Place) -> None:
        check_constructor(place.make)

    async def test_its_text_shows_no_secret(self, place: Place) -> None:
        check_component(place.make())
