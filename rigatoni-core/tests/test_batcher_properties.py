"""Whatever the limits and the order of arrival: batching neither loses, repeats nor reorders."""

import asyncio
from contextlib import suppress
from typing import Any

from bson import decode, encode
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import Prefetching
from rigatoni_core.api.errors import DamagedEventError, ShutdownError
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.batcher import Batcher
from rigatoni_testing.batches import START, STREAM, TestDecoder, batch_of, event_document, in_chunks
from rigatoni_testing.clock import run_virtual

DOCUMENTS = [event_document(number) for number in range(120)]


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), max_size=12),
    batch_size=st.integers(1, 60),
    batch_bytes=st.integers(1, 9000),
    pause=st.floats(0, 3),
)
def test_batches_are_the_replies_split_differently(sizes, batch_size, batch_bytes, pause):
    async def replies():
        position, start = START, 0
        yield Heartbeat(position)
        for size in sizes:
            documents = DOCUMENTS[start : start + size]
            item = batch_of(documents, after=position) if documents else Heartbeat(position)
            start, position = start + len(documents), item.end
            yield item
            await asyncio.sleep(pause)

    async def main():
        limits = Settings(batch_size=batch_size, batch_bytes=ByteSize(batch_bytes), max_buffered_bytes=ByteSize(20_000))
        tokens, ends = [], []
        async with Batcher(STREAM, replies(), limits) as batches:
            async for item in batches:
                assert batches.buffered_bytes <= 20_000 + 30 * 300
                if isinstance(item, Heartbeat):
                    assert item.end.order == (ends[-1] if ends else START.order)
                    continue
                assert len(item) <= batch_size
                assert item.nbytes <= batch_bytes or len(item) == 1
                tokens += [item.token_and_time(index)[0] for index in range(len(item))]
                assert item.end.resume_token == tokens[-1]
                ends.append(item.end.order)
        whole = batch_of(DOCUMENTS[: sum(sizes)])
        assert tokens == [whole.token_and_time(index)[0] for index in range(len(whole))]
        assert ends == sorted(set(ends))

    run_virtual(main())


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    batch_size=st.integers(1, 40),
    pauses=st.tuples(st.floats(0, 3), st.floats(0, 3)),
    ends=st.lists(st.none() | st.integers(1, 50), max_size=10),
    stops=st.none() | st.integers(0, 8),
)
@example(sizes=[30, 30, 30], batch_size=10, pauses=(0, 1), ends=[None, 4, None, 25], stops=None)
@example(sizes=[30, 30, 30], batch_size=10, pauses=(0, 1), ends=[], stops=2)
def test_the_next_batch_is_prepared_early_and_nothing_changes_by_that(sizes, batch_size, pauses, ends, stops):
    """Batches are written slowly, and some are found to end elsewhere: `ends` says after how many events."""
    whole = batch_of(DOCUMENTS[: sum(sizes)] if sum(sizes) <= len(DOCUMENTS) else DOCUMENTS)

    async def replies():
        start = 0
        for size in sizes:
            if start < len(whole):
                yield whole[start : start + size]
            start += size
            await asyncio.sleep(pauses[0])

    async def main():
        preparer, found, yielded = Preparing(), [], []
        prepared = preparer.batches
        limits = Settings(batch_size=batch_size, batch_bytes=ByteSize(9000), max_buffered_bytes=ByteSize(20_000))
        async with Batcher(STREAM, replies(), limits, prefetching=preparer) as batches:
            async for batch in batches:
                yielded.append(batch)
                waiting = [other for other in prepared if other is not batch]
                assert all(other.first.order > batch.first.order for other in waiting)
                prepared[:] = waiting
                await asyncio.sleep(pauses[1])
                end = ends[len(yielded) - 1] if len(yielded) <= len(ends) else None
                if end is not None and len(found) + end <= len(whole):
                    fixed = whole[: len(found) + end].end
                    try:
                        batch = await batches.realign(batch, fixed)
                    except ShutdownError:
                        assert stops is not None
                        return
                    assert batch.end == fixed
                found += raws(batch)
                assert batches.buffered_bytes <= 20_000 + (30 + 50) * 300
                if stops == len(yielded):
                    batches.stop()
        assert found == raws(whole)[: len(found)]
        assert stops is not None or len(found) == len(whole)
        assert not prepared

    run_virtual(main())


class OfSound(TestDecoder):
    """Cannot read the events that say that they are damaged."""

    def token_and_time(self, raw):
        if b"damaged" in bytes(raw):
            raise ValueError("damaged")
        return super().token_and_time(raw)


@settings(max_examples=300, deadline=None)
@given(
    replies=st.lists(st.integers(3, 20), min_size=1, max_size=8),
    batch_size=st.integers(1, 30),
    damaged=st.integers(0, 7),
    hour=st.integers(1, 40),
    work=st.floats(0, 1),
)
@example(replies=[5, 5, 5, 5], batch_size=5, damaged=2, hour=7, work=1.0)
@example(replies=[9, 9, 9], batch_size=10, damaged=1, hour=40, work=1.0)
def test_an_event_that_cannot_end_a_batch_is_reported_in_order_and_leaves_no_gap(
    replies, batch_size, damaged, hour, work
):
    """One event amid a reply has no token: nobody comes upon it before batches are cut. `hour` events make one."""
    numbers, served = iter(range(200)), []
    for index, size in enumerate(replies):
        documents = [event_document(next(numbers)) for _ in range(size)]
        if index == damaged:
            documents[size // 2]["what"] = "damaged"
        served.append(documents)

    async def source():
        after = START
        for documents in served:
            made = batch_of(documents, after=after)
            after = made.end
            yield EventBatch(STREAM, first=made.first, end=made.end, segments=made.segments, decoder=OfSound())

    def cut(batch):
        """As for time partitions: looks at where one may end."""
        place = next((index for index in range(1, len(batch)) if (number(batch.raw(index))) % hour == 0), None)
        return len(batch) if place is None else batch[:place] and place

    async def main():
        found, limits = [], Settings(batch_size=batch_size)
        with suppress(DamagedEventError):
            async with Batcher(STREAM, source(), limits, split=cut, prefetching=Preparing()) as batches:
                async for batch in batches:
                    await asyncio.sleep(work)
                    found += raws(batch)
        everything = [encode(document) for documents in served for document in documents]
        assert found == everything[: len(found)]
        bad = next((index for index, raw in enumerate(everything) if b"damaged" in raw), len(everything))
        assert len(found) >= bad - batch_size

    run_virtual(main())


def number(raw):
    return decode(raw)["clusterTime"].inc


class Preparing(Prefetching):
    """What is prepared and neither yielded nor discarded."""

    def __init__(self):
        self.batches: list[Any] = []

    def prepare(self, events):
        self.batches.append(events)

    def discard(self, stream):
        assert stream == STREAM
        self.batches.clear()


def test_a_batch_is_prepared_only_when_it_is_full_and_another_one_in_flight():
    preparer = Preparing()
    prepared = preparer.batches

    async def replies():
        yield batch_of(DOCUMENTS[:25])
        await asyncio.Event().wait()

    async def main():
        limits = Settings(batch_size=10, batch_timeout=1.0)
        async with Batcher(STREAM, replies(), limits, prefetching=preparer) as batches:
            await asyncio.sleep(0.5)
            assert not prepared
            await anext(batches)
            assert [len(batch) for batch in prepared] == [10]
            assert batches.buffered_bytes == batch_of(DOCUMENTS[:25]).nbytes
            second = await anext(batches)
            assert second is prepared[0]
            assert raws(second) == raws(batch_of(DOCUMENTS[:25]))[10:20]
            assert len(await anext(batches)) == 5
            assert len(prepared) == 1
        assert not prepared

    run_virtual(main())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.data())
def test_positions_do_not_depend_on_where_a_batch_was_cut(transactions, data):
    """Events of one transaction share a cluster time: the ordinal tells them apart, however they are cut."""
    documents, number = [], 0
    for index, size in enumerate(transactions):
        for _ in range(size):
            documents.append(event_document(number, clusterTime=DOCUMENTS[index]["clusterTime"]))
            number += 1
    whole = batch_of(documents, stream=STREAM)
    cut = data.draw(st.integers(0, len(documents)))
    parts = [part for part in (documents[:cut], documents[cut:]) if part]
    first = batch_of(parts[0])
    joined = EventBatch.join([first, *(batch_of(part, after=first.end) for part in parts[1:])])
    assert joined.end == whole.end
    for index in range(len(whole)):
        assert joined.position_at(index) == whole.position_at(index)
        assert whole[index:].first == whole.position_at(index)
        assert whole[: index + 1].end == joined[: index + 1].end


@settings(max_examples=100, deadline=None)
@given(data=st.data(), size=st.integers(1, 30))
def test_a_batch_is_the_same_however_its_events_came_in_replies(data, size):
    whole = batch_of(DOCUMENTS[:size])
    events = in_chunks(whole, data.draw(st.sets(st.integers(0, size))))
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    rejected = data.draw(st.sets(st.integers(0, size - 1)))
    limits = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 9000)))
    for one, other in (
        (events, whole),
        (events[start:stop], whole[start:stop]),
        (events.without(rejected), whole.without(rejected)),
        (EventBatch.join([events[:stop], *([events[stop:]] if stop < size else [])]), whole),
    ):
        assert contents(one) == contents(other)
        assert one.prefix_length(*limits) == other.prefix_length(*limits)
    assert contents(events.without(rejected))[0] == [raws(whole)[i] for i in range(size) if i not in rejected]


@given(sizes=st.lists(st.integers(1, 200_000), min_size=2, max_size=5))
def test_only_small_replies_are_copied(sizes):
    batches, after = [], None
    for number, size in enumerate(sizes):
        documents = [event_document(number, fullDocument={"text": "x" * size})]
        batches.append(batch_of(documents, after=after) if after else batch_of(documents))
        after = batches[-1].end
    joined = EventBatch.join(batches)
    copied = joined.nbytes < 128 * 1024 * len(batches)
    assert len(joined.segments) == (1 if copied else len(batches))
    assert copied or [chunk.buffer for chunk in joined.segments] == [batch.whole.buffer for batch in batches]
    assert raws(joined) == [raw for batch in batches for raw in raws(batch)]


def raws(batch):
    return [bytes(batch.raw(index)) for index in range(len(batch))]


def contents(batch):
    """All that can be seen of a batch but where its bytes lie."""
    assert raws(batch) == [raw for chunk in batch.segments for raw in chunk.copies()]
    assert b"".join(raws(batch)) == batch.documents
    facts = (batch.first, batch.end, batch.read, batch.nbytes, list(batch.indices), batch.source_time)
    assert batch.orders() == batch.as_read.orders().at(batch.indices)
    return raws(batch), facts
