"""Whatever the limits and the order of arrival: batching neither loses, repeats nor reorders."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.batch import EventBatch
from rigatoni_core.batching import Batcher
from rigatoni_core.options import ByteSize
from rigatoni_core.settings import Settings
from rigatoni_core.testing.batches import STREAM, batch_of, event_document, in_chunks
from rigatoni_core.testing.clock import run_virtual

DOCUMENTS = [event_document(number) for number in range(120)]


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), max_size=12),
    batch_size=st.integers(1, 60),
    batch_bytes=st.integers(1, 9000),
    pause=st.floats(0, 3),
)
def test_batches_are_the_replies_cut_anew(sizes, batch_size, batch_bytes, pause):
    async def replies():
        position, start = None, 0
        yield batch_of([])
        for size in sizes:
            documents = DOCUMENTS[start : start + size]
            batch = batch_of(documents, after=position) if position else batch_of(documents)
            start, position = start + len(documents), batch.end
            yield batch
            await asyncio.sleep(pause)

    async def main():
        limits = Settings(batch_size=batch_size, batch_bytes=ByteSize(batch_bytes), max_buffered_bytes=ByteSize(20_000))
        tokens, ends = [], []
        async with Batcher(replies(), limits) as batches:
            async for batch in batches:
                assert len(batch) <= batch_size
                assert batch.nbytes <= batch_bytes or len(batch) == 1
                assert batches.buffered_bytes <= 20_000 + 30 * 300
                tokens += [batch.mark(index)[0] for index in range(len(batch))]
                if len(batch):
                    assert batch.end.resume_token == tokens[-1]
                    ends.append(batch.end.order)
        whole = batch_of(DOCUMENTS[: sum(sizes)])
        assert tokens == [whole.mark(index)[0] for index in range(len(whole))]
        assert ends == sorted(set(ends))

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
        assert one.fitting(*limits) == other.fitting(*limits)
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
    assert len(joined.chunks) == (1 if copied else len(batches))
    assert copied or [chunk.buffer for chunk in joined.chunks] == [batch.whole.buffer for batch in batches]
    assert raws(joined) == [raw for batch in batches for raw in raws(batch)]


def raws(batch):
    return [bytes(batch.raw(index)) for index in range(len(batch))]


def contents(batch):
    """All that can be seen of a batch but where its bytes lie."""
    assert raws(batch) == [raw for chunk in batch.chunks for raw in chunk.copies()]
    assert b"".join(raws(batch)) == batch.documents
    facts = (batch.first, batch.end, batch.read, batch.nbytes, len(batch), batch.source_time, batch.caught_up)
    return raws(batch), facts
