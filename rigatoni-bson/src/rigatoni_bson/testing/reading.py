"""Reads lines of `mode = "canonical"` back into the bytes that the server sent; and times.

Unlike Python's dict, it keeps repeated field names, and the order of all fields. For tests only.
"""

import json
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from bson.decimal128 import Decimal128


class Members(list[tuple[str, Any]]):
    """Return the names and values of a JSON object in order, including repeated names."""


def document_of(line: str | bytes) -> bytes:
    """Return the raw BSON document of a canonical line."""
    kind, value = _value(json.loads(line, object_pairs_hook=Members))
    assert kind == 0x03, "a line holds a document"
    return value


def bson_document(elements: Iterable[tuple[bytes, int, bytes]]) -> bytes:
    """Return a raw document of these elements (name, BSON type, bytes), without checking or reordering them."""
    body = b"".join(bytes([kind]) + name + b"\0" + value for name, kind, value in elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def bson_string(text: bytes) -> bytes:
    """Return the value bytes of a BSON string."""
    return struct.pack("<i", len(text) + 1) + text + b"\0"


def milliseconds_of(text: str) -> int:
    """Return milliseconds since the epoch: the inverse of `rigatoni_bson.dates.iso`, for every year."""
    match = re.fullmatch(r"([+-]?\d{4,})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{3}))?Z", text)
    assert match, text
    year, month, day, hour, minute, second, fraction = (int(part or 0) for part in match.groups())
    cycles, year = divmod(year - 1600, 400)  # the calendar repeats itself after 400 years, of 146,097 days
    days = date(1600 + year, month, day).toordinal() - date(1970, 1, 1).toordinal() + 146_097 * cycles
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + fraction


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, Members):
        wrapper = _WRAPPERS.get(tuple(name for name, _ in value))
        if wrapper is not None:
            return wrapper(*(inner for _, inner in value))
        return 0x03, _elements((name.encode(), inner) for name, inner in value)
    if isinstance(value, list):
        return 0x04, _elements((b"%d" % index, inner) for index, inner in enumerate(value))
    if isinstance(value, bool):
        return 0x08, bytes([value])
    if value is None:
        return 0x0A, b""
    assert isinstance(value, str), "canonical lines have numbers only within wrappers"
    return 0x02, bson_string(value.encode())


def _elements(members: Iterable[tuple[bytes, Any]]) -> bytes:
    elements = []
    for name, inner in members:  # a loop: a generator would double the frames on the stack
        elements.append((name, *_value(inner)))
    return bson_document(elements)


def _binary(members: Members) -> tuple[int, bytes]:
    fields = dict(members)
    data, subtype = b64decode(fields["base64"]), int(fields["subType"], 16)
    if subtype == 2:
        data = struct.pack("<i", len(data)) + data
    return 0x05, struct.pack("<iB", len(data), subtype) + data


def _code_with_scope(code: str, scope: Members) -> tuple[int, bytes]:
    body = bson_string(code.encode()) + _value(scope)[1]
    return 0x0F, struct.pack("<i", len(body) + 4) + body


def _opaque(members: Members) -> tuple[int, bytes]:
    fields = dict(members)
    return int(fields["type"], 16), b64decode(fields["base64"])


def _timestamp(members: Members) -> tuple[int, bytes]:
    fields = dict(members)
    return 0x11, struct.pack("<II", fields["i"], fields["t"])


def _regex(members: Members) -> tuple[int, bytes]:
    fields = dict(members)
    return 0x0B, fields["pattern"].encode() + b"\0" + fields["options"].encode() + b"\0"


def _db_pointer(members: Members) -> tuple[int, bytes]:
    fields = dict(members)
    return 0x0C, bson_string(fields["$ref"].encode()) + _value(fields["$id"])[1]


_WRAPPERS: dict[tuple[str, ...], Callable[..., tuple[int, bytes]]] = {
    ("$bson",): _opaque,
    ("$oid",): lambda text: (0x07, bytes.fromhex(text)),
    ("$symbol",): lambda text: (0x0E, bson_string(text.encode())),
    ("$numberInt",): lambda text: (0x10, struct.pack("<i", int(text))),
    ("$numberLong",): lambda text: (0x12, struct.pack("<q", int(text))),
    ("$numberDouble",): lambda text: (0x01, struct.pack("<d", float(text))),
    ("$numberDecimal",): lambda text: (0x13, Decimal128(text).bid),
    ("$binary",): _binary,
    ("$code",): lambda text: (0x0D, bson_string(text.encode())),
    ("$code", "$scope"): _code_with_scope,
    ("$timestamp",): _timestamp,
    ("$regularExpression",): _regex,
    ("$dbPointer",): _db_pointer,
    ("$date",): lambda members: (0x09, struct.pack("<q", int(dict(members)["$numberLong"]))),
    ("$minKey",): lambda _: (0xFF, b""),
    ("$maxKey",): lambda _: (0x7F, b""),
    ("$undefined",): lambda _: (0x06, b""),
}
