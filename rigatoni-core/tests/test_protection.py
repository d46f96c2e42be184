"""Transforms that keep data from leaving: their place, and what becomes of the events that they or others reject."""

import asyncio

import attrs
import pytest
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Transform
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.errors import ConfigurationError, RejectedEventsError, RigatoniError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.hookspecs import Component
from rigatoni_core.api.protection import fingerprint
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.config.faults import InvalidConfigurationError
from rigatoni_core.config.file import structure
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.plugins.catalog import Catalog, Plugin, Provided
from rigatoni_ops.replayer import Replayer
from rigatoni_testing.batches import BSON as DECODER
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import Log, RecordingDestination, ScriptedSource

SECRET = "sentinel"


class MaskFailedError(RigatoniError):
    id = "mask-failed"
    default_remedy = "Look."


@attrs.define(kw_only=True)
class Hiding(Transform):
    """Replaces the value of every document; fails on some events."""

    by: str = "***"
    fails: tuple = ()

    accepts = frozenset({"bson"})
    protects = True

    def transform(self, events):
        documents = [DECODER.document(events.raw(index)) for index in range(len(events))]
        if failed := [i for i, each in enumerate(documents) if each["fullDocument"]["_id"] in self.fails]:
            raise RejectedEventsError({i: MaskFailedError("no") for i in failed}, remedy="Look.")
        for document in documents:
            document["fullDocument"]["value"] = self.by if SECRET in document["fullDocument"]["value"] else "twice"
        return events.replaced({i: DECODER.encode(document) for i, document in enumerate(documents)})


@attrs.define(kw_only=True)
class Choosy(Transform):
    """Rejects some events."""

    rejects: tuple = ()

    accepts = frozenset({"bson"})

    def transform(self, events):
        ids = [DECODER.document(events.raw(index))["fullDocument"]["_id"] for index in range(len(events))]
        if rejected := {i: ValueError("no") for i, id_ in enumerate(ids) if id_ in self.rejects}:
            raise RejectedEventsError(rejected, remedy="Look.")
        return events


@attrs.define(kw_only=True)
class Documents(RecordingDestination):
    """Keeps documents; rejects some events, and quotes them."""

    found: list = attrs.field(factory=list)
    rejects: tuple = ()

    async def write_batch(self, events):
        documents = [DECODER.document(events.raw(index)) for index in range(len(events))]
        full = [document.get("fullDocument") or {} for document in documents]
        if rejected := {i: ValueError(str(each)) for i, each in enumerate(full) if each.get("_id") in self.rejects}:
            raise RejectedEventsError(rejected, remedy="Look.")
        self.found += documents


def run(transforms, *, rejects=(), letters=None, **settings):
    log = Log([event_document(n, fullDocument={"_id": n, "value": f"{SECRET} {n}"}) for n in range(20)])
    destination = Documents(rejects=rejects)
    pipeline = Pipeline(
        name="p",
        source=ScriptedSource(logs={"shop.orders": log}, start=0, await_time=0.01),
        transforms=transforms,
        destination=destination,
        dead_letters=letters,
        state=MemoryStateStore(),
        settings=Settings(
            batch_size=7,
            batch_timeout=0.02,
            on_failure="stop",
            retry=RetrySettings(max_retries=1, retry_delay=0.01, max_retry_delay=0.02),
            **settings,
        ),
    )
    report = asyncio.run(pipeline.run(once=True))
    return destination, report


def read(letters):
    assert SECRET not in repr(letters.found)
    return [DeadLetter.read(document) for document in letters.found]


def test_dead_letters_hold_the_event_after_the_transforms_that_protect():
    letters = Documents()
    destination, report = run([Hiding(), Choosy(rejects=(4,))], rejects=(9, 16), letters=letters)
    assert report.ok
    assert len(destination.found) == 17
    found = read(letters)
    values = [DECODER.document(letter.event)["fullDocument"] for letter in found]
    assert values == [{"_id": n, "value": "***"} for n in (4, 9, 16)]
    assert {letter.protected_by for letter in found} == {(fingerprint(Hiding()),)}


def test_an_event_that_a_mask_fails_on_stops_the_worker_even_if_there_are_dead_letters():
    letters = Documents()
    destination, report = run([Hiding(fails=(9,)), Choosy(rejects=(8,))], letters=letters)
    error = report.workers["shop.orders"].error
    assert isinstance(error, RejectedEventsError)
    assert 'on_mask_error = "redact"' in error.remedy
    assert [each["fullDocument"]["_id"] for each in destination.found] == list(range(7))
    assert not letters.found


def test_with_redact_its_letter_keeps_the_place_and_a_hash_of_the_key_and_no_content():
    letters = Documents()
    hiding = [Hiding(fails=(2,)), Hiding(by="****", fails=(9,))]
    destination, report = run(hiding, rejects=(3,), letters=letters, on_mask_error="redact")
    assert report.ok
    assert len(destination.found) == 17
    by_id = {letter.position.ordinal or n: letter for n, letter in enumerate(read(letters))}
    found = {bool(letter.event): letter for letter in by_id.values()}
    assert len(by_id) == 3
    empty, full = found[False], found[True]
    assert (empty.event, empty.error_id, empty.error) == (b"", "mask-failed", "no")
    assert len(empty.key_hash) == 16
    assert DECODER.document(full.event)["fullDocument"]["_id"] == 3
    raws = [document["deadLetter"] for document in letters.found]
    assert {raw["format"] for raw in raws} == {3}, "an older version refuses them"


def test_without_such_a_transform_letters_are_as_before():
    letters = Documents()
    _, report = run([Choosy(rejects=(4,))], letters=letters)
    assert report.ok
    assert [document["deadLetter"]["format"] for document in letters.found] == [2]
    assert "protected_by" not in letters.found[0]["deadLetter"]


@pytest.mark.parametrize("settings", [{"on_rejected": "skip"}, {}])
def test_redact_needs_dead_letters(settings):
    letters = Documents() if settings else None
    with pytest.raises(ValueError, match=r"needs \[pipeline.dead_letters\]"):
        Settings(on_mask_error="redact", **settings).rejection_policy(dead_letters=letters is not None)


async def test_a_replay_applies_a_mask_that_was_applied_before_not_again_and_a_new_one_as_well():
    hiding, new = Hiding(), Hiding(by="new")
    raw = DECODER.encode(event_document(1, fullDocument={"_id": 1, "value": "***"}))
    batch = batch_of([raw], stream=Stream("p", "shop.orders"))
    letter, empty = (
        DeadLetter.of(
            batch,
            0,
            MaskFailedError("no"),
            plugin="x",
            attempt=1,
            redact=str,
            content=content,
            protected_by=[fingerprint(hiding)],
        )
        for content in (raw, None)
    )
    for transforms, value in (((hiding,), "***"), ((hiding, new), "twice")):
        destination = Documents()
        configuration = PipelineConfiguration(
            name="p",
            source=ScriptedSource(logs={}),
            destination=destination,
            dead_letters=Documents(),
            state=MemoryStateStore(),
            transforms=transforms,
        )
        replayer = Replayer(RecordingApplication(configuration), configuration)
        outcomes = [error async for _, error in replayer.replay([letter, empty])]
        assert outcomes[0] is None
        assert "was not kept" in str(outcomes[1])
        assert [document["fullDocument"]["value"] for document in destination.found] == [value]


@pytest.mark.parametrize("stream", [Stream("p", "shop.orders"), Stream("p", "shop.orders").snapshot_range(1, 0)])
async def test_a_mask_that_was_added_since_is_applied_to_replayed_rows_of_snapshots_too(stream):
    batch = batch_of([event_document(1, fullDocument={"_id": 1, "value": SECRET})], stream=stream)
    letter = DeadLetter.of(batch, 0, ValueError("no"), plugin="x", attempt=1, redact=str)
    destination = Documents()
    configuration = PipelineConfiguration(
        name="p",
        source=ScriptedSource(logs={}),
        destination=destination,
        dead_letters=Documents(),
        state=MemoryStateStore(),
        transforms=(Hiding(streams=["shop.orders"]), Hiding(by="other", streams=["shop.users"])),
    )
    replayer = Replayer(RecordingApplication(configuration), configuration)
    assert [error async for _, error in replayer.replay([letter])] == [None]
    assert [document["fullDocument"]["value"] for document in destination.found] == ["***"]


def test_a_mask_after_another_kind_is_refused_in_a_file_and_in_python():
    classes = {"hiding": Hiding, "choosy": Choosy}
    provided = [Provided("transform", name, "", Component(name, lambda cls=cls: cls)) for name, cls in classes.items()]
    catalog = Catalog((*Catalog.discover().plugins, Plugin("test", "rigatoni-test", "1", provides=tuple(provided))))
    kinds = ["hiding", "choosy", "hiding", "choosy", "hiding"]
    document = {
        "name": "p",
        "source": {"type": "mongodb", "uri": "mongodb://localhost", "watch": ["shop.orders"]},
        "transforms": [{"type": kind} for kind in kinds],
        "destination": {"type": "stdout", "serializer": {"type": "json"}},
        "state": {"type": "memory"},
    }
    with pytest.raises(InvalidConfigurationError) as caught:
        structure({"pipeline": document}, catalog)
    assert [fault.key for fault in caught.value.details] == ["pipeline.transforms[2]", "pipeline.transforms[4]"]
    assert "Move it before" in caught.value.details[0].message
    with pytest.raises(ConfigurationError, match=r"transforms\[1\]: .* stands after"):
        run([Choosy(), Hiding()])
    document["transforms"] = [{"type": "hiding"}, {"type": "hiding"}, {"type": "choosy"}]
    structure({"pipeline": document}, catalog)
