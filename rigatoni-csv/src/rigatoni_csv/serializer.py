"""The serializer `csv`."""

import string
from typing import Annotated, Literal

import attrs
from rigatoni_bson.accelerator import Accelerator, completed, documents_for, find_accelerator
from rigatoni_bson.columns import COLUMNS, EventColumns, Kind
from rigatoni_bson.texts import ColumnTexts
from rigatoni_core.batch import EventBatch
from rigatoni_core.contracts import Serializer

from rigatoni_csv.cells import Cells

_END = b"\r\n"


@attrs.define(kw_only=True, eq=False)
class CsvSerializer(Serializer):
    """CSV (RFC 4180), UTF-8: one row per change event, with the columns that all tabular formats share.

    Documents are JSON texts within their cells. Fields that no column stands for are in `unknown_fields`. An event
    whose bytes are not BSON is rejected (`RejectedEventsError`); all others can be written. Raises ValueError where
    `null` could be mistaken for a value.
    """

    mode: Annotated[
        Literal["relaxed", "canonical", "plain"],
        "Documents as Extended JSON v2 `relaxed` (readable) or `canonical` (lossless), or as `plain` JSON",
    ] = "relaxed"
    header: Annotated[bool, "Whether each file begins with a row of column names"] = True
    delimiter: Annotated[Literal[",", ";", "\t", "|"], "What stands between cells"] = ","
    null: Annotated[str, "The cell of a field that the event does not have, never in quotes (PostgreSQL: `\\N`)"] = ""
    spreadsheet_safe: Annotated[
        bool, "Whether a text that a spreadsheet would take for a formula gets an apostrophe in front"
    ] = False
    _texts: ColumnTexts = attrs.field(init=False, repr=False)
    _cells: Cells = attrs.field(init=False, repr=False)
    _accelerator: Accelerator | None = attrs.field(init=False, repr=False, factory=find_accelerator)

    media_type = "text/csv"
    suffix = ".csv"

    def __attrs_post_init__(self) -> None:
        if wrong := set(self.null) & {'"', "\r", "\n", self.delimiter, *string.digits}:
            raise ValueError(f"null holds {min(wrong)!r}; it must hold no digit, quote, line end or delimiter")
        self._texts = ColumnTexts(self.mode)
        self._cells = Cells(self.null.encode(), self.spreadsheet_safe)

    @property
    def _delimiter(self) -> bytes:
        return self.delimiter.encode()

    def serialize(self, events: EventBatch) -> bytes:
        """All events of the batch, each as one row that ends in CR LF, after the header if there is one."""
        head = self._delimiter.join(column.name.encode() for column in COLUMNS) + _END if self.header else b""
        if self._accelerator is None:
            columns = EventColumns.of(events)
            rows = self._rows(columns)
            columns.check()
            return b"".join([head, *rows])
        text, left = self._accelerator.csv_rows(
            *documents_for(events.buffer, events.offsets),
            self.mode,
            self._delimiter,
            self.null.encode(),
            self.spreadsheet_safe,
        )
        if left:
            columns = EventColumns.of_raw([bytes(events.raw(index)) for index, _ in left])
            text = completed(text, left, self._rows(columns))
            columns.check([index for index, _ in left])
        return head + text

    def _rows(self, columns: EventColumns) -> list[bytes]:
        """The row of each event; malformed ones are rejected in `columns`."""
        cells = []
        for column in COLUMNS:
            document = column.kind in (Kind.TOKEN, Kind.DOCUMENT)
            values = self._texts.write(columns, column.name) if document else columns.values[column.name]
            cells.append(self._cells.column(values, column.kind))
        return [self._delimiter.join(row) + _END for row in zip(*cells, strict=True)]
