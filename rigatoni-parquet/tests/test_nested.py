"""Nested columns and their rest: together they say the whole document, whatever it holds and whatever the schema."""

import json
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    encode,
)
from bson.raw_bson import RawBSONDocument
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_arrow.scalars import FURTHEST_DATE, SCALARS
from rigatoni_bson.columns import NULL, EventColumns
from rigatoni_bson.modes import Relaxed
from rigatoni_bson.testing.strategies import DOCUMENTS
from rigatoni_bson.writing import JsonWriter
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import event_document, recorded_events

RELAXED = Relaxed()
WRITER = JsonWriter("relaxed")
NESTED = ParquetSerializer(documents="nested", row_group_size=3)


class Repeated(list):
    """A document with repeated field names."""


def members(pairs):
    return dict(pairs) if len(dict(pairs)) == len(pairs) else Repeated(pairs)


def parsed(text):
    return json.loads(text, object_pairs_hook=members)


def comparable(value):
    """Relaxed Extended JSON such that equal values are equal: numbers by value, documents whatever their order."""
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            return ("number", Decimal(value), str(value)[0] == "-")
        case {"$numberDecimal": str(text)} if len(value) == 1 and Decimal(text).is_finite():
            return ("number", Decimal(text), text[0] == "-")
        case dict():
            return {name: comparable(inner) for name, inner in value.items()}
        case Repeated():
            return [(name, comparable(inner)) for name, inner in value]
        case _:
            return [comparable(inner) for inner in value]


def said(value, kind):
    """A value of a nested column as relaxed Extended JSON; fields that are null are not said."""
    if value is None:
        return None
    if isinstance(kind, list):
        return [said(item, kind[0]) for item in value]
    if isinstance(kind, dict):
        return {name: said(value[name], inner) for name, inner in kind.items() if value[name] is not None}
    writers = {
        "objectId": lambda: RELAXED.object_id(bytes.fromhex(value)),
        "date": lambda: RELAXED.date(value),
        "uuid": lambda: RELAXED.binary(4, UUID(value).bytes),
        "binData": lambda: RELAXED.binary(0, value),
        "double": lambda: RELAXED.double(value),
    }
    if kind.startswith("decimal"):
        return {"$numberDecimal": str(value)}
    return json.loads(writers[kind]()) if kind in writers else value


def merged(value, kind, rest):
    """What a column and its rest say, put together as the README tells readers to."""
    if value is None:
        return rest
    whole = said(value, kind)
    if rest is ABSENT:
        return whole
    if isinstance(kind, list):
        for index, inner in rest.items():
            place = int(index)
            whole[place] = merged(value[place], kind[0], inner)
        return whole
    for name, inner in rest.items():
        whole[name] = merged(value.get(name), kind.get(name), inner)
    return whole


ABSENT = object()


def document(row, name, types):
    rest = row[f"{name}_rest"]
    return merged(row.get(name), types.get(name), ABSENT if rest is None else parsed(rest))


def types_of(content):
    return json.loads(pq.read_metadata(pa.BufferReader(content)).metadata[b"rigatoni.schema"])


def check(read, serializer, batch_of_any, documents):
    """What a file says of these raw documents is what their own relaxed JSON says."""
    events = [
        event_document(
            number,
            documentKey=RawBSONDocument(raw),
            fullDocument=RawBSONDocument(raw),
            fullDocumentBeforeChange=RawBSONDocument(documents[-number]),
        )
        for number, raw in enumerate(documents)
    ]
    content = serializer.serialize(batch_of_any(map(encode, events)))
    types = types_of(content)
    expected = [comparable(parsed(text)) for text in WRITER.texts(documents)]
    for number, row in enumerate(read(content)):
        assert comparable(document(row, "full_document", types)) == expected[number]
        assert comparable(document(row, "full_document_before_change", types)) == expected[-number]
        assert comparable(document(row, "document_key", types)) == expected[number]
    return types


NAMES = st.sampled_from(["_id", "a", "b", "c", "A", "", "x.y", "$k", "é", "0"])
VALUES = st.recursive(
    st.one_of(
        st.integers(-(2**31), 2**31 - 1),
        st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]).map(Int64),
        st.floats() | st.sampled_from([1.0, -0.0, 2.0**63, 0.1]),
        st.text(st.characters(codec="utf-8"), max_size=3),
        st.booleans(),
        st.none(),
        st.integers(-(10**13), 10**14).map(DatetimeMS),
        st.sampled_from([FURTHEST_DATE, FURTHEST_DATE + 1, -FURTHEST_DATE - 1, -(2**63), 8 * 10**15]).map(DatetimeMS),
        st.binary(min_size=12, max_size=12).map(ObjectId),
        st.sampled_from(["1.10", "0", "-0", "NaN", "-Infinity", "12345678901234567890123456789012", "1E+6000"]).map(
            Decimal128
        ),
        st.uuids().map(Binary.from_uuid),
        st.binary(max_size=3) | st.builds(Binary, st.binary(max_size=3), st.sampled_from([0, 2, 4, 5, 128])),
        st.sampled_from([Regex("^a", "i"), Timestamp(1, 2), MinKey(), MaxKey(), Code("f()"), Code("f()", {"a": 1})]),
        st.builds(DBRef, st.just("c"), st.integers(0, 9)),
    ),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=8,
)
TAME = st.dictionaries(NAMES, VALUES, max_size=6).map(encode)
"""Documents whose names meet often enough to make columns of mixed types."""

SCHEMAS = st.recursive(
    st.sampled_from([*SCALARS, "decimal(5, 2)", "decimal(38, 0)"]),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b", "c", "x.y", "$k", "é", "0"]), inner, min_size=1, max_size=3)
        | inner.map(lambda item: [item])
    ),
    max_leaves=6,
)

some = settings(max_examples=40, deadline=None)


@some
@given(documents=st.lists(TAME, min_size=1, max_size=8))
def test_C6_H1_inferred_columns_and_rest_say_everything(read, batch_of_any, documents):
    check(read, NESTED, batch_of_any, documents)


@some
@given(documents=st.lists(TAME | DOCUMENTS, min_size=1, max_size=4))
def test_C6_H1_so_do_they_for_everything_that_bson_can_hold(read, batch_of_any, documents):
    check(read, NESTED, batch_of_any, documents)


@some
@given(schema=st.dictionaries(st.sampled_from("abc"), SCHEMAS, max_size=3), key=SCHEMAS, data=st.data())
def test_C6_H1_so_do_they_for_any_schema(read, batch_of_any, tmp_path_factory, schema, key, data):
    path = tmp_path_factory.mktemp("schemas") / "schema.json"
    path.write_text(json.dumps({"_id": key, **schema}), encoding="utf-8")
    documents = data.draw(st.lists(TAME, min_size=1, max_size=6))
    check(read, ParquetSerializer(documents="nested", schema=path), batch_of_any, documents)


def test_H1_every_recorded_document(read, batch_of_any, recordings):
    count = 0
    for path in sorted(recordings.glob("*.bson")):
        events = recorded_events(path)
        values = EventColumns.of_raw(events, range(len(events))).values
        for name in ("full_document", "document_key"):
            documents = [raw for raw in values[name] if raw and raw != NULL]
            count += len(documents)
            if documents:
                check(read, ParquetSerializer(documents="nested"), batch_of_any, documents)
    assert count > 6000
