"""A batch as an Arrow table: one row per event, in the vocabulary of all tabular formats."""

from collections.abc import Mapping, Sequence

import attrs
import pyarrow as pa
from rigatoni_bson.columns import COLUMNS, EventColumns, Kind
from rigatoni_bson.texts import ColumnTexts

from rigatoni_parquet.documents import Documents
from rigatoni_parquet.inference import Findings, inferred
from rigatoni_parquet.types import Struct

KEY, IMAGES = "document_key", ("full_document", "full_document_before_change")
"""The columns that can be nested. An update's description can not: its field names are paths, other ones each time."""

REST = "_rest"
"""The end of the name of the column that holds what a nested column does not."""

_TIME = pa.timestamp("ms", "UTC")
_TEXT = pa.large_string()  # the same text in Parquet, without a limit of 2 GiB per batch
_SCALARS = {Kind.TEXT: _TEXT, Kind.INTEGER: pa.int64(), Kind.SECONDS: _TIME, Kind.MILLISECONDS: _TIME}


@attrs.frozen
class Nested:
    """Columns of documents that are nested, and their types; None where no column can say anything of them."""

    columns: Mapping[str, Documents]
    types: Mapping[str, Struct | None]

    @classmethod
    def inferred(cls, columns: EventColumns) -> "Nested":
        """With the types that these documents have; both images of a document have the same."""
        documents: dict[str, Documents] = {}
        types: dict[str, Struct | None] = {}
        for names in ((KEY,), IMAGES):
            found = Findings()
            documents |= {name: Documents(columns.values[name], found) for name in names}
            types |= dict.fromkeys(names, inferred(found))
        return cls(documents, types)

    @classmethod
    def of_schema(cls, columns: EventColumns, schema: Struct) -> "Nested":
        """With the types that a schema says."""
        types = {KEY: Struct({"_id": schema.fields["_id"]}), **dict.fromkeys(IMAGES, schema)}
        return cls({name: Documents(columns.values[name]) for name in types}, types)


def table_of(columns: EventColumns, texts: ColumnTexts, nested: Nested | None) -> pa.Table:
    """The events as a table. Damaged documents are rejected in `columns`."""
    arrays: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, kind in ((column.name, column.kind) for column in COLUMNS):
        values = columns.values[name]
        if kind in _SCALARS:
            arrays[name] = pa.array(_milliseconds(values) if kind is Kind.SECONDS else values, _SCALARS[kind])
        elif nested is None or name not in nested.types:
            arrays[name] = pa.array(texts.write(columns, name), _TEXT)
        else:
            if struct_type := nested.types[name]:
                arrays[name], columns.values[name] = nested.columns[name].split(struct_type)
            arrays[name + REST] = pa.array(texts.write(columns, name), _TEXT)
    return pa.table(arrays)


def _milliseconds(seconds: Sequence[int | None]) -> list[int | None]:
    return [None if value is None else value * 1000 for value in seconds]
