"""Converts a row of the common columns back to the event's bytes, to prove that a table has lost nothing."""

import struct
from collections.abc import Mapping
from typing import Any

from rigatoni_bson.columns import COLUMNS, Kind
from rigatoni_bson.elements import elements
from rigatoni_bson.testing.reading import bson_document, bson_string, document_of

_FIELDS = {
    "resume_token": b"_id",
    "document_key": b"documentKey",
    "full_document": b"fullDocument",
    "full_document_before_change": b"fullDocumentBeforeChange",
    "update_description": b"updateDescription",
    "lsid": b"lsid",
}

Element = tuple[bytes, int, bytes]
"""An element's name, its BSON type, the bytes of its value."""


def elements_of_event(raw: bytes) -> list[Element]:
    """Return the top-level elements of a raw event, sorted, because tables do not keep their order."""
    return sorted((name, kind, raw[value:after]) for kind, name, value, after in elements(raw))


def elements_of_row(row: Mapping[str, Any]) -> list[Element]:
    """Return the same for a row with every column of `COLUMNS`: documents as canonical text, times as numbers."""
    assert list(row) == [column.name for column in COLUMNS]
    rest = elements_of_event(document_of(row["unknown_fields"])) if row["unknown_fields"] is not None else []
    found = list(rest)
    for name, kind in ((column.name, column.kind) for column in COLUMNS):
        if row[name] is None:
            continue
        if name in _FIELDS:
            assert kind in (Kind.TOKEN, Kind.DOCUMENT)
            null = row[name] in ("null", b"null")
            found.append((_FIELDS[name], 0x0A, b"") if null else (_FIELDS[name], 0x03, document_of(row[name])))
        elif name == "operation":
            found.append((b"operationType", 0x02, bson_string(row[name].encode())))
        elif name == "cluster_time":
            found.append((b"clusterTime", 0x11, struct.pack("<II", row["cluster_time_increment"], row[name])))
        elif name == "wall_time":
            found.append((b"wallTime", 0x09, struct.pack("<q", row[name])))
        elif name == "txn_number":
            found.append((b"txnNumber", 0x12, struct.pack("<q", row[name])))
    names = [(b"db", row["database"]), (b"coll", row["collection"])]
    namespace = bson_document((name, 0x02, bson_string(text.encode())) for name, text in names if text is not None)
    if row["database"] is not None and not any((name, kind) == (b"ns", 0x03) for name, kind, _ in rest):
        found.append((b"ns", 0x03, namespace))
    return sorted(found)
