"""A batch as an Arrow table: one row per event, in the vocabulary of all tabular formats."""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import attrs
import pyarrow as pa
from rigatoni_bson.columns import COLUMNS, EventColumns, Kind
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.texts import ColumnTexts
from rigatoni_bson.writing import CHUNK
from rigatoni_core.batch import EventBatch
from rigatoni_core.errors import RejectedEventsError

from rigatoni_parquet.documents import Documents
from rigatoni_parquet.nesting import Nesting
from rigatoni_parquet.types import Struct

REST = "_rest"
"""The end of the name of the column that holds what a nested column does not."""

_TIME = pa.timestamp("ms", "UTC")
_TEXT = pa.large_string()  # the same text in Parquet, without a limit of 2 GiB per batch
_SCALARS = {Kind.TEXT: _TEXT, Kind.INTEGER: pa.int64(), Kind.SECONDS: _TIME, Kind.MILLISECONDS: _TIME}


def table_of(
    events: EventBatch, texts: ColumnTexts, nesting: Nesting | None
) -> tuple[pa.Table, Mapping[str, Struct | None]]:
    """The events as a table, and the types of its nested columns. Raises `RejectedEventsError`."""
    parts = (_Part.of(events, start, nesting) for start in range(0, len(events) or 1, CHUNK))
    types: Mapping[str, Struct | None] = {}
    if nesting:
        if nesting.schema is None:  # the types are known when all documents were looked at
            parts = _drained(deque(parts))
        types = nesting.types()
    tables: list[pa.Table] = []
    errors: dict[int, Exception] = {}
    for number, part in enumerate(parts):
        tables.append(part.table(texts, types))
        errors |= {number * CHUNK + index: error for index, error in part.columns.errors.items()}
    if errors:
        raise RejectedEventsError(errors, remedy=MalformedEventError.default_remedy)
    return pa.concat_tables(tables), types


@attrs.frozen
class _Part:
    """Some of a batch's events; `documents` are those of the columns that are nested."""

    columns: EventColumns
    documents: Mapping[str, Documents]

    @classmethod
    def of(cls, events: EventBatch, start: int, nesting: Nesting | None) -> "_Part":
        stop = min(start + CHUNK, len(events))
        columns = EventColumns.of_raw([bytes(events.raw(index)) for index in range(start, stop)])
        return cls(columns, nesting.documents(columns) if nesting else {})

    def table(self, texts: ColumnTexts, types: Mapping[str, Struct | None]) -> pa.Table:
        """These events as a table. Damaged documents are rejected in `columns`."""
        arrays: dict[str, pa.Array | pa.ChunkedArray] = {}
        for name, kind in ((column.name, column.kind) for column in COLUMNS):
            values = self.columns.values[name]
            if kind in _SCALARS:
                arrays[name] = pa.array(_milliseconds(values) if kind is Kind.SECONDS else values, _SCALARS[kind])
            elif name not in self.documents:
                arrays[name] = pa.array(texts.write(self.columns, name), _TEXT)
            else:
                if (struct := types[name]) is not None:
                    arrays[name], self.columns.values[name] = self.documents[name].split(struct)
                arrays[name + REST] = pa.array(texts.write(self.columns, name), _TEXT)
        return pa.table(arrays)


def _drained(parts: deque[_Part]) -> Generator[_Part]:
    """Each part once; nobody keeps those that are done."""
    while parts:
        yield parts.popleft()


def _milliseconds(seconds: Sequence[int | None]) -> list[Any]:
    return [None if value is None else value * 1000 for value in seconds]
