"""Writes events as CSV rows with the columns of all tabular formats: for files, and for databases that load CSV."""

from collections.abc import Iterator

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.orders import Integers
from rigatoni_core.api.segments import Segment

from rigatoni_bson.accelerator import completed, documents_for, find_accelerator
from rigatoni_bson.columns import COLUMNS, EventColumns, Kind
from rigatoni_bson.csv_cells import Cells
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.texts import ColumnTexts
from rigatoni_bson.writing import pieces_of

END = b"\r\n"
"""The end of a row (RFC 4180, section 2)."""


class CsvRows:
    """Writes events as rows (RFC 4180), with rigatoni-native if it is installed. Thread-safe.

    Args:
        mode: The JSON notation of documents: a name in `rigatoni_bson.modes.MODES`.
        delimiter: The delimiter between cells.
        null: The cell of an absent value.
        spreadsheet_safe: Whether to put an apostrophe before text that a spreadsheet would evaluate as a formula.
    """

    def __init__(
        self, mode: str, *, delimiter: bytes = b",", null: bytes = b"", spreadsheet_safe: bool = False
    ) -> None:
        self._mode = mode
        self._delimiter = delimiter
        self._null = null
        self._safe = spreadsheet_safe
        self._texts = ColumnTexts(mode)
        self._cells = Cells(null, spreadsheet_safe)
        self._accelerator = find_accelerator()

    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """Yield the rows of a few hundred events at a time.

        Raises:
            RejectedEventsError: After the last piece: names all events whose bytes are not BSON.
        """
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
            *documents_for(events), ordinals, self._mode, self._delimiter, self._null, self._safe
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
        return [self._delimiter.join(row) + END for row in zip(*cells, strict=True)]
