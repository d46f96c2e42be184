"""The serializer `csv`."""

import string
from collections.abc import Iterator
from typing import Annotated, Literal

import attrs
from rigatoni_bson.accelerator import Accelerator, completed, documents_for, find_accelerator
from rigatoni_bson.columns import COLUMNS, EventColumns, Kind
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.texts import ColumnTexts
from rigatoni_bson.writing import pieces_of
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Piecewise, Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.orders import Integers
from rigatoni_core.api.segments import Segment

from rigatoni_csv.cells import Cells

_END = b"\r\n"


@attrs.define(kw_only=True, eq=False)
class CsvSerializer(Serializer, Piecewise):
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

    accepts = frozenset({"bson"})
    media_type = "text/csv"
    suffix = ".csv"
    columns = tuple(column.name for column in COLUMNS)

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
        return b"".join(self.pieces(events))

    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """The header, then the rows of some hundred events after those of some hundred others."""
        if self.header:
            yield self._delimiter.join(column.name.encode() for column in COLUMNS) + _END
        malformed: dict[int, Exception] = {}
        ordinals = events.orders().ordinals
        for first, piece in pieces_of(events):
            rows, wrong = self._rows(piece, ordinals[first : first + len(piece)])
            malformed |= {first + index: error for index, error in wrong.items()}
            yield rows
        if malformed:
            raise RejectedEventsError(malformed, remedy=MalformedEventError.default_remedy)

    def _rows(self, events: Segment, ordinals: Integers) -> tuple[bytes, dict[int, MalformedEventError]]:
        """A row for each event, and what is wrong with which of them; a malformed one's row has no meaning."""
        if self._accelerator is None:
            columns = EventColumns.of_raw(events.copies(), ordinals)
            return b"".join(self._written(columns)), columns.errors
        text, left = self._accelerator.csv_rows(
            *documents_for(events), ordinals, self.mode, self._delimiter, self.null.encode(), self.spreadsheet_safe
        )
        if not left:
            return text, {}
        places = [index for index, _ in left]
        columns = EventColumns.of_raw(
            [bytes(events.raw(index)) for index in places], [ordinals[index] for index in places]
        )
        rows = self._written(columns)
        return completed(text, left, rows), {places[index]: error for index, error in columns.errors.items()}

    def _written(self, columns: EventColumns) -> list[bytes]:
        """The row of each event; malformed ones are rejected in `columns`."""
        cells = []
        for column in COLUMNS:
            document = column.kind in (Kind.TOKEN, Kind.DOCUMENT)
            values = self._texts.write(columns, column.name) if document else columns.values[column.name]
            cells.append(self._cells.column(values, column.kind))
        return [self._delimiter.join(row) + _END for row in zip(*cells, strict=True)]
