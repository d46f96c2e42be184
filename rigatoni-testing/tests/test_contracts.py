"""The contract suites: correct plugins pass, and each obligation catches a broken one."""

import asyncio
import inspect
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from rigatoni_core.api import notices
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.components import KINDS
from rigatoni_core.api.contracts import (
    AsyncResource,
    Delivery,
    Deserializer,
    Destination,
    DestinationMetadata,
    FormatReader,
    Listener,
    PositionKeeper,
    Prefetching,
    Serializer,
    StreamCloser,
    Transform,
)
from rigatoni_core.api.errors import DestinationError, RejectedEventsError, Transient, UnreadableError
from rigatoni_core.api.events import Coverage, Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.succession import History, SuccessionKeeper
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_testing.batches import START, TEXT
from rigatoni_testing.contracts import (
    DestinationContract,
    LeaseContract,
    ListenerContract,
    Origin,
    Place,
    SerializerContract,
    SourceContract,
    StateStoreContract,
    TransformContract,
    obligations,
    watching,
)
from rigatoni_testing.notices import one_of_each
from rigatoni_testing.scripted import Log, ScriptedSource
from rigatoni_testing.serializers import TokenLines

# --- plugins that keep their promises


class DownError(DestinationError, Transient):
    id = "down"
    default_remedy = "Wait."


@attrs.define
class Shelf:
    """The place that a `ListDestination` writes to."""

    batches: dict = attrs.field(factory=dict)  # stream key -> {first token: (end, lines)}
    down: bool = False
    history: History = attrs.field(factory=History)

    async def written(self, stream):
        batches = self.batches.get(stream.key, {})
        return [token for _, lines in batches.values() for token in TokenLines.tokens_in(lines)]

    def outage(self):
        self.down = True
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down = False


@attrs.define(eq=False)
class ListDestination(Destination, PositionKeeper, StreamCloser):
    """Effectively once: a batch is keyed by its first event, which fixes its end."""

    shelf: Shelf
    serializer: TokenLines = attrs.field(factory=TokenLines)
    delivery = Delivery.EFFECTIVELY_ONCE

    async def write_batch(self, events):
        if self.shelf.down:
            raise DownError("the shelf is down")
        lines = self.serializer.serialize(events)
        batches = self.shelf.batches.setdefault(events.stream.key, {})
        end, _ = batches.setdefault(events.first.resume_token, (events.end, lines))
        return None if end == events.end else end

    async def last_committed(self, stream):
        batches = self.shelf.batches.get(stream.key)
        return list(batches.values())[-1][0] if batches else None

    async def begin(self, stream, definition, position, *, gap=None):
        return position

    async def close_stream(self, stream):
        return await self.last_committed(stream)

    def metadata(self):
        return DestinationMetadata("a list", self.delivery)


@attrs.define(eq=False)
class Lines(Serializer, Deserializer):
    """Tokens and operations, one event per line."""

    accepts = frozenset({"*"})
    media_type = "text/plain"
    suffix = ".txt"

    def serialize(self, events):
        lines, rejected = [], {}
        for index in range(len(events)):
            try:
                lines.append(f"{events[index].operation} {events.token_and_time(index)[0]}\n")
            except Exception as error:
                rejected[index] = error
        if rejected:
            raise RejectedEventsError(rejected, remedy="Look at them.")
        return "".join(lines).encode()

    def deserialize(self, content):
        try:
            return [dict([line.split(" ", 1)]) for line in content.decode().splitlines()]
        except ValueError:
            raise UnreadableError("this is not ours") from None


@attrs.define(kw_only=True, eq=False)
class Trimming(Transform):
    """Drops every third event, marks every third, and rejects what cannot be read."""

    accepts = frozenset({"*"})

    def transform(self, events):
        kinds, rejected = {}, {}
        for index in range(len(events)):
            try:
                kinds[index] = self.kind(events[index])
            except Exception as error:
                rejected[index] = error
        if rejected:
            raise RejectedEventsError(rejected, remedy="Look at them.")
        marked = events.replaced({n: bytes(events.raw(n)) + b" " for n, kind in kinds.items() if kind == 1})
        return marked.without([n for n, kind in kinds.items() if kind == 2])

    def kind(self, event):
        return zlib.crc32(event.resume_token.encode()) % 3


@attrs.define(eq=False)
class Counter(Listener):
    count: int = attrs.field(default=0, init=False)

    def notify(self, notice):
        self.count += 1


def stores(cls=MemoryStateStore):
    """Returns a `make` whose stores share one place."""
    shared = cls()

    def make():
        store = cls()
        for field in attrs.fields(MemoryStateStore):
            setattr(store, field.name, getattr(shared, field.name))
        return store

    return make


def place_of(cls=ListDestination):
    shelf = Shelf()
    return Place(lambda: cls(shelf), shelf.written, shelf.outage)


def origin_of(cls=ScriptedSource):
    log = Log()

    async def change(count):
        log.grow(count)

    return Origin(lambda: cls(logs={"shop.orders": log}, await_time=0.01), "shop.orders", change)


class TestMemory(StateStoreContract, LeaseContract):
    @pytest.fixture
    def make(self):
        return stores()


class TestListDestination(DestinationContract):
    @pytest.fixture
    def place(self):
        return place_of()


class TestListDestinationOfText(DestinationContract):
    format = TEXT

    @pytest.fixture
    def place(self):
        return place_of()


class TestLinesOfText(SerializerContract):
    format = TEXT

    @pytest.fixture
    def make(self):
        return Lines


class TestLines(SerializerContract):
    @pytest.fixture
    def make(self):
        return Lines


class TestScriptedSource(SourceContract):
    @pytest.fixture
    def origin(self):
        return origin_of()


class TestTrimming(TransformContract):
    @pytest.fixture
    def make(self):
        return Trimming


class TestTrimmingOfText(TransformContract):
    format = TEXT

    @pytest.fixture
    def make(self):
        return Trimming


class TestCounter(ListenerContract):
    @pytest.fixture
    def make(self):
        return Counter


# --- plugins that break one

BROKEN = []
"""(suite, obligation, maker of the fixture)"""


def breaks(suite, *obligations, of):
    def decorate(cls):
        BROKEN.extend((suite, obligation, cls, of) for obligation in obligations)
        return cls

    return decorate


def store_that_breaks(*obligations, suite=StateStoreContract):
    return breaks(suite, *obligations, of=stores)


def destination_that_breaks(*obligations):
    return breaks(DestinationContract, *obligations, of=place_of)


def serializer_that_breaks(*obligations):
    return breaks(SerializerContract, *obligations, of=lambda cls: cls)


def transform_that_breaks(*obligations):
    return breaks(TransformContract, *obligations, of=lambda cls: cls)


def source_that_breaks(*obligations):
    return breaks(SourceContract, *obligations, of=origin_of)


def listener_that_breaks(*obligations):
    return breaks(ListenerContract, *obligations, of=lambda cls: cls)


def reads_a_file(self):
    Path(__file__).open().close()


def talkative(cls):
    """Returns the class with a secret option that its repr shows."""

    def shown(self):
        return "the password is hunter2"

    made = type("Talkative", (cls,), {"__annotations__": {"secret": Secret}, "__repr__": shown})
    made.secret = attrs.field(factory=lambda: Secret("hunter2"), kw_only=True)
    return attrs.define(made, eq=False, repr=False, slots=False)


class Leaking:
    """Starts a thread that never ends."""

    async def __aenter__(self):
        threading.Thread(target=time.sleep, args=(8,), daemon=True).start()
        return self

    async def __aexit__(self, *_):
        return None


@store_that_breaks("test_its_constructor_does_no_io")
class EagerStore(MemoryStateStore):
    def __init__(self):
        super().__init__()
        reads_a_file(self)


store_that_breaks("test_its_text_shows_no_secret")(talkative(MemoryStateStore))
destination_that_breaks("test_its_text_shows_no_secret")(talkative(ListDestination))
serializer_that_breaks("test_its_text_shows_no_secret")(talkative(Lines))
transform_that_breaks("test_its_text_shows_no_secret")(talkative(Trimming))
source_that_breaks("test_its_text_shows_no_secret")(talkative(ScriptedSource))
listener_that_breaks("test_its_text_shows_no_secret")(talkative(Counter))


@store_that_breaks("test_it_closes_what_it_opened")
class LeakingStore(Leaking, MemoryStateStore):
    pass


@store_that_breaks("test_a_saved_checkpoint_is_loaded_unchanged")
class Forgetful(MemoryStateStore):
    async def save_resume_token(self, stream, checkpoint):
        await super().save_resume_token(stream, attrs.evolve(checkpoint, gaps=()))


@store_that_breaks("test_a_save_replaces_the_one_before_and_outlives_the_store")
class First(MemoryStateStore):
    async def save_resume_token(self, stream, checkpoint):
        if await self.load_resume_token(stream) is None:
            await super().save_resume_token(stream, checkpoint)


@store_that_breaks("test_streams_do_not_share_a_record")
class Flat(MemoryStateStore):
    async def save_resume_token(self, stream, checkpoint):
        self._checkpoints[f"{stream.pipeline}/{stream.name}"] = checkpoint

    async def load_resume_token(self, stream):
        return self._checkpoints.get(f"{stream.pipeline}/{stream.name}")


@store_that_breaks("test_clear_forgets_and_may_find_nothing")
class Elephant(MemoryStateStore):
    async def clear_resume_token(self, stream, *, fencing_token=0):
        return None


@store_that_breaks("test_only_the_fence_saves_and_clears")
@breaks(
    LeaseContract,
    "test_a_grant_fences_off_the_owner_before",
    "test_a_store_without_a_record_takes_what_the_owner_saves",
    of=stores,
)
class Unfenced(MemoryStateStore):
    def _take_fence(self, stream, fencing_token):
        return None


@store_that_breaks("test_only_the_fence_saves_and_clears")
class RefusesOnlyLower(MemoryStateStore):
    def _take_fence(self, stream, fencing_token):
        if fencing_token < (self._fence(stream) or 0):
            super()._take_fence(stream, fencing_token)
        self._fencing_tokens[stream.key] = fencing_token


@store_that_breaks("test_a_clear_is_remembered_with_its_fencing_token")
@breaks(LeaseContract, "test_a_grant_is_above_the_stored_fencing_token", of=stores)
class WithoutTombstones(MemoryStateStore):
    async def clear_resume_token(self, stream, *, fencing_token=0):
        await super().clear_resume_token(stream, fencing_token=fencing_token)
        del self._cleared[stream.key], self._fencing_tokens[stream.key]


@store_that_breaks("test_it_lists_stored_streams")
class ListsByKey(MemoryStateStore):
    async def streams(self, pipeline=None):
        return [Stream(*key.split("/")) for key in self._checkpoints]


@store_that_breaks("test_concurrent_saves_leave_one_complete_record")
class Torn(MemoryStateStore):
    async def save_resume_token(self, stream, checkpoint):
        before = self._checkpoints.get(stream.key, checkpoint)
        self._checkpoints[stream.key] = attrs.evolve(checkpoint, position=before.position)


@store_that_breaks("test_a_cancelled_save_never_overtakes_a_later_one")
class Late(MemoryStateStore):
    async def save_resume_token(self, stream, checkpoint):
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(0.001, self._checkpoints.__setitem__, stream.key, checkpoint)
            raise
        await asyncio.sleep(0.005)
        if checkpoint.position.resume_token != "later 1":
            self._checkpoints[stream.key] = checkpoint


def lease_that_breaks(*obligations):
    return breaks(LeaseContract, *obligations, of=stores)


@lease_that_breaks("test_a_lease_is_held_by_one_owner", "test_a_stranger_neither_renews_nor_releases")
class Generous(MemoryStateStore):
    async def acquire(self, stream, *, owner, ttl):
        self._leases.pop(stream.key, None)
        return await super().acquire(stream, owner=owner, ttl=ttl)

    async def renew(self, lease, *, ttl):
        return lease


@lease_that_breaks("test_fencing_tokens_grow_with_every_grant")
class Constant(MemoryStateStore):
    async def acquire(self, stream, *, owner, ttl):
        lease = await super().acquire(stream, owner=owner, ttl=ttl)
        return lease and attrs.evolve(lease, fencing_token=1)

    async def release(self, lease):
        self._leases.pop(lease.stream.key, None)


@lease_that_breaks("test_the_deadline_is_on_the_event_loops_clock_and_taken_before_asking")
class WallClock(MemoryStateStore):
    async def acquire(self, stream, *, owner, ttl):
        lease = await super().acquire(stream, owner=owner, ttl=ttl)
        return lease and attrs.evolve(lease, deadline=time.time() + ttl)


@lease_that_breaks("test_the_deadline_is_on_the_event_loops_clock_and_taken_before_asking")
class RenewsFromTheAnswerOn(MemoryStateStore):
    async def renew(self, lease, *, ttl):
        await asyncio.sleep(0)
        return await super().renew(lease, ttl=ttl)


@lease_that_breaks("test_fencing_tokens_grow_even_if_the_store_has_lost_its_data")
class Counts(MemoryStateStore):
    async def acquire(self, stream, *, owner, ttl):
        lease = await super().acquire(stream, owner=owner, ttl=ttl)
        counter = f"{stream.key} counted"
        token = self._fencing_tokens[counter] = self._fencing_tokens.get(counter, 0) + 1
        return lease and attrs.evolve(lease, fencing_token=token)


@lease_that_breaks("test_a_lease_expires")
class Immortal(MemoryStateStore):
    async def renew(self, lease, *, ttl):
        return lease


@destination_that_breaks("test_it_says_which_formats_it_reads_itself")
class Reading(ListDestination, FormatReader):
    accepts = frozenset({"text"})


@destination_that_breaks("test_its_constructor_does_no_io")
class EagerDestination(ListDestination):
    def __attrs_post_init__(self):
        reads_a_file(self)


EagerDestination = attrs.define(EagerDestination, eq=False)
BROKEN[-1] = (*BROKEN[-1][:2], EagerDestination, BROKEN[-1][3])


@destination_that_breaks("test_it_closes_what_it_opened")
class LeakingDestination(Leaking, ListDestination):
    pass


@destination_that_breaks(
    "test_flushed_events_are_written_in_order",
    "test_a_cancelled_write_may_be_repeated",
)
class Buffering(ListDestination):
    async def write_batch(self, events):
        return None


@destination_that_breaks("test_prefetched_batches_are_written_in_order_or_discarded")
@attrs.define(eq=False)
class Hasty(ListDestination, Prefetching):
    """Writes prefetched content although the batch has changed since."""

    made: dict = attrs.field(factory=dict)

    def prepare(self, events):
        self.made[events.first.resume_token] = self.serializer.serialize(events)

    def discard(self, stream):
        pass

    async def write_batch(self, events):
        fixed = await super().write_batch(events)
        if (lines := self.made.pop(events.first.resume_token, None)) is not None:
            self.shelf.batches[events.stream.key][events.first.resume_token] = (events.end, lines)
        return fixed


@destination_that_breaks("test_a_repeated_batch_is_handled_as_declared")
class Appending(ListDestination):
    async def write_batch(self, events):
        batches = self.shelf.batches.setdefault(events.stream.key, {})
        batches[len(batches)] = (events.end, self.serializer.serialize(events))


@destination_that_breaks("test_after_a_crash_batches_may_have_other_ends")
class Adopting(ListDestination):
    async def write_batch(self, events):
        await super().write_batch(events)


@destination_that_breaks("test_streams_are_written_concurrently_and_separately")
class Mixing(ListDestination):
    async def write_batch(self, events):
        lines = self.serializer.serialize(events)
        self.shelf.batches.setdefault("all", {})[events.first.resume_token] = (events.end, lines)
        for key in (f"test-pipeline/shop.{name}" for name in ("a", "b", "%2A")):
            self.shelf.batches[key] = self.shelf.batches["all"] if key.endswith(events.stream.key[-1]) else {}


@destination_that_breaks("test_a_batch_whose_events_were_all_rejected_is_written_too")
class NeverEmpty(ListDestination):
    async def write_batch(self, events):
        return await super().write_batch(events) if len(events) else events.end


@destination_that_breaks("test_rejected_events_are_named_at_once_and_leave_nothing")
class OneByOne(ListDestination):
    async def write_batch(self, events):
        for index in range(len(events)):
            await super().write_batch(events[index : index + 1])


@destination_that_breaks("test_an_outage_is_transient_and_loses_nothing")
class Fatal(ListDestination):
    async def write_batch(self, events):
        if self.shelf.down:
            raise DestinationError("down", remedy="Wait.")
        return await super().write_batch(events)


@destination_that_breaks("test_it_counts_what_an_earlier_run_had_written_as_found")
class CountingAll(ListDestination):
    def already_written_count(self, stream):
        return len(self.shelf.batches.get(stream.key, ()))


@destination_that_breaks("test_a_closed_stream_has_an_end_and_may_begin_again")
class EndingNowhere(ListDestination):
    async def close_stream(self, stream):
        return None


@destination_that_breaks("test_what_others_continue_ends_for_good_and_a_successor_remembers_what_it_leaves_out")
class ForgettingWhatItLeavesOut(ListDestination, SuccessionKeeper):
    """Keeps on record how often its stream was begun and ended, but not what a successor leaves out."""

    async def recorded_streams(self, pipeline):
        return [Stream(pipeline, "shop.orders")]

    async def begin(self, stream, definition, position, *, gap=None):
        self.shelf.history = attrs.evolve(self.shelf.history, known=True)
        return position

    async def history(self, stream):
        return self.shelf.history

    async def end_stream(self, stream, definition, position, rest):
        if not self.shelf.history.ended:
            covered = Coverage(stream.name, START.cluster_time, position.cluster_time, frozenset(rest))
            self.shelf.history = History(known=True, closed=True, ended=True, coverage=(covered,))

    async def succeed(self, stream, definition, position, left_out):
        self.shelf.history = History(known=True)
        return position

    def left_out(self, stream):
        return ()


@destination_that_breaks("test_it_reports_its_last_committed_position")
class Lost(ListDestination):
    async def last_committed(self, stream):
        return None


@destination_that_breaks("test_its_metadata_promises_no_more_than_its_class")
class Boasting(ListDestination):
    def metadata(self):
        return DestinationMetadata("a list", Delivery.TRANSACTIONAL)


@serializer_that_breaks("test_it_declares_media_type_and_suffix")
class Nameless(Lines):
    suffix = "txt"


@serializer_that_breaks("test_values_of_every_type_are_written_or_rejected_by_name")
class Random(Lines):
    def serialize(self, events):
        return f"{id(self)}{time.monotonic_ns()}".encode()


@serializer_that_breaks("test_a_damaged_event_is_rejected_and_its_neighbours_are_not")
class AllOrNothing(Lines):
    def serialize(self, events):
        try:
            return super().serialize(events)
        except RejectedEventsError as error:
            reason = next(iter(error.events.values()))
            raise RejectedEventsError(dict.fromkeys(range(len(events)), reason), remedy="Look.") from None


@serializer_that_breaks("test_parts_of_a_batch_are_written_like_whole_ones")
class FromTheStart(Lines):
    def serialize(self, events):
        return bytes(events.whole.buffer[: events.nbytes])


@serializer_that_breaks("test_the_bytes_do_not_depend_on_reply_boundaries")
class FirstReply(Lines):
    def serialize(self, events):
        return bytes(events.segments[0].documents)


@serializer_that_breaks("test_several_threads_may_use_it_at_once")
class Shared(Lines):
    def serialize(self, events):
        shared = self.__class__.__dict__["lines"]
        shared.clear()
        for index in range(len(events)):
            shared.append(str(events.token_and_time(index)[0]))
            time.sleep(0)
        return "".join(shared).encode()

    lines = []  # noqa: RUF012 - that is what is wrong with it


@serializer_that_breaks("test_foreign_content_raises_unreadable_error")
class Trusting(Lines):
    def deserialize(self, content):
        return [{"line": line} for line in content.decode("latin-1").splitlines()]


@serializer_that_breaks("test_its_constructor_does_no_io")
class EagerSerializer(Lines):
    def __init__(self):
        reads_a_file(self)


@serializer_that_breaks("test_it_declares_the_formats_it_reads")
class OfAnotherFormat(Lines):
    accepts = frozenset({"text"})


@serializer_that_breaks("test_it_declares_the_formats_it_reads")
class OfLetters(Lines):
    accepts = "bson"


@transform_that_breaks("test_it_says_which_formats_it_reads")
class TrimmingAnotherFormat(Trimming):
    accepts = frozenset({"text"})


@transform_that_breaks("test_it_has_a_version")
class OfNoVersion(Trimming):
    version = "1"


@transform_that_breaks(
    "test_the_same_events_are_kept_changed_dropped_and_rejected_each_time", "test_several_threads_may_use_it_at_once"
)
class AtRandom(Trimming):
    def kind(self, event):
        return time.monotonic_ns() % 3


@transform_that_breaks("test_the_same_events_are_kept_changed_dropped_and_rejected_each_time")
class Renaming(Trimming):
    def transform(self, events):
        after = super().transform(events)
        after.end = after.first
        return after


@transform_that_breaks("test_the_same_events_are_kept_changed_dropped_and_rejected_each_time")
class Forging(Trimming):
    """Makes batches of its own, so that events lose their place."""

    def transform(self, events):
        return EventBatch(
            events.stream, first=events.first, end=events.end, segments=events.segments, decoder=events.decoder
        )


@transform_that_breaks("test_what_becomes_of_an_event_does_not_depend_on_its_batch")
class EverySecond(Trimming):
    def transform(self, events):
        return events.without(range(1, len(events), 2))


@transform_that_breaks("test_a_batch_without_events_stays_one")
class LookingAtTheFirst(Trimming):
    def transform(self, events):
        bytes(events.raw(0))
        return events


@transform_that_breaks("test_a_damaged_event_changes_nothing_for_its_neighbours")
class WholeBatches(Trimming):
    def transform(self, events):
        try:
            return super().transform(events)
        except RejectedEventsError as error:
            reason = next(iter(error.events.values()))
            raise RejectedEventsError(dict.fromkeys(range(len(events)), reason), remedy="Look.") from None


@transform_that_breaks("test_its_constructor_does_no_io")
class EagerTransform(Trimming):
    def __init__(self):
        reads_a_file(self)


class Wrapped(ScriptedSource):
    """A source whose items a subclass changes."""

    def change(self, number, batch):
        return batch

    async def read(self, stream, *, after):
        number = 0
        async for batch in super().read(stream, after=after):
            if (changed := self.change(number, batch)) is not None:
                yield changed
            number += 1


@source_that_breaks("test_its_decoder_names_the_format_of_its_documents")
class OfEveryFormat(ScriptedSource):
    def __init__(self, **options):
        super().__init__(**options, decoder=SimpleNamespace(format="*"))


@source_that_breaks("test_its_streams_are_named_and_distinct")
class Doubled(ScriptedSource):
    async def streams(self):
        return ["shop.orders", "shop.orders"]


@source_that_breaks("test_changes_after_the_anchor_are_read_in_order")
class NoAnchor(Wrapped):
    def change(self, number, batch):
        return batch if number else None


@source_that_breaks("test_it_resumes_right_after_any_event")
class Skipping(Wrapped):
    def _index(self, log, after):
        index = super()._index(log, after)
        return index if after is None or index == len(log.raws) else index + 1


@source_that_breaks("test_an_idle_stream_yields_resumable_heartbeats")
class Stuck(Wrapped):
    def change(self, number, batch):
        if isinstance(batch, EventBatch) or number == 0:
            return batch
        return Heartbeat(self._mark(self.logs["shop.orders"], 0))


@source_that_breaks("test_cancelling_a_read_loses_nothing")
class Consuming(Wrapped):
    def _index(self, log, after):
        return len(log.raws) if self.cancelled(after) else super()._index(log, after)

    def cancelled(self, after):
        return after is not None


@source_that_breaks("test_decoded_events_agree_with_their_tokens_and_times")
class OtherDecoder(Wrapped):
    def change(self, number, batch):
        if isinstance(batch, EventBatch):
            batch.decoder = type(batch.decoder)()
        return batch


@source_that_breaks("test_it_closes_what_it_opened")
class LeakingSource(Leaking, ScriptedSource):
    pass


@source_that_breaks("test_its_constructor_does_no_io")
class EagerSource(ScriptedSource):
    def __init__(self, **options):
        super().__init__(**options)
        reads_a_file(self)


@listener_that_breaks("test_it_accepts_every_notice_without_raising_or_blocking")
class Writing(Counter):
    def notify(self, notice):
        reads_a_file(self)


@listener_that_breaks("test_it_ignores_unknown_notices")
class Strict(Counter):
    known = {type(notice): str for notice in one_of_each()}  # noqa: RUF012

    def notify(self, notice):
        self.known[type(notice)](notice)


@listener_that_breaks("test_it_closes_what_it_opened")
class LeakingListener(Leaking, Counter, AsyncResource):
    pass


@listener_that_breaks("test_its_constructor_does_no_io")
class EagerListener(Counter):
    def __init__(self):
        reads_a_file(self)


SUITES = [
    *(StateStoreContract, LeaseContract, DestinationContract, SourceContract),
    *(SerializerContract, TransformContract, ListenerContract),
]


@pytest.mark.parametrize(("suite", "obligation", "cls", "of"), BROKEN, ids=lambda it: getattr(it, "__name__", it))
def test_each_obligation_catches_who_breaks_it(suite, obligation, cls, of, monkeypatch):
    monkeypatch.setattr(obligations, "LONGEST", 1.0)
    monkeypatch.setattr(watching, "PATIENCE", 0.3)
    test, subject = getattr(suite(), obligation), of(cls)

    async def run():
        async with asyncio.timeout(20):
            await test(subject)

    with pytest.raises(AssertionError, match="the contract is broken: "):
        asyncio.run(run()) if inspect.iscoroutinefunction(test) else test(subject)


@pytest.mark.parametrize("suite", SUITES)
def test_each_obligation_has_an_example_that_breaks_it(suite):
    tests = {name for name in dir(suite) if name.startswith("test_")}
    assert tests == {obligation for broken, obligation, *_ in BROKEN if broken is suite}


def test_a_subclass_cannot_override_an_obligation():
    with pytest.raises(TypeError, match="overrides a contract test of StateStoreContract"):

        class TestCheating(StateStoreContract):
            def test_clear_forgets_and_may_find_nothing(self):  # type: ignore[override]
                pass


def test_there_is_an_example_of_each_notice():
    kinds = {cls for _, cls in inspect.getmembers(notices, inspect.isclass) if issubclass(cls, notices.Notice)}
    assert {type(notice) for notice in one_of_each()} == kinds - {notices.Notice}


def test_there_is_a_suite_for_each_kind_of_component():
    names = {suite.__name__.removesuffix("Contract") for suite in SUITES}
    assert {contract for _, contract in KINDS.values()} <= names


def test_the_suites_run_for_an_author_who_gives_one_fixture(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "from rigatoni_core.builtin.memory import MemoryStateStore\n"
        "from rigatoni_testing.contracts import StateStoreContract\n"
        "class TestMine(StateStoreContract):\n"
        "    @pytest.fixture\n"
        "    def make(self): return MemoryStateStore\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=strict", "."]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout
    assert "12 passed" in answer.stdout
