"""Transforms stand between the batch and any destination: on a thread, ahead of time, and part of the definition."""

import asyncio
import threading
import time
from collections import Counter
from typing import Annotated

import attrs
import pytest
from rigatoni_core.api.bus import listening
from rigatoni_core.api.components import Component
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Listener, Prefetching, Reporter, Transform
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.errors import (
    BrokenPluginError,
    ConfigurationError,
    DestinationError,
    RejectedEventsError,
    Transient,
)
from rigatoni_core.api.events import Definition, Stream
from rigatoni_core.api.notices import SchemaDrifted
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.config import InvalidConfigurationError, structure
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.engine.transforming import Transforming, defined_with, transformed
from rigatoni_core.plugins.catalog import Catalog, Plugin, Provided
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_ops.replayer import Replayer
from rigatoni_testing.batches import TEXT, TestDecoder, batch_of, event_document, token_of, using
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import (
    Bucket,
    BucketDestination,
    FlakyStateStore,
    Log,
    RecordingDestination,
    ScriptedSource,
)

DECODER = TestDecoder()


class DownError(DestinationError, Transient):
    id = "down"


def number_of(event):
    return event.full_document["_id"]


@attrs.define(kw_only=True)
class Marking(Transform):
    """Writes a word into documents, drops some events and rejects others."""

    word: Annotated[str, "What is written"] = "seen"
    drop: Annotated[int, "Every so many-th event is dropped"] = 0
    reject: Annotated[tuple[int, ...], "Events that are rejected"] = ()
    key: Annotated[Secret | None, "A secret"] = None
    seconds: float = 0.0
    calls: list = attrs.field(factory=list, init=False)

    accepts = frozenset({"bson"})

    def transform(self, events):
        self.calls.append((threading.current_thread().name, len(events)))
        time.sleep(self.seconds)
        numbers = [number_of(event) for event in events]
        if rejected := {i: ValueError("not this one") for i, number in enumerate(numbers) if number in self.reject}:
            raise RejectedEventsError(rejected, remedy="Look.")
        changed = {}
        for index in range(len(events)):
            document = DECODER.document(events.raw(index))
            document["words"] = [*document.get("words", []), self.word]
            changed[index] = DECODER.encode(document)
        dropped = [i for i, number in enumerate(numbers) if self.drop and number % self.drop == 0]
        return events.replaced(changed).without(dropped)


@attrs.define(kw_only=True)
class Documents(RecordingDestination):
    """Keeps the documents of every stream."""

    found: dict = attrs.field(factory=dict)

    async def write_batch(self, events):
        end = await RecordingDestination.write_batch(self, events)
        documents = [DECODER.document(events.raw(index)) for index in range(len(events))]
        self.found.setdefault(events.stream.name, []).extend(documents)
        return end


def run(transforms, destination=None, *, logs=None, state=None, start=0, letters=None, **settings):
    """Run a pipeline of these until it has caught up; its destination."""
    if logs is None:
        logs = {"shop.orders": Log()}
        logs["shop.orders"].grow(20)
    destination = Documents() if destination is None else destination
    pipeline = Pipeline(
        name="p",
        source=ScriptedSource(logs=logs, start=start, await_time=0.01),
        transforms=transforms,
        destination=destination,
        dead_letters=letters,
        state=state or MemoryStateStore(),
        settings=Settings(
            **{
                "batch_size": 7,
                "batch_timeout": 0.02,
                "on_failure": "stop",
                "retry": RetrySettings(max_retries=3, retry_delay=0.01, max_retry_delay=0.02),
                **settings,
            }
        ),
    )
    report = asyncio.run(pipeline.run(once=True))
    return destination, report


def numbers_in(documents):
    return [document["fullDocument"]["_id"] for document in documents]


def test_events_are_changed_and_dropped_in_order_before_any_destination():
    destination, report = run([Marking(word="one", drop=3), Marking(word="two")])
    assert report.ok
    documents = destination.found["shop.orders"]
    assert numbers_in(documents) == [n for n in range(20) if n % 3]
    assert {tuple(document["words"]) for document in documents} == {("one", "two")}


def test_a_batch_of_which_all_is_dropped_counts_as_written():
    state = FlakyStateStore()
    _, report = run([Marking(drop=1)], state=state)
    assert report.ok
    assert state.saves[-1].events == 20


def test_a_transform_applies_to_its_streams_only():
    logs = {"shop.orders": Log(), "shop.users": Log(), "other.x": Log()}
    for log in logs.values():
        log.grow(3)
    transforms = [Marking(word="users", streams=["shop.users"]), Marking(word="shop", streams=["shop.*"])]
    destination, report = run(transforms, logs=logs)
    assert report.ok
    words = {name: found[0].get("words") for name, found in destination.found.items()}
    assert words == {"shop.orders": ["shop"], "shop.users": ["users", "shop"], "other.x": None}


def test_a_transform_of_a_stream_that_does_not_exist_stops_the_start():
    with pytest.raises(ConfigurationError, match=r'transforms\[1\].streams: the pipeline has no stream "shop.user"'):
        run([Marking(streams=["shop.*"]), Marking(streams=["shop.orders", "shop.user"])])


def test_rejected_events_become_dead_letters_as_they_were_read_and_dropped_ones_do_not():
    letters = Documents()
    destination, report = run([Marking(drop=5), Marking(reject=(4, 13))], RecordingDestination(), letters=letters)
    assert report.ok
    kept = [event_document(n) for n in range(20) if n % 5 and n not in (4, 13)]
    assert destination.tokens == [token_of(each["_id"]) for each in kept]
    kept = [DeadLetter.read(document) for document in letters.found["shop.orders"]]
    assert [DECODER.document(letter.event) for letter in kept] == [event_document(4), event_document(13)]
    assert {letter.plugin for letter in kept} == {Marking.__module__.partition(".")[0]}
    assert {letter.attempt for letter in kept} == {1}


def test_without_a_place_for_dead_letters_a_rejection_stops_the_worker_and_nothing_of_the_batch_is_written():
    destination, report = run([Marking(reject=(9,))])
    assert isinstance(report.workers["shop.orders"].error, RejectedEventsError)
    assert numbers_in(destination.found["shop.orders"]) == list(range(7))


def test_letters_of_a_transform_are_not_written_again_when_the_batch_is_tried_again():
    letters, transform = Documents(), Marking(reject=(4,))
    destination = Documents(before=[DownError("down"), None, DownError("down")])
    _, report = run([transform], destination, letters=letters)
    assert report.ok
    assert len(letters.found["shop.orders"]) == 1
    assert sum(size for _, size in transform.calls) == 20 + 6  # each batch once, and the one with a rejection again


@attrs.define(kw_only=True)
class Early(Documents, Prefetching):
    """Keeps what it was told to prepare."""

    prepared: list = attrs.field(factory=list)
    used: int = 0

    def prepare(self, events):
        assert threading.current_thread() is threading.main_thread()
        self.prepared.append(events)

    def discard(self, stream):
        self.prepared.clear()

    async def write_batch(self, events):
        self.used += any(each is events for each in self.prepared)
        return await Documents.write_batch(self, events)


def test_the_next_batch_is_transformed_off_the_event_loop_while_the_one_before_is_written():
    destination, transform = Early(seconds=0.05), Marking()
    log = Log()
    log.grow(70)
    _, report = run([transform], destination, logs={"shop.orders": log})
    assert report.ok
    assert numbers_in(destination.found["shop.orders"]) == list(range(70))
    assert destination.used >= 8  # the destination prepared the very batch that it then wrote
    assert all(name.startswith("rigatoni transforms of") for name, _ in transform.calls)
    assert sum(size for _, size in transform.calls) == 70


def test_a_slow_transform_is_waited_for_by_the_next_attempt_instead_of_begun_again():
    transform = Marking(seconds=0.25)
    log = Log()
    log.grow(5)
    destination, report = run([transform], logs={"shop.orders": log}, write_timeout=0.1)
    assert report.ok
    assert len(transform.calls) == 1
    assert numbers_in(destination.found["shop.orders"]) == list(range(5))


def test_a_transform_that_hangs_holds_up_its_own_stream_only():
    logs = {"shop.orders": Log(), "shop.users": Log()}
    for log in logs.values():
        log.grow(3)
    hanging = Marking(seconds=3.0, streams=["shop.users"])
    destination, report = run([hanging, Marking(streams=["shop.orders"])], logs=logs, write_timeout=0.05)
    assert report.workers["shop.orders"].error is None
    assert report.workers["shop.users"].error.id == "timeout"
    assert numbers_in(destination.found["shop.orders"]) == [0, 1, 2]
    assert len(hanging.calls) == 1


def test_a_bug_in_a_transform_stops_the_worker_and_writes_nothing():
    @attrs.define
    class Faulty(Marking):
        def transform(self, events):
            return events.without({10**6 // 0})

    destination, report = run([Faulty()])
    assert isinstance(report.workers["shop.orders"].error, ZeroDivisionError)
    assert not destination.found


def forged(events):
    return batch_of([event_document(n) for n in range(len(events))], stream=events.stream)


def reversed_(events):
    after = events.without(())
    after.indices = after.indices[::-1]
    return after


@pytest.mark.parametrize("change", [forged, reversed_, lambda events: events[:-1]])
def test_a_transform_that_gives_other_events_or_another_order_is_refused(change):
    @attrs.define
    class Broken(Marking):
        def transform(self, events):
            return change(events)

    with pytest.raises(BrokenPluginError, match="other events than it was given"):
        transformed(batch_of([event_document(n) for n in range(4)]), [Broken()])


def test_what_was_prepared_and_is_void_is_never_handed_on():
    async def main():
        destination, transform = Early(), Marking(seconds=0.1)
        stage = Transforming(Stream("p", "s"), [transform], destination, 10.0)
        batches = [batch_of([event_document(n)]) for n in range(2)]
        stage.prepare(batches[0])
        while not transform.calls:  # the thread is at it: it cannot be cancelled any more
            await asyncio.sleep(0.001)
        stage.discard(Stream("p", "s"))
        made = await stage(batches[1])
        await asyncio.sleep(0.1)
        assert not destination.prepared
        assert number_of(made.batch[0]) == 1

    asyncio.run(main())


# --- the definition


def test_the_definition_knows_the_transforms_their_options_and_versions_but_no_scope_and_no_secret():
    plain = Definition("f", {"watch": "x"})
    assert defined_with(plain, []) is plain

    def fingerprint(*transforms):
        return defined_with(plain, transforms).fingerprint

    @attrs.define(kw_only=True)
    class Versioned(Marking):
        version: int = 1

    one = fingerprint(Marking())
    assert one != plain.fingerprint
    assert fingerprint(Marking(streams=["a"])) == fingerprint(Marking(key=Secret("sentinel"))) == one
    different = [
        *(fingerprint(Marking(word="x")), fingerprint(Marking(), Marking()), fingerprint(Versioned())),
        *(fingerprint(Versioned(version=2)), fingerprint(Marking(), Marking(word="x"))),
        fingerprint(Marking(word="x"), Marking()),
    ]
    assert len({one, *different}) == 7
    defined = defined_with(plain, [Marking(key=Secret("sentinel"), streams=["a"])])
    (record,) = defined.details["transforms"]
    assert record["word"] == "seen"
    assert record["version"] == 1
    assert "streams" not in record
    assert "sentinel" not in repr(defined)


def test_a_changed_transform_begins_a_new_definition_where_the_old_one_ended(tmp_path):
    log, state = Log(), MemoryStateStore()

    def more(*transforms):
        log.grow(10)
        destination = LocalDestination(path=tmp_path, serializer=JsonSerializer())
        _, report = run(transforms, destination, logs={"shop.orders": log}, state=state)
        assert report.ok
        return len(list(tmp_path.rglob("definition-*.json")))

    assert [more(), more()] == [1, 1]
    assert [more(Marking(word="one")), more(Marking(word="one"))] == [2, 2]
    assert more(Marking(word="two")) == 3
    assert more() == 4
    texts = "".join(path.read_text() for path in sorted(tmp_path.rglob("*.ndjson")))
    found = [text.count(f'"fullDocument":{{"_id":{number},') for number in range(60) for text in [texts]]
    assert found == [1] * 60


def test_restarts_and_other_cuts_lose_and_repeat_nothing():
    log, bucket = Log(), Bucket()
    log.grow(50)
    for size, faults in ((7, [None, None, DownError("after the effect")]), (3, []), (11, [])):
        destination = BucketDestination(bucket=bucket, after=list(faults))
        _, report = run([Marking(drop=4)], destination, logs={"shop.orders": log}, batch_size=size, max_rejected=10)
        assert report.ok
        log.grow(10)
    written = Counter(bucket.tokens(Stream("p", "shop.orders")))
    expected = [token_of(event_document(n)["_id"]) for n in range(70) if n % 4]
    assert written == Counter(expected)


# --- dead letters


async def test_replayed_events_pass_through_the_transforms_of_their_stream():
    whole = batch_of([event_document(n) for n in range(3)], stream=Stream("p", "shop.orders"))
    letters = [DeadLetter.of(whole, n, ValueError("no"), plugin="x", attempt=1, redact=str) for n in range(3)]
    destination, dead_letters = Documents(), Documents()
    configuration = PipelineConfiguration(
        name="p",
        source=ScriptedSource(logs={}),
        destination=destination,
        dead_letters=dead_letters,
        state=MemoryStateStore(),
        transforms=(Marking(reject=(1,), streams=["shop.orders"]), Marking(word="no", streams=["shop.users"])),
    )
    replayer = Replayer(RecordingApplication(configuration), configuration)
    outcomes = [error is None async for _, error in replayer.replay(letters)]
    assert outcomes == [True, False, True]
    assert [document["words"] for document in destination.found["shop.orders"]] == [["seen"], ["seen"]]
    assert [document.get("words") for document in dead_letters.found["shop.orders"]] == [None, None]  # the marks


# --- the configuration


def catalog():
    classes = [("transform", "marking", Marking), ("source", "text", TextSource)]
    provided = [Provided(kind, name, "", Component(name, lambda cls=cls: cls)) for kind, name, cls in classes]
    return Catalog((*Catalog.discover().plugins, Plugin("test", "rigatoni-test", "1", provides=tuple(provided))))


@attrs.define(kw_only=True)
class TextSource(ScriptedSource):
    logs: dict = attrs.field(factory=dict)
    decoder: object = TEXT


def document(*transforms, source=None):
    return {
        "pipeline": {
            "name": "p",
            "source": source or {"type": "mongodb", "uri": "mongodb://localhost", "watch": ["shop.orders"]},
            "transforms": list(transforms),
            "destination": {"type": "stdout", "serializer": {"type": "json"}},
            "state": {"type": "memory"},
        }
    }


def test_transforms_are_an_array_of_tables_in_order():
    configuration = structure(
        document({"type": "marking", "word": "a"}, {"type": "marking", "streams": ["shop.orders"]}), catalog()
    )
    assert [(each.word, each.streams) for each in configuration.transforms] == [("a", ()), ("seen", ("shop.orders",))]
    assert isinstance(configuration.source, MongoDBSource)
    assert Pipeline.of(configuration).transforms == configuration.transforms


def test_a_transform_of_another_format_is_a_configuration_error_like_others():
    with pytest.raises(InvalidConfigurationError) as raised:
        structure(document({"type": "marking", "wort": "a"}, {"type": "marking"}, source={"type": "text"}), catalog())
    keys = {fault.key for fault in raised.value.details}
    assert "pipeline.transforms[0].wort" in keys
    assert "pipeline.destination.serializer" in keys
    with pytest.raises(InvalidConfigurationError) as raised:
        structure(document({"type": "marking"}, source={"type": "text"}), catalog())
    (fault,) = [fault for fault in raised.value.details if fault.key == "pipeline.transforms[0]"]
    assert "the transform " in fault.message
    assert 'reads the format "bson"' in fault.message


def test_a_pipeline_in_python_refuses_a_transform_of_another_format():
    with using(TEXT), pytest.raises(ConfigurationError, match=r"transforms.0: the transform"):
        run([Marking()])


def test_a_batch_that_an_earlier_run_left_unfinished_is_completed_with_the_same_events(tmp_path):
    documents = [event_document(n, fullDocument={"_id": n, "half": "ab"[n % 2]}) for n in range(20)]
    log = Log(documents)

    def more(size):
        lake = LocalDestination(path=tmp_path, serializer=JsonSerializer(), partition_by=["field:half"])
        _, report = run(
            [Marking(drop=5, reject=(13, 16))], lake, letters=Documents(), batch_size=size, logs={"s.o": log}
        )
        assert report.ok
        return sorted(tmp_path.rglob("*.ndjson"), key=lambda path: path.name)

    files = more(20)
    content = {path: path.read_bytes() for path in files}
    assert len(content) == 2
    for lost in files:
        lost.unlink()  # as if the run had died after the record of its batch
        assert {path: path.read_bytes() for path in more(3)} == content


@attrs.define(kw_only=True)
class Reporting(Marking, Reporter):
    """Reports each batch."""

    def reports(self, stream):
        done, self.calls = len(self.calls), []
        threads.append(threading.current_thread())
        return [SchemaDrifted(stream=stream, deviation=f"{done} batches")] if done else []


threads: list[threading.Thread] = []


def test_what_a_transform_reports_is_published_on_the_event_loop():
    heard: list[SchemaDrifted] = []

    class Hearing(Listener):
        def notify(self, notice):
            if isinstance(notice, SchemaDrifted):
                heard.append(notice)

    with listening([Hearing()]):
        run([Reporting()])
    assert {notice.stream.name for notice in heard} == {"shop.orders"}
    assert sum(int(notice.deviation.split()[0]) for notice in heard) == 3, "20 events are 3 batches of up to 7"
    assert set(threads) == {threading.main_thread()}
