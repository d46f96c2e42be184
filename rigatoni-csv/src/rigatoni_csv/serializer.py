"""The serializer `csv`."""

import string
from typing import Annotated, Literal

import attrs
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

    media_type = "text/csv"
    suffix = ".csv"

    def __attrs_post_init__(self) -> None:
        if wrong := set(self.null) & {'"', "\r", "\n", self.delimiter, *string.digits}:
            raise ValueError(f"null holds {min(wrong)!r}; it must hold no digit, quote, line end or delimiter")
        self._texts = ColumnTexts(self.mode)
        self._cells = Cells(self.null.encode(), self.spreadsheet_safe)

    def serialize(self, events: EventBatch) -> bytes:
        """All events of the batch, each as one row that ends in CR LF, after the header if there is one."""
        columns = EventColumns.of(events)
        cells = []
        for column in COLUMNS:
            document = column.kind in (Kind.TOKEN, Kind.DOCUMENT)
            values = self._texts.write(columns, column.name) if document else columns.values[column.name]
            cells.append(self._cells.column(values, column.kind))
        columns.check()
        delimiter = self.delimiter.encode()
        rows = [delimiter.join(column.name.encode() for column in COLUMNS)] if self.header else []
        rows += map(delimiter.join, zip(*cells, strict=True))
        return _END.join([*rows, b""])
