"""Rows hold all of an event, whatever it contains, and no column is ever cast."""

import bson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigatoni_bson.columns import COLUMNS
from rigatoni_bson.writing import JsonWriter
from rigatoni_tables.errors import TableSchemaError
from rigatoni_tables.rows import SCHEMA, Rows, missing_columns
from rigatoni_testing.batches import STREAM, batch_of, event_document

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8).filter(lambda name: "\0" not in name), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), min_size=1, max_size=5))
def test_documents_of_any_shape_are_kept_as_they_are(documents):
    events = [event_document(n, fullDocument={"_id": n, **document}) for n, document in enumerate(documents)]
    rows = Rows("canonical").of(batch_of(events, stream=STREAM))
    assert rows.schema == SCHEMA
    expected = JsonWriter("canonical").texts([bson.encode(event["fullDocument"]) for event in events])
    assert [text.encode() for text in rows["full_document"].to_pylist()] == expected
    assert rows["ordinal"].to_pylist() == [0] * len(events)


def test_the_columns_are_those_of_all_tabular_formats():
    assert SCHEMA.names == [column.name for column in COLUMNS]
    assert all(field.nullable for field in SCHEMA)


def test_missing_columns_are_told_and_others_are_left_alone():
    table = pa.schema([("operation", pa.large_string()), ("note", pa.string()), ("ordinal", pa.int64())])
    assert [field.name for field in missing_columns(table, SCHEMA, "here")] == [
        name for name in SCHEMA.names if name not in ("operation", "ordinal")
    ]


@pytest.mark.parametrize(
    ("name", "kind"), [("ordinal", pa.int32()), ("operation", pa.int64()), ("wall_time", pa.timestamp("us"))]
)
def test_a_column_of_another_type_is_an_error(name, kind):
    with pytest.raises(TableSchemaError, match=f"the column {name} of here is") as raised:
        missing_columns(pa.schema([(name, kind)]), SCHEMA, "here")
    assert raised.value.remedy
