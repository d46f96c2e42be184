"""Tables by the accelerator are those of the pure path, to the letter, damaged events included."""

from array import array
from functools import partial
from itertools import accumulate

import attrs
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    encode,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_arrow.inference import Findings, inferred
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_bson.accelerator import documents_for, find_accelerator
from rigatoni_bson.modes import MODES
from rigatoni_bson.testing.strategies import DAMAGED, DOCUMENTS, EVENTS
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Timestamp as Time
from rigatoni_core.api.segments import Segment
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_native import avro_rows, csv_rows
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import START, STREAM, TestDecoder, batch_of, event_document, recorded_events


def both(make, events, **options):
    """What is written, or what is wrong with which event, by either way."""
    answers = []
    for accelerated in (True, False):
        serializer = make(**options)
        writer = serializer if hasattr(serializer, "_accelerator") else serializer._rows  # CSV writes rows by an object
        assert writer._accelerator is not None
        if not accelerated:
            writer._accelerator = None
        try:
            answers.append(bytes(serializer.serialize(events)))
        except RejectedEventsError as error:
            answers.append({index: str(reason) for index, reason in error.events.items()})
    return answers


def unchecked(events):
    """A batch of whatever bytes: nothing is read from them."""
    offsets = array("Q", accumulate(map(len, events), initial=0))
    buffer = memoryview(b"".join(events))
    first = attrs.evolve(START, ordinal=1000)
    return EventBatch(STREAM, first=first, end=START, segments=[Segment(buffer, offsets)], decoder=TestDecoder())


OPTIONS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([*MODES]),
        "header": st.booleans(),
        "delimiter": st.sampled_from([",", "\t"]),
        "null": st.sampled_from(["", "\\N"]),
        "spreadsheet_safe": st.booleans(),
    }
)


@settings(deadline=None, max_examples=400)
@given(events=st.lists(EVENTS | DAMAGED | DOCUMENTS, max_size=6), options=OPTIONS)
def test_C6_every_event_gives_the_same_row(events, options):
    accelerated, pure = both(CsvSerializer, unchecked(events), **options)
    assert accelerated == pure


@pytest.mark.parametrize("mode", [*MODES])
def test_recorded_events_of_a_real_server_give_the_same_rows(mode, recordings):
    for path in sorted(recordings.glob("*.bson")):
        accelerated, pure = both(CsvSerializer, batch_of(recorded_events(path)), mode=mode)
        assert accelerated == pure


def test_a_part_of_a_batch_gives_its_rows():
    batch = batch_of([encode(event_document(number)) for number in range(9)])
    accelerated, pure = both(CsvSerializer, batch[3:7])
    assert accelerated == pure
    assert accelerated.count(b"\r\n") == 5


@pytest.mark.parametrize("make", [CsvSerializer, AvroSerializer, ParquetSerializer])
def test_what_is_left_of_a_transaction_keeps_its_ordinals(make):
    """Some events are left to the pure path; ordinals of one, two and three digits, from another position on."""
    events = [event_document(number, seconds=1_700_000_000, increment=7) for number in range(300)]
    for number in (0, 5, 299):
        events[number]["txnNumber"] = "odd"
    after = attrs.evolve(START, cluster_time=Time(1_700_000_000, 7), ordinal=3)
    accelerated, pure = both(make, batch_of(events, after=after).without({1, 2, 150}))
    assert accelerated == pure


def test_ordinals_that_are_not_one_for_each_event_are_an_error():
    for rows in (
        partial(csv_rows, b"", array("Q", [0]), array("q", [1]), "relaxed", b",", b"", False),
        partial(avro_rows, b"", array("Q", [0]), array("q", [1]), None),
    ):
        with pytest.raises(ValueError, match="1 ordinals"):
            rows()


@settings(deadline=None, max_examples=300)
@given(events=st.lists(EVENTS | DAMAGED | DOCUMENTS, max_size=6), mode=st.sampled_from([*MODES, "bson"]))
def test_C6_every_event_gives_the_same_avro_record(events, mode):
    accelerated, pure = both(AvroSerializer, unchecked(events), mode=mode, codec="null")
    assert accelerated == pure


@pytest.mark.parametrize("mode", [*MODES, "bson"])
def test_recorded_events_of_a_real_server_give_the_same_avro_records(mode, recordings):
    for path in sorted(recordings.glob("*.bson")):
        accelerated, pure = both(AvroSerializer, batch_of(recorded_events(path)), mode=mode)
        assert accelerated == pure


@settings(deadline=None, max_examples=200)
@given(events=st.lists(EVENTS | DAMAGED | DOCUMENTS, max_size=6), mode=st.sampled_from([*MODES]))
def test_C6_every_event_gives_the_same_parquet_file(events, mode):
    accelerated, pure = both(ParquetSerializer, unchecked(events), mode=mode)
    assert accelerated == pure


@pytest.mark.parametrize("mode", [*MODES])
def test_recorded_events_of_a_real_server_give_the_same_parquet_file(mode, recordings):
    for path in sorted(recordings.glob("*.bson")):
        accelerated, pure = both(ParquetSerializer, batch_of(recorded_events(path)), mode=mode)
        assert accelerated == pure


@pytest.mark.parametrize("damaged", [[], [511], [512, 1100]])
def test_a_long_batch_with_events_left_to_the_pure_path_gives_the_same_parquet_file(damaged):
    """Of the odd events some open a chunk, some end one, and some stand one after the other."""
    events = [encode(event_document(number)) for number in range(1200)]
    for number in (0, 511, 512, 513, 700, 1199):
        events[number] = encode(event_document(number) | {"txnNumber": f"number {number}"})
    for number in damaged:
        events[number] = events[number][:-1] + b"\1"
    accelerated, pure = both(ParquetSerializer, unchecked(events))
    assert accelerated == pure
    assert isinstance(pure, dict) == bool(damaged)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 3).map(Int64),
    st.sampled_from([2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1]),
    st.floats(),
    st.sampled_from([-0.0, 3.0, 1e300, 2.0**63, -(2.0**63)]),
    st.text(max_size=5),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.decimals(-(10**20), 10**20, places=2).map(lambda number: Decimal128(str(number))),
    st.sampled_from(["NaN", "-Infinity", "-0", "0E-9", "1E+3", "1.50"]).map(Decimal128),
    st.binary(max_size=3),
    st.binary(min_size=16, max_size=16).map(lambda data: Binary(data, 4)),
    st.builds(Binary, st.binary(max_size=17), st.sampled_from([2, 4, 5, 128])),
    st.builds(Timestamp, st.integers(0, 9), st.integers(0, 9)),
    st.sampled_from([Regex("a", "i"), Code("x"), MinKey(), DBRef("c", 1)]),
)
NAMES = st.sampled_from(["_id", "a", "b", "c", "B", "", "$id"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)
ALIKE = st.fixed_dictionaries(
    {"_id": st.integers(0, 9)},
    optional={
        "a": st.text(max_size=3),
        "b": st.lists(st.integers(0, 9) | st.floats(0, 9)),
        "c": st.fixed_dictionaries({"a": st.booleans(), "b": st.lists(st.lists(st.integers(-9, 9)))}),
    },
)
SCHEMA = """
_id = "long"
a = "{scalar}"
b = ["{scalar}"]
[c]
a = "{scalar}"
b = [["{scalar}"]]
"""
KINDS = ["string", "int", "long", "double", "bool", "date", "objectId", "decimal", "uuid", "binData", "decimal(9, 2)"]


@st.composite
def images(draw):
    """A change event whose documents are drawn, of values of all kinds or nearly all alike."""
    event = event_document(draw(st.integers(0, 10**6)))
    documents = ALIKE | st.dictionaries(NAMES, VALUES, max_size=4)
    event["fullDocument"] = draw(documents | st.none())
    event["documentKey"] = {"_id": draw(SCALARS)}
    if draw(st.booleans()):
        event["fullDocumentBeforeChange"] = draw(documents)
    return encode(event)


@settings(deadline=None, max_examples=400)
@given(events=st.lists(images() | EVENTS | DAMAGED, max_size=6), mode=st.sampled_from([*MODES]))
def test_nested_columns_of_inferred_types_are_the_same(events, mode):
    accelerated, pure = both(ParquetSerializer, unchecked(events), mode=mode, documents="nested")
    assert accelerated == pure


@pytest.mark.parametrize("scalar", KINDS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(images(), min_size=1, max_size=6))
def test_nested_columns_of_given_types_are_the_same(tmp_path, scalar, events):
    schema = tmp_path / "schema.toml"
    schema.write_text(SCHEMA.format(scalar=scalar))
    accelerated, pure = both(ParquetSerializer, unchecked(events), documents="nested", schema=schema)
    assert accelerated == pure


def test_nested_columns_of_recorded_events_are_the_same(recordings):
    for path in sorted(recordings.glob("*.bson")):
        accelerated, pure = both(ParquetSerializer, batch_of(recorded_events(path)), documents="nested")
        assert accelerated == pure


@pytest.mark.parametrize("damaged", [[], [511], [512, 1100]])
def test_nested_columns_of_a_long_batch_are_the_same(damaged):
    events = [encode(event_document(number)) for number in range(1200)]
    for number in (0, 511, 512, 513, 700, 1199):
        document = {"_id": number, "value": number, "rare": [1, None, {"a": 1}]}
        events[number] = encode(event_document(number, fullDocument=document, fullDocumentBeforeChange={"b": number}))
    for number in damaged:
        events[number] = events[number][:-1] + b"\1"
    accelerated, pure = both(ParquetSerializer, unchecked(events), documents="nested")
    assert accelerated == pure
    assert isinstance(pure, dict) == bool(damaged)


def test_documents_that_are_alike_are_not_left_to_the_pure_path():
    documents = [
        {"_id": n, "a": "text", "b": [{"c": n * 0.5}], "d": Decimal128("1.5"), "e": ObjectId()} for n in range(9)
    ]
    batch = unchecked([encode(event_document(n, fullDocument=document)) for n, document in enumerate(documents)])
    accelerator = find_accelerator()
    places = documents_for(batch.whole)
    _, found = accelerator.document_findings(*places, 512)
    kind = inferred(Findings.of(found))
    assert list(kind.fields) == [*documents[0]]
    *_, left = accelerator.arrow_columns(*places, "relaxed", (None, kind.spelled(), None))
    assert left == []
