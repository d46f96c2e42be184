"""No sentinel leaves: over random documents, deltas and paths, in every format, through rejections, kills and replays.

Everything that must not leave is a sentinel, by a second, simple reading of paths.
"""

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path as File
from typing import Any, get_args
from urllib.parse import unquote

import attrs
import pyarrow.parquet as pq
import pytest
from bson import decode, encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Listener, Serializer
from rigatoni_core.api.dead_letters import kept_letters
from rigatoni_core.api.errors import DestinationError, RejectedEventsError
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_ops.replayer import Replayer
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import Log, ScriptedSource
from rigatoni_transforms.mask import MaskTransform
from rigatoni_transforms.methods import Method
from rigatoni_transforms.paths import ANY, Path
from rigatoni_transforms.select import SelectTransform

SENTINEL = "SENTINEL"
NAMES = ["a", "b", "c", "0", "1", "x.y"]
_VALUES = st.recursive(
    st.sampled_from(["text", 7, None, True, 1.5]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        st.lists(st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=2), min_size=1, max_size=2),
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), _VALUES, min_size=1, max_size=4)

Place = tuple[str | int, ...]
"""Where a value is in a document: names of fields, and indexes of arrays."""


@st.composite
def paths(draw, documents):
    """Up to three paths to values of the documents, none of which covers another."""
    known = sorted({place for document in documents for place, _ in places(document)}, key=repr)
    found: list[Path] = []
    for place in draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)):
        steps = [f'"{place[0]}"']
        for step in place[1:]:
            kept = draw(st.sampled_from(["kept", "kept", "star", "left out"]))
            if kept == "star":
                steps.append("*")
            elif isinstance(step, str) or kept == "kept":
                steps.append(f'"{step}"')
        path = Path.parse(".".join(steps))
        if not any(each.covers(path) or path.covers(each) for each in found):
            found.append(path)
    return [path.text for path in found]


def reaches(steps, place: Place) -> bool:
    """Whether the steps name the value at this place, or one that contains it."""
    if not steps:
        return True
    if not place:
        return False
    head, rest = place[0], place[1:]
    named = steps[0] is ANY or steps[0] == str(head)
    if isinstance(head, int):
        return reaches(steps, rest) or (named and reaches(steps[1:], rest))
    return named and reaches(steps[1:], rest)


def leads(steps, place: Place) -> bool:
    """Whether the steps may name a value inside the one at this place."""
    if not place or not steps:
        return bool(steps)
    head, rest = place[0], place[1:]
    named = steps[0] is ANY or steps[0] == str(head)
    if isinstance(head, int):
        return leads(steps, rest) or (named and leads(steps[1:], rest))
    return named and leads(steps[1:], rest)


@attrs.frozen
class Hidden:
    """What must not leave: what the paths name, or, with `include`, all that they do not."""

    paths: tuple[Path, ...]
    include: bool = False

    def __call__(self, place: Place, *, scalar: bool) -> bool:
        if not self.include or not place:
            return any(reaches(path.steps, place) for path in self.paths)
        if any(reaches(path.steps, place) for path in self.paths):
            return False
        return scalar or not any(leads(path.steps, place) for path in self.paths)

    def marked(self, value, place: Place = ()):
        """The value with sentinels for all that must not leave: values, and the names inside."""
        inside = self(place, scalar=not isinstance(value, (dict, list)))
        if isinstance(value, dict):
            mark = SENTINEL if inside else ""
            return {mark + name: self.marked(item, (*place, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.marked(item, (*place, index)) for index, item in enumerate(value)]
        return f"{SENTINEL} {value}" if inside else value

    def name(self, place: Place) -> list[str | int]:
        """The steps of a changed field, with sentinels for the names that must not leave."""
        return [
            SENTINEL + step if isinstance(step, str) and self(place[:at], scalar=False) else step
            for at, step in enumerate(place)
        ]


def places(value, place: Place = ()):
    """Every place in a value but its top."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key), item
        yield from places(item, (*place, key))


@st.composite
def events(draw, number: int, images, hidden: Hidden):
    """An event of a document, before and after, with changes of some of its places."""
    before, after = images
    changes = draw(st.lists(st.sampled_from(list(places(after))), max_size=4))
    description: dict[str, Any] = {"updatedFields": {}, "removedFields": [], "truncatedArrays": []}
    readings = {}
    for place, value in changes:
        steps = hidden.name(place)
        name = ".".join(map(str, steps))
        if any(isinstance(step, str) and ("." in step or step.isdigit()) for step in steps):
            readings[name] = steps
        kind = draw(st.sampled_from(list(description)))
        if kind == "updatedFields":
            description[kind][name] = hidden.marked(value, place)
        elif kind == "removedFields":
            description[kind].append(name)
        else:
            description[kind].append({"field": name, "newSize": 2})
    if hidden.include or draw(st.booleans()):
        description["disambiguatedPaths"] = readings
    return encode(
        event_document(
            number,
            operationType=draw(st.sampled_from(["update", "replace", "insert", "read"])),
            fullDocument={"_id": number, **hidden.marked(after)},
            fullDocumentBeforeChange={"_id": number, **hidden.marked(before)},
            updateDescription=description,
            newer={"field": SENTINEL},
        )
    )


@st.composite
def cases(draw, most: int = 3):
    """A transform, and events with what it must hide."""
    kind = draw(st.sampled_from(["include", "exclude", *get_args(Method)]))
    documents = draw(st.lists(st.tuples(DOCUMENTS, DOCUMENTS), min_size=1, max_size=most))
    texts = draw(paths([each for pair in documents for each in pair]))
    if kind in ("include", "exclude"):
        transform = SelectTransform(**{kind: texts})
    else:
        transform = MaskTransform(fields=dict.fromkeys(texts, kind), key=KEY, key_id="1", length=0)
    hidden = Hidden(tuple(map(Path.parse, texts)), kind == "include")
    return transform, [draw(events(number, pair, hidden)) for number, pair in enumerate(documents)]


KEY = Secret("a key for tests that is no secret")


def outcome(transform, batch):
    """The batch after the transform, without the events that it rejects, and the error if it rejects some."""
    try:
        return transform.transform(batch), None
    except RejectedEventsError as error:
        return transform.transform(batch.without(error.events)), error


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_no_sentinel_is_in_an_event_or_an_error(case):
    transform, raws = case
    batch, error = outcome(transform, batch_of(raws))
    assert SENTINEL.encode() not in bytes(batch.documents)
    assert error is None or SENTINEL not in f"{error!r} {error} {error.remedy} {error.events!r}"


# --- through pipelines


class KilledError(DestinationError):
    id = "killed"


@attrs.define(kw_only=True, eq=False)
class Faulty(LocalDestination):
    """Rejects some events, and quotes them. Dies after its first batch is durable, before the checkpoint says so."""

    dies: bool = False
    fraction: int = 0

    async def write_batch(self, events):
        quoted = {n: ValueError(repr(bytes(events.raw(n)))) for n in range(len(events))}
        rejected = {n: error for n, error in quoted.items() if self.fraction and len(str(error)) % self.fraction == 0}
        if rejected:
            raise RejectedEventsError(rejected, remedy="They are meant to be rejected.")
        end = await LocalDestination.write_batch(self, events)
        if self.dies:
            raise KilledError(f"killed after {len(events)} events")
        return end


@attrs.frozen
class Hearing(Listener):
    heard: list

    def notify(self, notice):
        self.heard.extend([repr(notice), str(getattr(notice, "error", ""))])


SERIALIZERS: dict[str, Callable[[], Serializer]] = {
    "json": JsonSerializer,
    "canonical": partial(JsonSerializer, mode="canonical"),
    "csv": CsvSerializer,
    "avro": partial(AvroSerializer, codec="null"),
    "parquet": partial(ParquetSerializer, compression="none"),
    "nested": partial(ParquetSerializer, documents="nested"),
}


def everything_in(folder):
    """All names and contents of files, decoded."""
    for path in folder.rglob("*"):
        yield unquote(str(path.relative_to(folder)))
        if path.is_file():
            yield repr(path.read_bytes())
        if path.suffix == ".parquet":
            yield repr(pq.ParquetFile(path).read().to_pylist())


@pytest.mark.parametrize("name", SERIALIZERS)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(case=cases(most=8), sizes=st.lists(st.integers(1, 4), min_size=2, max_size=2), fraction=st.integers(2, 4))
def test_no_sentinel_leaves_through_rejections_kills_new_splits_and_replays(name, case, sizes, fraction):
    transform, raws = case
    log = Log([decode(raw) for raw in raws])
    heard: list[str] = []
    with tempfile.TemporaryDirectory() as place:

        def configured(size, *, dies=False, fraction=0):
            return PipelineConfiguration(
                name="p",
                source=ScriptedSource(logs={"shop.orders": log}, start=0, await_time=0.01),
                transforms=(transform,),
                destination=Faulty(
                    path=File(place),
                    serializer=SERIALIZERS[name](),
                    partition_by=["field:a"],
                    dies=dies,
                    fraction=fraction,
                ),
                dead_letters=LocalDestination(path=File(place), serializer=JsonSerializer()),
                state=MemoryStateStore(),
                listeners=(Hearing(heard),),
                settings=Settings(batch_size=size, batch_timeout=0.02, on_failure="stop", on_mask_error="redact"),
            )

        async def through():
            await Pipeline.of(configured(sizes[0], dies=True, fraction=fraction)).run(once=True)
            report = await Pipeline.of(configured(sizes[1], fraction=fraction)).run(once=True)
            heard.append(repr(report))
            assert report.ok
            again = configured(1)
            async with again.dead_letters, again.destination:
                letters = [letter async for letter, _ in kept_letters(again.dead_letters, "p")]
                heard.append(repr(letters))
                replayer = Replayer(RecordingApplication(again), again)
                heard.extend([f"{error!r}" async for _, error in replayer.replay(letters)])

        asyncio.run(through())
        found = [*everything_in(File(place)), *heard]
    assert any("clusterTime" in each or "cluster_time" in each for each in found), "something was written"
    assert not [each for each in found if SENTINEL in each]
