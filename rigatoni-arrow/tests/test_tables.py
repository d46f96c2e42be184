"""A batch as an Arrow table: its columns, its nested documents, and what does not fit a column."""

import json

import pyarrow as pa
from bson import encode
from rigatoni_arrow.agreed_types import AgreedTypes
from rigatoni_arrow.nested_schema import Nesting
from rigatoni_arrow.tables import table_of
from rigatoni_bson.columns import COLUMNS
from rigatoni_bson.texts import ColumnTexts
from rigatoni_testing.batches import batch_of, event_document


def events(*documents):
    return batch_of(encode(event_document(number, fullDocument=it)) for number, it in enumerate(documents))


def test_a_batch_has_the_columns_of_every_table_and_a_row_for_each_event():
    table, _ = table_of(events({"_id": 0, "a": 1}, {"_id": 1}), ColumnTexts("relaxed"), None)
    assert table.column_names == [column.name for column in COLUMNS]
    assert [json.loads(text) for text in table["full_document"].to_pylist()] == [{"_id": 0, "a": 1}, {"_id": 1}]


def test_documents_become_nested_columns_and_a_value_that_does_not_fit_is_kept_as_json():
    agreed = AgreedTypes()
    first, _ = table_of(events({"_id": 0, "a": 1}), ColumnTexts("relaxed"), Nesting(None, agreed))
    second, _ = table_of(events({"_id": 1, "a": "text"}), ColumnTexts("relaxed"), Nesting(None, agreed))
    assert first.schema.field("full_document").type.field("a").type == pa.int64()
    assert second["full_document"].to_pylist()[0]["a"] is None
    assert json.loads(second["full_document_rest"].to_pylist()[0]) == {"a": "text"}
    assert first.schema.field("full_document").type == second.schema.field("full_document").type
