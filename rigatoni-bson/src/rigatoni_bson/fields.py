"""Reads the top-level fields of raw events in one pass over each event, without decoding them.

A row contains a field's raw bytes if its BSON type is the documented one. All other fields are kept as whole elements.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

from rigatoni_bson.elements import elements, size_of
from rigatoni_bson.errors import MalformedEventError

NULL: Final = b"\x0a"
"""Represents a document field that is present and null. No document has these bytes."""

_LENGTH = struct.Struct("<I").unpack_from
_SIZES = {0x02: (True, 4), 0x03: (True, 0), 0x09: (False, 8), 0x0A: (False, 0), 0x11: (False, 8), 0x12: (False, 8)}
"""For each type of the fields: whether a value has a length field, and its size (in addition) in bytes."""
_FIELDS = (
    *((b"_id", 0x03), (b"operationType", 0x02), (b"ns", 0x03), (b"clusterTime", 0x11), (b"wallTime", 0x09)),
    *((b"documentKey", 0x03), (b"fullDocument", 0x03), (b"fullDocumentBeforeChange", 0x03)),
    *((b"updateDescription", 0x03), (b"lsid", 0x03), (b"txnNumber", 0x12)),
)
_OPERATION, _NAMESPACE, _WALL_TIME, _UNKNOWN = 1, 2, 4, len(_FIELDS)
WIDTH: Final = _UNKNOWN + 1
"""The number of entries of a row."""
_YEAR_1, _YEAR_10000 = -62_135_596_800_000, 253_402_300_800_000
_NULLABLE = (b"documentKey", b"fullDocument", b"fullDocumentBeforeChange", b"updateDescription", b"lsid")


def _head(slot: int) -> bytes:
    """Return the first bytes of this field's element: its type and name."""
    name, kind = _FIELDS[slot]
    return b"%c%b\0" % (kind, name)


_HEADS = {_head(slot): (slot, *_SIZES[kind]) for slot, (_, kind) in enumerate(_FIELDS)}
_HEADS |= {b"\x0a%b\0" % name: (slot, *_SIZES[0x0A]) for slot, (name, _) in enumerate(_FIELDS) if name in _NULLABLE}
"""For the first bytes of an element (its type and name): the field's place in a row, and its entry in `_SIZES`."""
_OTHER = (_UNKNOWN, False, 0)

Row = list[Any]
"""An event's fields as raw bytes, in the order of `_FIELDS`, then a list of its other elements (or None)."""


def row_of(raw: bytes) -> Row:
    """Return the fields of one event. Raises `MalformedEventError`."""
    row: Row = [None] * WIDTH
    position, end = 4, len(raw) - 1
    if end < 4 or raw[end] or int.from_bytes(raw[:4], "little") != len(raw):
        raise MalformedEventError("the event does not have its declared size, or does not end with a zero", 0)
    try:
        while position < end:
            value = raw.index(0, position + 1) + 1
            slot, long, size = _HEADS.get(raw[position:value], _OTHER)
            if slot != _UNKNOWN and row[slot] is None:
                after = value + size + _LENGTH(raw, value)[0] if long else value + size
                row[slot] = raw[value:after] if long or size else NULL
            else:
                after = value + size_of(raw, raw[position], value)
                if slot == _NAMESPACE and not _keeps_namespace(row):
                    _keep(row, _head(slot) + row[slot])
                _keep(row, raw[position:after])
            position, before = after, position
    except (ValueError, IndexError, struct.error):
        raise MalformedEventError("a field is incomplete or invalid", position) from None
    if position != end:
        raise MalformedEventError("a field extends beyond the event", before)
    return row


def _keep(row: Row, element: bytes) -> None:
    """Keep an element that no column represents completely."""
    if row[_UNKNOWN] is None:
        row[_UNKNOWN] = []
    row[_UNKNOWN].append(element)


def _keeps_namespace(row: Row) -> bool:
    """Return whether a namespace is kept. Then all are, because columns cannot tell which of two they represent."""
    return any(element.startswith(_head(_NAMESPACE)) for element in row[_UNKNOWN] or ())


def values_of(rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """Return these rows as columns with the names of `rigatoni_bson.columns`."""
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * WIDTH
    token, operation, namespace, cluster, wall, key, after, before, update, lsid, number, unknown = columns
    operations = {value: _text(value) for value in set(operation) - {None}}
    namespaces = {value: _namespace(value) for value in set(namespace) - {None}}
    walls = [value for (value,) in _unpacked(wall, "<q", (None,))]
    early_or_late = {row for row, value in enumerate(walls) if value is not None and not _YEAR_1 <= value < _YEAR_10000}
    odd = {
        _OPERATION: {value for value, text in operations.items() if text is None},
        _NAMESPACE: {value for value, (_, _, whole) in namespaces.items() if not whole},
        _WALL_TIME: {wall[row] for row in early_or_late},
    }
    if any(odd.values()):
        for row in rows:
            for slot, values in odd.items():
                if row[slot] in values and not (slot == _NAMESPACE and _keeps_namespace(row)):
                    _keep(row, _head(slot) + row[slot])
        unknown = [row[_UNKNOWN] for row in rows]
        walls = [None if row in early_or_late else value for row, value in enumerate(walls)]
    operations[None], namespaces[None] = None, (None, None, True)
    times = _unpacked(cluster, "<II", (None, None))
    places = [namespaces[value] for value in namespace]
    return {
        "resume_token": token,
        "operation": [operations[value] for value in operation],
        "database": [database for database, _, _ in places],
        "collection": [collection for _, collection, _ in places],
        "cluster_time": [seconds for _, seconds in times],
        "cluster_time_increment": [increment for increment, _ in times],
        "wall_time": walls,
        "document_key": key,
        "full_document": after,
        "full_document_before_change": before,
        "update_description": update,
        "lsid": lsid,
        "txn_number": [value for (value,) in _unpacked(number, "<q", (None,))],
        "unknown_fields": [None if parts is None else _document(parts) for parts in unknown],
    }


def _document(parts: Sequence[bytes]) -> bytes:
    """Return a document of these elements."""
    body = b"".join(parts)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _unpacked(column: Sequence[bytes | None], layout: str, absent: tuple[None, ...]) -> list[tuple[Any, ...]]:
    values = struct.iter_unpack(layout, b"".join(filter(None, column)))
    return [absent if value is None else next(values) for value in column]


def _text(value: bytes) -> str | None:
    """Return a BSON string as text; None if a column cannot hold it."""
    if len(value) < 5 or int.from_bytes(value[:4], "little") != len(value) - 4 or value[-1]:
        return None
    try:
        text = value[4:-1].decode()
    except UnicodeDecodeError:
        return None
    return text if "\0" not in text else None  # tables cannot hold it


def _namespace(value: bytes) -> tuple[str | None, str | None, bool]:
    """Return the database and collection of a namespace document, and whether it contains nothing else."""
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
