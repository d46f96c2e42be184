"""Converts a batch to an Arrow table: one row per event, with the columns of all tabular formats."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import attrs
import pyarrow as pa
from rigatoni_bson.accelerator import Accelerator, documents_for
from rigatoni_bson.columns import COLUMNS, EventColumns, Kind
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.texts import ColumnTexts
from rigatoni_bson.writing import CHUNK
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError

from rigatoni_arrow.buffers import TEXT, TYPES, Types, accelerated, completed, is_known
from rigatoni_arrow.documents import Documents
from rigatoni_arrow.inference import Findings
from rigatoni_arrow.nested_schema import REST, Nesting

_DOCUMENTS = (Kind.TOKEN, Kind.DOCUMENT)


def table_of(events: EventBatch, texts: ColumnTexts, nesting: Nesting | None) -> tuple[pa.Table, Types]:
    """Return the events as a table, and the types of its nested columns. Raises `RejectedEventsError`."""
    parts = (_Part.of(events, places, nesting) for places in _chunks(events))
    types: Types = {}
    if nesting:
        if nesting.schema is None:  # the types are known once all documents were inspected
            parts = _drained(deque(parts))
        types = nesting.types()
    tables: list[pa.Table] = []
    errors: dict[int, Exception] = {}
    for part in parts:
        tables.append(part.table(texts, types))
        errors |= part.errors()
    return _whole(tables, errors), types


def accelerated_table_of(
    events: EventBatch, texts: ColumnTexts, mode: str, nesting: Nesting | None, accelerator: Accelerator
) -> tuple[pa.Table, Types]:
    """Return the same with the accelerator. `texts` writes the documents that it leaves out, in `mode`."""
    types: Types = {}
    if nesting:
        if nesting.schema is None:
            found = accelerator.document_findings(*documents_for(events.whole), CHUNK)
            if found is None:
                return table_of(events, texts, nesting)
            nesting.take(*map(Findings.of, found))
        types = nesting.types()
        if not all(map(is_known, types.values())):
            return table_of(events, texts, nesting)
    tables: list[pa.Table] = []
    errors: dict[int, Exception] = {}
    for places in _chunks(events):
        chunk = events.part(places.start, places.stop)
        ordinals = events.orders().ordinals[places.start : places.stop]
        table, left = accelerated(accelerator, *documents_for(chunk), ordinals, mode, types)
        if left:
            part = _Part.of(events, [places[index] for index in left], nesting)
            table = completed(table, part.table(texts, types), left)
            errors |= part.errors()
        tables.append(table)
    return _whole(tables, errors), types


def _chunks(events: EventBatch) -> Iterator[range]:
    """Yield the segments to convert together. They determine the ends of pages, and so the bytes, in both ways."""
    return (range(start, min(start + CHUNK, len(events))) for start in range(0, len(events) or 1, CHUNK))


def _whole(tables: list[pa.Table], errors: dict[int, Exception]) -> pa.Table:
    if errors:
        raise RejectedEventsError(errors, remedy=MalformedEventError.default_remedy)
    return pa.concat_tables(tables)


@attrs.frozen
class _Part:
    """The events at some places of a batch. `documents` are those of the nested columns."""

    places: Sequence[int]
    columns: EventColumns
    documents: Mapping[str, Documents]

    @classmethod
    def of(cls, events: EventBatch, places: Sequence[int], nesting: Nesting | None) -> "_Part":
        if isinstance(places, range):
            raws = events.part(places.start, places.stop).copies()
        else:
            raws = [bytes(events.raw(index)) for index in places]
        ordinals = events.orders().ordinals
        columns = EventColumns.of_raw(raws, [ordinals[place] for place in places])
        return cls(places, columns, nesting.documents(columns) if nesting else {})

    def table(self, texts: ColumnTexts, types: Types) -> pa.Table:
        """Return these events as a table. Damaged documents are rejected in `columns`."""
        arrays: dict[str, pa.Array | pa.ChunkedArray] = {}
        for name, kind in ((column.name, column.kind) for column in COLUMNS):
            values = self.columns.values[name]
            if kind not in _DOCUMENTS:
                arrays[name] = pa.array(_milliseconds(values) if kind is Kind.SECONDS else values, TYPES[kind])
            elif name not in self.documents:
                arrays[name] = pa.array(texts.write(self.columns, name), TEXT)
            else:
                if (struct := types[name]) is not None:
                    arrays[name], self.columns.values[name] = self.documents[name].split(struct)
                arrays[name + REST] = pa.array(texts.write(self.columns, name), TEXT)
        return pa.table(arrays)

    def errors(self) -> dict[int, Exception]:
        """Return the errors by index in the batch."""
        return {self.places[index]: error for index, error in self.columns.errors.items()}


def _drained(parts: deque[_Part]) -> Generator[_Part]:
    """Yield each part once, and keep no reference to those already yielded."""
    while parts:
        yield parts.popleft()


def _milliseconds(seconds: Sequence[int | None]) -> list[Any]:
    return [None if value is None else value * 1000 for value in seconds]
