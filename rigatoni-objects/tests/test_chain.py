"""The chain over in-memory stores: its requests, their number, and that no event is lost or duplicated."""

import itertools

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.errors import ChainError, DestinationError, RejectedEventsError, Transient
from rigatoni_core.api.events import Definition, Stream, Timestamp
from rigatoni_objects.chain import Chain
from rigatoni_objects.errors import MissingDefinitionError
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_objects.records import BatchRecord, is_same_place, later
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.objects import MemoryObjects, MemoryStore
from rigatoni_testing.random_runs import TEMPLATES, check_random_run, rounds
from rigatoni_testing.serializers import TokenLines

STREAM = Stream("p", "shop.*")
DEFINITION = Definition("fingerprint", {})


class Crash(BaseException):
    """The process died."""


class Faulty(MemoryStore):
    """Crashes, or loses a response, at chosen requests."""

    def __init__(self, objects, *, dies_at=None, loses=(), **options):
        super().__init__(objects, **options)
        self.dies_at, self.loses, self.count = dies_at, loses, 0

    def create(self, key, content, *, media_type, record):
        self.count += 1
        if self.count == self.dies_at:
            raise Crash
        created = super().create(key, content, media_type=media_type, record=record)
        if self.count in self.loses:
            raise LostResponseError("the response was lost")
        return created


class LostResponseError(DestinationError, Transient):
    """The request took effect, but its response was lost."""


class Counting(TokenLines):
    """Counts how often it serializes."""

    calls = 0

    def serialize(self, events):
        Counting.calls += 1
        return super().serialize(events)


def chain_of(store, layout=None, stream=STREAM):
    return Chain(store, stream, layout or FileLayout(TokenLines()), ClosingMark(0.0))


def begun(store, layout=None, stream=STREAM, position=START):
    chain = chain_of(store, layout, stream)
    chain.begin(DEFINITION, chain.last_committed() or position)
    return chain


def held(objects):
    """The tokens in the objects of events, by key."""
    return {
        key: TokenLines.tokens_in(content) for key, (content, _) in objects.contents.items() if key.endswith(".txt")
    }


def tokens_of(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


@pytest.mark.parametrize("metadata_limit", [0, 1900])
def test_Z10_a_put_whose_response_was_lost_is_found_before_the_batch_is_serialized_again(metadata_limit):
    objects, batch = MemoryObjects(), batch_of((event_document(n) for n in range(3)), stream=STREAM)
    store = Faulty(objects, loses={2 if metadata_limit else 3}, metadata_limit=metadata_limit)
    chain = begun(store, FileLayout(Counting()))
    Counting.calls = 0
    with pytest.raises(LostResponseError):
        chain.write(batch)
    assert chain.write(batch) is None
    assert Counting.calls == 1
    assert list(held(objects).values()) == [tokens_of(batch)]


def test_J2_the_newest_end_among_a_million_objects_is_found_with_a_few_listings():
    """The names are virtual: one object per minute, for two years."""
    count, first = 1_000_000, 1_700_000_000

    class Million(MemoryStore):
        def keys(self, prefix, *, after="", limit):
            self.objects.requests += 1
            if prefix:
                return super().keys(prefix, after=after, limit=limit)
            start = 0 if after < "1" else 0 if not after[:10].isdecimal() else max(0, (int(after[:10]) - first) // 60)
            names = (name(number) for number in range(max(0, min(start, count)), count))
            return list(itertools.islice((key for key in names if key > after), limit))

        def head(self, key):
            self.objects.requests += 1
            if not key[:10].isdecimal():
                return super().head(key)
            return {"record": record((int(key[:10]) - first) // 60).dump(compact=True).decode()}

    def position(number):
        return START.moved(f"t{number}", Timestamp(first + 60 * number, 1), 0)

    def record(number):
        return BatchRecord(
            definition=0,
            pipeline="p",
            stream="shop.orders",
            first=position(number),
            end=attrs.evolve(position(number), ordinal=1),
            events=1,
            read=1,
            parts=(),
        )

    def name(number):
        return f"{first + 60 * number:010}.0000000001-00000000-{number:016x}.txt"

    objects = MemoryObjects()
    begun(MemoryStore(objects), stream=Stream("p", "shop.orders"), position=position(0))
    chain, objects.requests = chain_of(Million(objects), stream=Stream("p", "shop.orders")), 0
    assert chain.last_committed() == record(count - 1).end
    assert objects.requests < 60


def test_a_listing_without_order_finds_the_newest_end_and_shows_progress():
    objects = MemoryObjects()
    chain = begun(MemoryStore(objects, ordered=False))
    whole = batch_of((event_document(n) for n in range(9)), stream=STREAM)
    for index in range(9):
        assert chain.write(whole[index : index + 1]) is None
    fresh = chain_of(MemoryStore(objects, ordered=False))
    assert fresh.last_committed() == whole.end
    assert fresh.progress > 2


def test_a_batch_of_ten_thousand_values_is_split_and_every_attempt_keeps_what_it_has_achieved():
    layout = FileLayout(TokenLines(), ("field:user",), max_objects=100)
    documents = [event_document(n, fullDocument={"_id": n, "user": f"u{n}"}) for n in range(1000)]
    batch, objects = batch_of(documents, stream=STREAM), MemoryObjects()
    for attempt in itertools.count():
        store = Faulty(objects, loses={40, 80})
        chain = begun(store, layout)
        position = chain.last_committed()
        index = 0 if position == START else batch.index_of(position.resume_token) + 1
        try:
            while index < len(batch):
                part = batch[index:]
                while (end := chain.write(part)) is not None:
                    part = batch[index : batch.index_of(end.resume_token) + 1]
                index += len(part)
            break
        except LostResponseError:
            assert attempt < 60
    assert len(held(objects)) == 1000
    assert sorted(token for tokens in held(objects).values() for token in tokens) == sorted(tokens_of(batch))


def test_an_order_among_positions_at_the_same_place_prefers_the_one_that_is_given():
    place = START.moved("fresh", Timestamp(2_000_000_000, 1), 2)
    assert later(attrs.evolve(place, resume_token="old"), place) is place
    assert later(place, START) is place


def test_two_ends_are_the_same_place_by_token_or_by_count():
    end = START.moved("t", Timestamp(5, 1), 2)
    assert is_same_place(end, attrs.evolve(end, resume_token="other"))
    assert is_same_place(end, attrs.evolve(end, ordinal=3))
    assert not is_same_place(end, attrs.evolve(end, resume_token="other", ordinal=3))


def test_a_batch_without_events_of_its_record_raises():
    objects = MemoryObjects()
    layout = FileLayout(TokenLines(), ("namespace",))
    batch = batch_of((event_document(n, collection="ab"[n % 2]) for n in range(6)), stream=STREAM)
    with pytest.raises(Crash):
        begun(Faulty(objects, dies_at=3), layout).write(batch)
    with pytest.raises(ChainError, match="other events"):
        begun(MemoryStore(objects), layout).write(batch.without({0, 1}))


def test_an_event_that_the_first_attempt_rejected_stays_out_though_it_is_accepted_now():
    objects = MemoryObjects()
    strict, lax = TokenLines(), TokenLines(reject=False)
    documents = [event_document(n, collection="ab"[n % 2], value="poison" if n == 3 else n) for n in range(8)]
    batch = batch_of(documents, stream=STREAM)
    chain = begun(Faulty(objects, dies_at=3), FileLayout(strict, ("namespace",)))
    with pytest.raises(RejectedEventsError):
        chain.write(batch)
    with pytest.raises(Crash):
        chain.write(batch.without({3}))
    again = chain_of(MemoryStore(objects), attrs.evolve(FileLayout(lax, ("namespace",))))
    again._definition = chain._definition  # an upgrade that changes no option of the serializer
    assert again.write(batch) is None
    expected = [token for index, token in enumerate(tokens_of(batch)) if index != 3]
    assert sorted(token for tokens in held(objects).values() for token in tokens) == sorted(expected)


@pytest.mark.parametrize("lost", ["_rigatoni/definition-0.json", "_rigatoni/definition-1.json"])
@pytest.mark.parametrize("metadata_limit", [0, 1900])
def test_objects_without_their_definition_are_an_error_with_a_remedy(lost, metadata_limit):
    objects = MemoryObjects()
    whole = batch_of((event_document(n) for n in range(4)), stream=STREAM)
    chain = begun(MemoryStore(objects, metadata_limit=metadata_limit))
    chain.write(whole[:2])
    if lost.endswith("1.json"):
        chain = chain_of(MemoryStore(objects, metadata_limit=metadata_limit))
        chain.begin(attrs.evolve(DEFINITION, fingerprint="changed"), whole[:2].end)
        chain.write(whole[2:])
    MemoryStore(objects).delete([lost])
    with pytest.raises(MissingDefinitionError) as caught:
        chain_of(MemoryStore(objects, metadata_limit=metadata_limit)).last_committed()
    assert "backup" in caught.value.remedy


@given(st.integers(0, 2**32), st.sampled_from(TEMPLATES), st.sampled_from([0, 1900]))
@settings(max_examples=rounds(300), deadline=None)
def test_random_templates_rejections_and_kills_lose_duplicate_and_misplace_nothing(seed, template, metadata_limit):
    objects = MemoryObjects()
    store = MemoryStore(objects, metadata_limit=metadata_limit)
    check_random_run(seed, template, lambda: (store, ClosingMark(0.0)))
