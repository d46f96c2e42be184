"""Converts change events to columns, the same for every tabular format, without decoding documents.

The top-level fields of change events are documented in the MongoDB manual, "Change Events". A field is in its column if
its BSON type is the documented one. Everything else is in the document `unknown_fields`, as raw bytes: fields of newer
servers, repeated fields, fields of another type, and times that readers of tables cannot represent. So the columns of
an event contain all of its data.
"""

import enum
from collections.abc import Sequence
from typing import Any, Final

import attrs
from rigatoni_core.api.errors import RejectedEventsError

from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.fields import NULL, WIDTH, Row, row_of, values_of
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.modes import Canonical

__all__ = ["COLUMNS", "FIELDS", "NULL", "Column", "EventColumns", "Kind"]


class Kind(enum.Enum):
    """The kind of a column's values. None represents a field that the event does not have."""

    TOKEN = "the bytes of a document"  # noqa: S105
    DOCUMENT = "the bytes of a document, or NULL for a field that is there and null"
    TEXT = "str"
    INTEGER = "int"
    SECONDS = "int, seconds since the epoch (UTC), from 0 to 2**32 - 1"
    MILLISECONDS = "int, milliseconds since the epoch (UTC), within the years 1 to 9999"


@attrs.frozen
class Column:
    """A column that every table of change events contains, with this name and at this place."""

    name: str
    kind: Kind
    meaning: str


COLUMNS: Final = (
    Column("resume_token", Kind.TOKEN, "MongoDB's position of the event (`_id`), unique"),
    Column("operation", Kind.TEXT, "What happened: `insert`, `update`, `replace`, `delete`, `drop`, ..."),
    Column("database", Kind.TEXT, "The database"),
    Column("collection", Kind.TEXT, "The collection; null where the event is about the whole database"),
    Column("cluster_time", Kind.SECONDS, "When the change was made, by the cluster's clock, to the second"),
    Column("cluster_time_increment", Kind.INTEGER, "The order within that second, from 1; it restarts each second"),
    Column("wall_time", Kind.MILLISECONDS, "When the change was made, by the server's clock (MongoDB 6.0 and newer)"),
    Column("document_key", Kind.DOCUMENT, "The `_id` of the changed document, and its shard key if it has one"),
    Column("full_document", Kind.DOCUMENT, "The document after the change; JSON `null` where a look-up found it gone"),
    Column("full_document_before_change", Kind.DOCUMENT, "The document before the change, where it is recorded"),
    Column("update_description", Kind.DOCUMENT, "What an update changed: fields updated and removed, arrays truncated"),
    Column("lsid", Kind.DOCUMENT, "The session of the transaction that the event belongs to"),
    Column("txn_number", Kind.INTEGER, "The number of that transaction within its session"),
    Column("unknown_fields", Kind.DOCUMENT, "Every other field of the event, in one document"),
    Column("ordinal", Kind.INTEGER, "The order among the events of one cluster time, from 0; a transaction shares one"),
)
"""The columns of all tabular formats. `ordinal` is last, so that readers by position can still read older files."""

FIELDS: Final = COLUMNS[:-1]
"""The columns whose values are in the event's bytes. Its ordinal depends on the events before it."""

_WALKER = Walker(Canonical())


@attrs.define(eq=False)
class EventColumns:
    """The events `raws` as columns: `values` contains one value per event for each name in `COLUMNS`.

    An event whose bytes are not BSON is in `errors` by its index, and its values are None. Only the top level of an
    event is checked here. Code that reads a nested document checks its bytes, and calls `reject` for damaged ones.
    """

    raws: Sequence[bytes]
    values: dict[str, Sequence[Any]]
    errors: dict[int, MalformedEventError]

    @classmethod
    def of_raw(cls, raws: Sequence[bytes], ordinals: Sequence[int]) -> "EventColumns":
        """Return the columns of these raw events, with one pass over each; `ordinals` has the ordinal of each."""
        rows: list[Row] = []
        errors: dict[int, MalformedEventError] = {}
        for index, raw in enumerate(raws):
            try:
                rows.append(row_of(raw))
            except MalformedEventError as error:
                errors[index] = error
                rows.append([None] * WIDTH)
        values = values_of(rows)
        columns = {column.name: values[column.name] for column in FIELDS}
        return cls(raws, columns | {"ordinal": ordinals}, errors)

    def reject(self, index: int, error: MalformedEventError) -> None:
        """Record that event `index` cannot be written. This computes the place of the error's bytes in the event."""
        try:
            _WALKER.line(self.raws[index])
        except MalformedEventError as whole:
            error = whole
        self.errors.setdefault(index, error)

    def check(self, places: Sequence[int] | None = None) -> None:
        """Raise `RejectedEventsError`, which names all malformed events at once, if there are any.

        `places` are the indices of these events in their batch, if they are not the whole batch.
        """
        if self.errors:
            errors = {places[index] if places else index: error for index, error in self.errors.items()}
            raise RejectedEventsError(errors, remedy=MalformedEventError.default_remedy)
