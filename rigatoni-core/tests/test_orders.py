"""The universal version of a change: an event keeps its ordinal, whatever is cut, taken out and put together again."""

import attrs
import pytest
from bson import encode
from bson.timestamp import Timestamp as BsonTimestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.events import Timestamp
from rigatoni_testing.batches import START, batch_of, event_document, in_chunks

SECONDS = 1_700_000_000

TIMES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([1, 1, 2, 7])), min_size=1, max_size=8).map(
    lambda runs: [number for number, (_, size) in enumerate(runs) for _ in range(size)]
)
"""The transaction that each event belongs to; most have several events."""


def stream_of(times, before):
    """The events of these transactions, of whose first one `before` events were read already."""
    documents = [
        event_document(number, clusterTime=BsonTimestamp(SECONDS + time // 3, time % 3 + 1))
        for number, time in enumerate(times)
    ]
    after = attrs.evolve(START, cluster_time=Timestamp(SECONDS, 1), ordinal=before)
    orders = [
        (SECONDS + time // 3, time % 3 + 1, times[:number].count(time) + (before if time == times[0] else 0))
        for number, time in enumerate(times)
    ]
    return batch_of(documents, after=after), orders


@st.composite
def derived(draw, batch, numbers, depth=0):
    """A batch made out of `batch`, and which of the stream's events it holds: `numbers` were those of `batch`."""
    ways = ["itself", "slice", "without", "join", "chunks"] if depth < 5 and numbers else ["itself"]
    made = draw(st.sampled_from(ways))
    if made == "itself":
        return batch, numbers
    if made == "slice":
        start = draw(st.integers(0, len(numbers) - 1))
        stop = draw(st.integers(start + 1, len(numbers)))
        batch, numbers = batch[start:stop], numbers[start:stop]
    elif made == "without":
        rejected = draw(st.sets(st.integers(0, len(numbers) - 1)))
        batch, numbers = batch.without(rejected), [n for index, n in enumerate(numbers) if index not in rejected]
    elif made == "join":
        place = draw(st.integers(0, len(numbers)))
        parts = [(batch[:place], numbers[:place])] if place else []
        parts += [(batch[place:], numbers[place:])] if place < len(numbers) else []
        parts = [draw(taken(*part)) for part in parts]
        batch, numbers = EventBatch.join([part for part, _ in parts]), [n for _, part in parts for n in part]
    else:
        batch = in_chunks(batch, draw(st.sets(st.integers(0, len(numbers)))))
    return draw(derived(batch, numbers, depth + 1))


@st.composite
def taken(draw, batch, numbers):
    rejected = draw(st.sets(st.integers(0, len(numbers) - 1), max_size=len(numbers) - 1))
    return batch.without(rejected), [number for index, number in enumerate(numbers) if index not in rejected]


@settings(max_examples=400, deadline=None)
@given(data=st.data(), times=TIMES, before=st.sampled_from([0, 0, 3]))
def test_an_event_keeps_its_ordinal_through_any_nesting(data, times, before):
    whole, orders = stream_of(times, before)
    batch, numbers = data.draw(derived(whole, list(range(len(times)))))
    assert list(zip(*batch.orders(), strict=True)) == [orders[number] for number in numbers]
    assert [bytes(batch.raw(index)) for index in range(len(batch))] == [bytes(whole.raw(number)) for number in numbers]
    assert list(batch.indices) == sorted(set(batch.indices))
    assert [bytes(batch.as_read.raw(index)) for index in batch.indices] == [
        bytes(batch.raw(index)) for index in range(len(batch))
    ]
    assert (batch.as_read.first, batch.as_read.end, len(batch.as_read)) == (batch.first, batch.end, batch.read)
    for index, number in enumerate(numbers):
        assert batch.position_at(index) == whole.position_at(number)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), times=TIMES, before=st.sampled_from([0, 3]))
def test_an_event_with_another_document_stays_the_same_event(data, times, before):
    whole, orders = stream_of(times, before)
    batch, numbers = data.draw(derived(whole, list(range(len(times)))))
    changed = data.draw(st.sets(st.integers(0, max(len(numbers) - 1, 0)), max_size=len(numbers)))
    after = batch.replaced({index: b"other %d" % numbers[index] for index in changed})
    expected = [
        b"other %d" % number if index in changed else bytes(whole.raw(number)) for index, number in enumerate(numbers)
    ]
    again, left = data.draw(derived(after, numbers)) if numbers else (after, numbers)
    assert [bytes(again.raw(index)) for index in range(len(again))] == [expected[numbers.index(n)] for n in left]
    assert list(zip(*again.orders(), strict=True)) == [orders[number] for number in left]
    for index, number in enumerate(left):
        assert again.position_at(index) == whole.position_at(number)
        assert again.token_and_time(index) == whole.token_and_time(number)
        assert again.index_of(whole.token_and_time(number)[0]) == index
    assert [bytes(batch.raw(index)) for index in range(len(batch))] == [bytes(whole.raw(number)) for number in numbers]


@settings(max_examples=100, deadline=None)
@given(data=st.data(), times=TIMES)
def test_slices_of_what_is_left_cover_what_was_read(data, times):
    whole, _ = stream_of(times, 0)
    rest, numbers = data.draw(taken(whole, list(range(len(times)))))
    place = data.draw(st.integers(1, max(len(numbers) - 1, 1)))
    parts = [rest[:place], *([rest[place:]] if place < len(numbers) else [])]
    assert [part.first for part in parts] == [rest.first, *(part.position_at(0) for part in parts[1:])]
    assert (parts[-1].end, sum(part.read for part in parts)) == (rest.end, rest.read)


def test_the_last_events_of_a_transaction_keep_their_ordinals():
    whole, _ = stream_of([0] * 5 + [1], before=4)
    rest = whole.without({0, 1, 2})
    assert list(rest.orders().ordinals) == [7, 8, 0]
    assert list(rest[1:].orders().ordinals) == [8, 0]
    assert (rest.indices, rest.read, rest.first) == ([3, 4, 5], 6, whole.first)


@pytest.mark.parametrize("time", [None, 7], ids=["absent", "not a time"])
def test_an_event_without_a_time_has_that_of_the_event_before(time):
    documents = [event_document(number, seconds=SECONDS, increment=max(number, 1)) for number in range(3)]
    del documents[1]["clusterTime"]
    if time is not None:
        documents[1]["clusterTime"] = time
    batch = batch_of(documents)
    assert list(zip(*batch.orders(), strict=True)) == [(SECONDS, 1, 0), (SECONDS, 1, 1), (SECONDS, 2, 0)]
    assert [batch.position_at(index).ordinal for index in range(3)] == [0, 1, 0]
    assert batch.end.ordinal == 1


def test_a_source_without_times_counts_all_of_its_events():
    documents = [event_document(number) for number in range(3)]
    for document in documents:
        del document["clusterTime"]
    batch = batch_of(documents, after=attrs.evolve(START, cluster_time=None, ordinal=2))
    assert list(zip(*batch.orders(), strict=True)) == [(0, 0, 2), (0, 0, 3), (0, 0, 4)]


def test_a_damaged_event_hides_no_other_ones_order():
    good = [encode(event_document(number, seconds=SECONDS, increment=max(number, 1))) for number in range(4)]
    whole = batch_of(good)
    broken = good[1].replace(b"clusterTime", b"\xff" * 11)
    buffer = memoryview(good[0] + broken + good[2] + good[3])
    damaged = EventBatch.from_reply(START, whole.stream, buffer, whole.whole.offsets, whole.decoder)
    assert list(damaged.orders().increments) == [1, 1, 2, 3]
    assert list(damaged.orders().ordinals) == [0, 1, 0, 0]


def test_a_batch_without_events_has_no_orders():
    assert list(map(len, batch_of([]).orders())) == [0, 0, 0]
