"""Streams that others continue: closed for good, their end on record; and what their successors leave out."""

import attrs
import pytest
from rigatoni_core.api.errors import DefinitionChangedError
from rigatoni_core.api.events import Coverage, Definition, Stream, Timestamp
from rigatoni_core.api.succession import History
from rigatoni_objects.chain import Chain
from rigatoni_objects.errors import DefinitionSettlingError, MissingDefinitionError
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.listing import recorded_streams
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.objects import MemoryObjects, MemoryStore
from rigatoni_testing.serializers import TokenLines

STREAM = Stream("p", "shop.*")
DEFINITION = Definition("fingerprint", {})
BATCH = batch_of([event_document(number) for number in range(9)], stream=STREAM)
REST = ("a" * 16, "b" * 16)


@pytest.fixture(params=[0, 1900], ids=["sidecars", "records"])
def store(request):
    return MemoryStore(MemoryObjects(), metadata_limit=request.param)


def chain_of(store, settle_time=0.0, clock=lambda: 0.0):
    return Chain(store, STREAM, FileLayout(TokenLines()), ClosingMark(settle_time, clock=clock))


def written(store, count=5):
    chain = chain_of(store)
    chain.begin(DEFINITION, chain.last_committed() or START)
    assert chain.write(BATCH[:count]) is None
    return chain


def coverage(end, rest=REST):
    return Coverage("shop.*", START.cluster_time, end, frozenset(rest))


def test_a_stream_that_was_closed_is_known_to_have_ended_once_its_rest_is_on_record(store):
    written(store)
    closer = chain_of(store)
    assert closer.history() == History(known=True)
    assert closer.close() == closer.close() == BATCH[:5].end
    assert closer.history() == History(known=True, closed=True)
    later = BATCH[:7].end  # the checkpoint was further
    closer.end(DEFINITION, later, REST)
    closer.end(DEFINITION, BATCH[:9].end, ())  # on record already
    assert chain_of(store).history() == History(True, True, True, (coverage(later.cluster_time),))
    assert chain_of(store).last_committed() == later


def test_a_program_that_still_runs_a_closed_stream_stops(store):
    running = written(store)
    chain_of(store).close()
    with pytest.raises(DefinitionChangedError):
        running.write(BATCH[5:])
    with pytest.raises(DefinitionChangedError):
        running.history()
    with pytest.raises(DefinitionChangedError):
        running.begin(DEFINITION, BATCH[:5].end)


def test_a_program_of_a_closed_definition_does_not_take_the_next_ones_object_for_its_own(store):
    former, following = chain_of(store), chain_of(store)
    former.begin(DEFINITION, START)
    following.begin(Definition("another", {}), START)
    assert following.write(BATCH[:5]) is None
    for _ in range(2):  # the second time it looks first whether its request had taken effect
        with pytest.raises(DefinitionChangedError):
            former.write(BATCH[:5])


def test_closing_waits_for_requests_under_way(store):
    written(store)
    now = [0.0]
    closer = chain_of(store, 5.0, lambda: now[0])
    with pytest.raises(DefinitionSettlingError) as caught:
        closer.close()
    assert caught.value.retry_after == 5.0
    assert chain_of(store).history() == History(known=True)
    now[0] = 5.0
    assert closer.close() == BATCH[:5].end


def test_a_stream_without_any_record_ends_where_its_checkpoint_was(store):
    chain = chain_of(store)
    assert chain.close() is None
    chain.end(DEFINITION, BATCH[:3].end, REST)
    end = BATCH[:3].end.cluster_time
    assert chain.history() == History(True, True, True, (Coverage("shop.*", end, end, frozenset(REST)),))


def test_a_successor_begins_as_planned_and_keeps_what_it_leaves_out(store):
    written(store)
    closer = chain_of(store)
    closer.close()
    closer.end(DEFINITION, BATCH[:5].end, REST)
    left_out = (coverage(BATCH[:5].end.cluster_time),)
    chain = chain_of(store)
    assert chain.begin(DEFINITION, BATCH[:2].end, left_out=left_out) == BATCH[:2].end  # before its old end
    assert chain.left_out == left_out
    again = chain_of(store)
    assert again.history().left_out == left_out
    assert again.begin(DEFINITION, again.last_committed()) == BATCH[:2].end
    assert again.left_out == left_out
    changed = chain_of(store)
    changed.begin(attrs.evolve(DEFINITION, fingerprint="other"), BATCH[:2].end)
    assert changed.left_out == left_out


def test_of_two_that_begin_a_successor_at_once_one_decides(store):
    first, second = chain_of(store), chain_of(store)
    assert first.begin(DEFINITION, BATCH[:3].end, left_out=()) == BATCH[:3].end
    left_out = (coverage(BATCH[:5].end.cluster_time),)
    assert second.begin(DEFINITION, BATCH[:2].end, left_out=left_out) == BATCH[:3].end
    assert second.left_out == ()


def test_a_stream_that_returns_has_delivered_several_times(store):
    written(store)
    for count in 5, 7:
        closer = chain_of(store)
        closer.close()
        closer.end(DEFINITION, BATCH[:count].end, REST)
        if count == 5:
            assert chain_of(store).begin(DEFINITION, BATCH[:6].end, left_out=()) == BATCH[:6].end
    first, second = chain_of(store).history().coverage
    assert (first.start, first.end) == (START.cluster_time, BATCH[:5].end.cluster_time)
    assert (second.start, second.end) == (BATCH[:6].end.cluster_time, BATCH[:7].end.cluster_time)


def test_a_missing_definition_hides_no_coverage(store):
    test_a_stream_that_returns_has_delivered_several_times(store)
    store.delete(["_rigatoni/definition-0.json"])
    with pytest.raises(MissingDefinitionError):
        chain_of(store).history()


class Below(MemoryStore):
    """A stream's folder in the bucket of a pipeline."""

    def __init__(self, objects, folder):
        super().__init__(objects)
        self.folder = folder

    def create(self, key, content, *, media_type, record):
        return super().create(f"{self.folder}/{key}", content, media_type=media_type, record=record)

    def head(self, key):
        return super().head(f"{self.folder}/{key}")

    def read(self, key):
        return super().read(f"{self.folder}/{key}")

    def keys(self, prefix, *, after="", limit):
        found = super().keys(f"{self.folder}/{prefix}", after=after and f"{self.folder}/{after}", limit=limit)
        return [key.removeprefix(f"{self.folder}/") for key in found]


@pytest.mark.parametrize("ordered", [True, False])
def test_the_streams_of_a_pipeline_are_found_by_their_definitions(ordered):
    objects = MemoryObjects()
    streams = [Stream("p", name) for name in ("a.b", "a.b-c", "a.b.c", "a.*", "ä." + "x" * 300, "a.b0", "*")]
    for stream in streams:
        store = Below(objects, stream.key.partition("/")[2])
        chain = Chain(store, stream, FileLayout(TokenLines()), ClosingMark(0.0))
        chain.begin(DEFINITION, START)
        chain.write(batch_of([event_document(number) for number in range(3)], stream=stream))
    listing = MemoryStore(objects, ordered=ordered)
    before = objects.requests
    assert recorded_streams(listing, "p") == sorted(streams)
    assert not ordered or objects.requests - before < 3 * len(streams)


def test_an_end_is_a_time(store):
    written(store)
    closer = chain_of(store)
    closer.close()
    closer.end(DEFINITION, BATCH[:5].end, ("*",))
    (found,) = closer.history().coverage
    assert found.end == Timestamp(1_700_000_000, 5)
    assert found.rest == {"*"}
