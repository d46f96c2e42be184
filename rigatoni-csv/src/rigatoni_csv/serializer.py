"""The serializer `csv`."""

import string
from collections.abc import Iterator
from typing import Annotated, Literal

import attrs
from rigatoni_bson.columns import COLUMNS
from rigatoni_bson.csv_rows import END, CsvRows
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Piecewise, Serializer


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
    _rows: CsvRows = attrs.field(init=False, repr=False)

    accepts = frozenset({"bson"})
    media_type = "text/csv"
    suffix = ".csv"
    columns = tuple(column.name for column in COLUMNS)

    def __attrs_post_init__(self) -> None:
        if wrong := set(self.null) & {'"', "\r", "\n", self.delimiter, *string.digits}:
            raise ValueError(
                f"null contains {min(wrong)!r}; digits, quotes, line ends and the delimiter are not allowed"
            )
        self._rows = CsvRows(
            self.mode,
            delimiter=self.delimiter.encode(),
            null=self.null.encode(),
            spreadsheet_safe=self.spreadsheet_safe,
        )

    def serialize(self, events: EventBatch) -> bytes:
        """Return all events of the batch as rows that end with CR LF, after the header if it is enabled."""
        return b"".join(self.pieces(events))

    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """Yield the header, then the rows of a few hundred events at a time."""
        if self.header:
            yield self.delimiter.encode().join(column.name.encode() for column in COLUMNS) + END
        yield from self._rows.pieces(events)
