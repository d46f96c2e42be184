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

    Documents are JSON texts in their cells. Fields without a column are in `unknown_fields`. Only an event whose bytes
    are not BSON is rejected (`RejectedEventsError`).

    Raises:
        ValueError: `null` could be confused with a value.
    """

    mode: Annotated[
        Literal["relaxed", "canonical", "plain"],
        "Documents as Extended JSON v2 `relaxed` (readable) or `canonical` (lossless), or as `plain` JSON",
    ] = "relaxed"
    header: Annotated[bool, "Whether each file starts with a row of column names"] = True
    delimiter: Annotated[Literal[",", ";", "\t", "|"], "Delimiter between cells"] = ","
    null: Annotated[str, "Cell of a field that the event does not have, never in quotes (PostgreSQL: `\\N`)"] = ""
    spreadsheet_safe: Annotated[
        bool, "Whether to put an apostrophe before text that a spreadsheet would evaluate as a formula"
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
            raise ValueError(
                f"null contains {min(wrong)!r}; digits, quotes, line ends and the delimiter are not allowed"
            )
        self._texts = ColumnTexts(self.mode)
        self._cells = Cells(self.null.encode(), self.spreadsheet_safe)

    @property
    def _delimiter(self) -> bytes:
        return self.delimiter.encode()

    def serialize(self, events: EventBatch) -> bytes:
        """Return all events of the batch as rows that end with CR LF, after the header if it is enabled."""
        return b"".join(self.pieces(events))

    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """Yield the header, then the rows of a few hundred events at a time."""
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
        """Return a row for each event, and errors by index. The row of a malformed event is meaningless."""
        if self._accelerator is None:
            columns = EventColumns.of_raw(events.copies(), ordinals)
            return b"".join(self._pure_rows(columns)), columns.errors
        text, left = self._accelerator.csv_rows(
            *documents_for(events), ordinals, self.mode, self._delimiter, self.null.encode(), self.spreadsheet_safe
        )
        if not left:
            return text, {}
        places = [index for index, _ in left]
        columns = EventColumns.of_raw(
            [bytes(events.raw(index)) for index in places], [ordinals[index] for index in places]
        )
        rows = self._pure_rows(columns)
        return completed(text, left, rows), {places[index]: error for index, error in columns.errors.items()}

    def _pure_rows(self, columns: EventColumns) -> list[bytes]:
        """Return a row for each event. Malformed events are rejected in `columns`."""
        cells = []
        for column in COLUMNS:
            document = column.kind in (Kind.TOKEN, Kind.DOCUMENT)
            values = self._texts.write(columns, column.name) if document else columns.values[column.name]
            cells.append(self._cells.column(values, column.kind))
        return [self._delimiter.join(row) + _END for row in zip(*cells, strict=True)]
