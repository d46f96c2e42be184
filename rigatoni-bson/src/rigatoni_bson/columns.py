"""Change events as columns, for every format that writes tables: one vocabulary, found without decoding anything.

The top-level fields of change events are those of the MongoDB manual, "Change Events". A field is in its column when
its BSON type is the documented one; whatever no column can say stays, as raw bytes, in the document `unknown_fields`:
fields of newer servers, repeated fields, fields of another type. So the columns of an event hold all of it.
"""

import enum
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import attrs
from rigatoni_core.batch import EventBatch
from rigatoni_core.errors import RejectedEventsError

from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.walking import elements, size_of


class Kind(enum.Enum):
    """What a column holds; None stands for a field that the event does not have."""

    TOKEN = "the bytes of a document"  # noqa: S105
    DOCUMENT = "the bytes of a document, or NULL for a field that is there and null"
    TEXT = "str"
    INTEGER = "int"
    SECONDS = "int, seconds since the epoch (UTC)"
    MILLISECONDS = "int, milliseconds since the epoch (UTC), any 64-bit number"


@attrs.frozen
class Column:
    """A column that every table of change events has, under this name, in this order."""

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
)
"""The vocabulary of all tabular formats."""

NULL: Final = b"\x0a"
"""In the place of a document: the field is there, and null. The bytes of no document are ever these."""

_LENGTH = struct.Struct("<I").unpack_from
_SIZES = {0x02: (True, 4), 0x03: (True, 0), 0x09: (False, 8), 0x0A: (False, 0), 0x11: (False, 8), 0x12: (False, 8)}
"""Types of the fields -> whether a value says its length, and how many bytes it has (besides)."""
_FIELDS = (
    *((b"_id", 0x03), (b"operationType", 0x02), (b"ns", 0x03), (b"clusterTime", 0x11), (b"wallTime", 0x09)),
    *((b"documentKey", 0x03), (b"fullDocument", 0x03), (b"fullDocumentBeforeChange", 0x03)),
    *((b"updateDescription", 0x03), (b"lsid", 0x03), (b"txnNumber", 0x12)),
)
_OPERATION, _NAMESPACE, _UNKNOWN = 1, 2, len(_FIELDS)
_NULLABLE = (b"documentKey", b"fullDocument", b"fullDocumentBeforeChange", b"updateDescription", b"lsid")
_HEADS = {b"%c%b\0" % (kind, name): (slot, *_SIZES[kind]) for slot, (name, kind) in enumerate(_FIELDS)}
_HEADS |= {b"\x0a%b\0" % name: (slot, *_SIZES[0x0A]) for slot, (name, _) in enumerate(_FIELDS) if name in _NULLABLE}
"""How an element begins (its type and name) -> the field's place in a row, and its entry in `_SIZES`."""
_OTHER = (_UNKNOWN, False, 0)

Row = list[Any]
"""An event's fields as raw bytes, in the order of `_FIELDS`, then a list of its other elements (or None)."""


@attrs.define(eq=False)
class EventColumns:
    """The events `raws` as columns: `values` holds, under each name of `COLUMNS`, one value per event.

    An event whose bytes are not BSON is in `errors`, by its index, and its values are None. Only an event's own frame
    and its scalars are looked at here: whoever reads a document within finds out about its bytes, and says `reject`.
    """

    raws: Sequence[bytes]
    values: dict[str, Sequence[Any]]
    errors: dict[int, MalformedEventError]

    @classmethod
    def of(cls, events: EventBatch) -> "EventColumns":
        """The columns of a batch."""
        data, base = events.documents.tobytes(), events.offsets[0]
        return cls.of_raw([data[start - base : end - base] for start, end in pairwise(events.offsets)])

    @classmethod
    def of_raw(cls, raws: Sequence[bytes]) -> "EventColumns":
        """The columns of these raw events, one pass over each."""
        rows: list[Row] = []
        errors: dict[int, MalformedEventError] = {}
        for index, raw in enumerate(raws):
            try:
                rows.append(_row(raw))
            except MalformedEventError as error:
                errors[index] = error
                rows.append([None] * (_UNKNOWN + 1))
        return cls(raws, _columns(rows), errors)

    def reject(self, index: int, error: MalformedEventError) -> None:
        """Note that event `index` can not be written; the first reason stays."""
        self.errors.setdefault(index, error)

    def check(self) -> None:
        """Raise `RejectedEventsError`, which names all malformed events at once, if there are any."""
        if self.errors:
            raise RejectedEventsError(self.errors, remedy=MalformedEventError.default_remedy)


def _row(raw: bytes) -> Row:
    """The fields of one event. Raises `MalformedEventError`."""
    row: Row = [None] * (_UNKNOWN + 1)
    position, end = 4, len(raw) - 1
    if end < 4 or raw[end] or int.from_bytes(raw[:4], "little") != len(raw):
        raise MalformedEventError("the event does not have the length that it says, or does not end in zero", 0)
    try:
        while position < end:
            value = raw.index(0, position + 1) + 1
            slot, long, size = _HEADS.get(raw[position:value], _OTHER)
            if slot != _UNKNOWN and row[slot] is None:
                after = value + size + _LENGTH(raw, value)[0] if long else value + size
                row[slot] = raw[value:after] if long or size else NULL
            else:
                after = value + size_of(raw, raw[position], value)
                _keep(row, raw[position:after])
            position, before = after, position
    except (ValueError, IndexError, struct.error):
        raise MalformedEventError("a field is cut off or impossible", position) from None
    if position != end:
        raise MalformedEventError("a field reaches beyond the event", before)
    return row


def _keep(row: Row, element: bytes) -> None:
    """Keep an element that no column says, or not all of it."""
    row[_UNKNOWN] = [*(row[_UNKNOWN] or ()), element]


def _columns(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * (_UNKNOWN + 1)
    token, operation, namespace, cluster, wall, key, after, before, update, lsid, number, unknown = columns
    operations = {value: _text(value) for value in set(operation) - {None}}
    namespaces = {value: _namespace(value) for value in set(namespace) - {None}}
    odd = {value for value, text in operations.items() if text is None}
    odd_namespaces = {value for value, (_, _, whole) in namespaces.items() if not whole}
    if odd or odd_namespaces:
        for row in rows:
            if row[_OPERATION] in odd:
                _keep(row, b"\x02operationType\0" + row[_OPERATION])
            if row[_NAMESPACE] in odd_namespaces:
                _keep(row, b"\x03ns\0" + row[_NAMESPACE])
        unknown = [row[_UNKNOWN] for row in rows]
    operations[None], namespaces[None] = None, (None, None, True)
    times = _unpacked(cluster, "<II", (None, None))
    places = [namespaces[value] for value in namespace]
    found = {
        "resume_token": token,
        "operation": [operations[value] for value in operation],
        "database": [database for database, _, _ in places],
        "collection": [collection for _, collection, _ in places],
        "cluster_time": [seconds for _, seconds in times],
        "cluster_time_increment": [increment for increment, _ in times],
        "wall_time": [value for (value,) in _unpacked(wall, "<q", (None,))],
        "document_key": key,
        "full_document": after,
        "full_document_before_change": before,
        "update_description": update,
        "lsid": lsid,
        "txn_number": [value for (value,) in _unpacked(number, "<q", (None,))],
        "unknown_fields": [None if parts is None else _document(parts) for parts in unknown],
    }
    return {column.name: found[column.name] for column in COLUMNS}


def _document(parts: Sequence[bytes]) -> bytes:
    """A document of these elements."""
    body = b"".join(parts)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _unpacked(column: Sequence[bytes | None], layout: str, absent: tuple[None, ...]) -> list[tuple[Any, ...]]:
    values = struct.iter_unpack(layout, b"".join(filter(None, column)))
    return [absent if value is None else next(values) for value in column]


def _text(value: bytes) -> str | None:
    """A BSON string as text; None where it is none that a column can hold."""
    if len(value) < 5 or int.from_bytes(value[:4], "little") != len(value) - 4 or value[-1]:
        return None
    try:
        text = value[4:-1].decode()
    except UnicodeDecodeError:
        return None
    return text if "\0" not in text else None  # tables can not hold it


def _namespace(value: bytes) -> tuple[str | None, str | None, bool]:
    """The database and collection of a namespace document, and whether these two say all of it."""
    names: dict[bytes, str | None] = {}
    parts = []
    try:
        for kind, name, start, after in elements(value):
            if kind == 0x02 and name in (b"db", b"coll") and name not in names:
                names[name] = _text(value[start:after])
                parts.append(b"\x02%b\0%b" % (name, value[start:after]))
    except ValueError:
        parts.clear()
    whole = list(names) in ([b"db"], [b"db", b"coll"]) and None not in names.values() and _document(parts) == value
    return names.get(b"db"), names.get(b"coll"), whole
