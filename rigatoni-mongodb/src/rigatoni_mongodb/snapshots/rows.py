"""Rows: raw documents of a collection as raw change events with the operation `read`, made without decoding them.

The event of a row has the fields of a change event, in this order:

    {_id: {snapshot: "shop.orders#3", document: <_id>}, operationType: "read", clusterTime: T,
     ns: {db: "shop", coll: "orders"}, documentKey: {_id: <_id>}, fullDocument: <the document>}

Its `_id` names the snapshot and the document, not the reading. It has no `wallTime`, since no change happened.
"""

import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import attrs
import bson
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_bson.accelerator import documents_for, find_accelerator
from rigatoni_bson.elements import elements, size_of
from rigatoni_core.api.events import Namespace, Timestamp
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.snapshots.bounds import with_id

_SIZE = struct.Struct("<i").pack
_TIMESTAMP = struct.Struct("<II").pack
_ACCELERATOR = find_accelerator()

_FIXED = {0x07: 12, 0x10: 4, 0x12: 8}
"""The sizes of the most frequent types of `_id`: ObjectId, and integers of 32 and 64 bits."""


@attrs.frozen
class RowShape:
    """What all rows of one reading share.

    Attributes:
        snapshot: The snapshot's name.
        namespace: The collection's name at the time of the rows.
        at: The cluster time of the rows.
        operation: The operation of the rows.
        shard_key: The fields of `documentKey`, as paths; `_id` is always one of them.
    """

    snapshot: str
    namespace: Namespace
    at: Timestamp
    operation: str = "read"
    shard_key: Sequence[str] = ("_id",)

    @property
    def time(self) -> BsonTimestamp:
        """The cluster time of the rows as a BSON value."""
        return BsonTimestamp(self.at.seconds, self.at.increment)

    @property
    def names(self) -> dict[str, str]:
        """The namespace as events have it."""
        return {"db": self.namespace.database, "coll": str(self.namespace.collection)}

    @property
    def name_element(self) -> bytes:
        """The first element of the `_id` of a row."""
        return _elements({"snapshot": self.snapshot})

    @property
    def shared_elements(self) -> bytes:
        """The elements of a row between its `_id` and its `documentKey`."""
        return _elements({"operationType": self.operation, "clusterTime": self.time, "ns": self.names})


def _elements(document: dict[str, Any]) -> bytes:
    """Return the elements of a document, without its size and its last zero."""
    return bson.encode(document)[4:-1]


def rows_of(documents: Segment, shape: RowShape) -> Segment:
    """Return the documents as rows.

    Raises:
        ValueError: A document has no `_id`.
    """
    if _ACCELERATOR is not None and tuple(shape.shard_key) == ("_id",):
        content = documents_for(documents)
        made = _ACCELERATOR.snapshot_rows(*content, shape.name_element, shape.shared_elements)
        if made is not None:
            return Segment(memoryview(made[0]), array("Q", made[1]))
    return _pure_rows_of(documents, shape)


def _pure_rows_of(documents: Segment, shape: RowShape) -> Segment:
    """Return the documents as rows, without the accelerator. See `rows_of`."""
    buffer, base = documents.documents.tobytes(), documents.offsets[0]
    fields = None if tuple(shape.shard_key) == ("_id",) else shape.shard_key
    templates: dict[tuple[int, int], tuple[bytes, int]] = {}  # by type and size of the _id
    rows = []
    for first, after in pairwise(documents.offsets):
        start = first - base
        kind, value = _id(buffer, start)
        key = b"" if fields is None else _key(buffer, start, fields)
        known = templates.get((kind, len(value))) if fields is None else None
        if known is None:
            known = templates[kind, len(value)] = _template(shape, kind, value, key)
        template, size = known
        content = (_SIZE(size + after - first), value, value, buffer[start : after - base])
        rows.append(template % (content if fields is None else (*content[:2], content[3])))
    return Segment(memoryview(b"".join(rows)), array("Q", accumulate(map(len, rows), initial=0)))


def _template(shape: RowShape, kind: int, value: bytes, key: bytes) -> tuple[bytes, int]:
    """Return a row as a template for its size, its `_id` (twice, unless there is a `key`) and its document.

    Also returns the size of a row without its document. One operation per row, since each takes as long as the rest.
    """
    name, rest = shape.name_element, shape.shared_elements
    id_head = b"\x03_id\0" + _SIZE(len(name) + len(value) + 15) + name + bytes((kind,)) + b"document\0"
    parts = [
        id_head,
        None,
        b"\0" + rest + b"\x03documentKey\0",
        *([key] if key else [_SIZE(len(value) + 10) + bytes((kind,)) + b"_id\0", None, b"\0"]),
        b"\x03fullDocument\0",
    ]
    size = 4 + sum(len(value) if part is None else len(part) for part in parts) + 1
    template = b"".join(b"%b" if part is None else part.replace(b"%", b"%%") for part in parts)
    return b"%b" + template + b"%b\0", size


def id_of_row(row: bytes) -> bytes:
    """Return the `_id` of a row's document as a raw document `{_id: value}`.

    Raises ValueError if the row has none: a stage of the source's pipeline has changed it.
    """
    for kind, key, value, _ in elements(row):
        if key == b"_id" and kind == 0x03:
            for inner, name, begin, after in elements(row, value):
                if name == b"document":
                    return with_id(inner, row[begin:after])
    raise ValueError("a row without its document's _id")


def with_time(row: bytes, at: Timestamp) -> bytes:
    """Return the row with this cluster time, if it has one: a stage of the pipeline may have removed it."""
    for kind, key, value, after in elements(row):
        if key == b"clusterTime" and kind == 0x11:
            return row[:value] + _TIMESTAMP(at.increment, at.seconds) + row[after:]
    return row


def _id(data: bytes, start: int) -> tuple[int, bytes]:
    """Return type and bytes of the document's `_id`, which servers store as the first field."""
    if data[start + 5 : start + 9] == b"_id\0":
        kind = data[start + 4]
        return kind, data[start + 9 : start + 9 + (_FIXED.get(kind) or size_of(data, kind, start + 9))]
    for kind, key, value, after in elements(data, start):
        if key == b"_id":
            return kind, data[value:after]
    raise ValueError("a document without an _id")


def _key(data: bytes, start: int, fields: Sequence[str]) -> bytes:
    """Return `documentKey` with these fields, without those that the document lacks, as servers do."""
    found = (_field(data, start, field.encode().split(b"."), field.encode()) for field in fields)
    content = b"".join(found)
    return _SIZE(len(content) + 5) + content + b"\0"


def _field(data: bytes, start: int, path: Sequence[bytes], name: bytes) -> bytes:
    """Return the element at this path with its dotted path as its name; empty if there is none."""
    for kind, key, value, after in elements(data, start):
        if key == path[0]:
            if len(path) == 1:
                return bytes((kind,)) + name + b"\0" + data[value:after]
            return _field(data, value, path[1:], name) if kind == 0x03 else b""
    return b""


def event_expression(shape: RowShape) -> dict[str, Any]:
    """Return the expression with which a server makes rows, as inserts, for the stages of the source's pipeline."""
    key: Any = {field: f"${field}" for field in shape.shard_key if "." not in field}
    for field in (field for field in shape.shard_key if "." in field):
        key = {"$setField": {"field": {"$literal": field}, "input": key, "value": f"${field}"}}
    return {
        "_id": {"snapshot": {"$literal": shape.snapshot}, "document": "$_id"},
        "operationType": {"$literal": "insert"},
        "clusterTime": {"$literal": shape.time},
        "ns": {name: {"$literal": text} for name, text in shape.names.items()},
        "documentKey": key,
        "fullDocument": "$$ROOT",
    }
