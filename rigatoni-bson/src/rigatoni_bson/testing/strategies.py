"""Hypothesis strategies for raw BSON: all types, also those that PyMongo cannot write, and unusual names and texts."""

import struct

from bson.decimal128 import Decimal128
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rigatoni_bson.testing.reading import bson_document, bson_string

Value = tuple[int, bytes]
"""A BSON type and the bytes of a value."""

_AWKWARD_NAMES = [b"", b"a", b"b", b"_id", b"a.b", b".", b"$", b"$x", b"0", b"1", "é\U0001f40d".encode(), b'"\\\n']
_RESERVED_NAMES = [b"$oid", b"$date", b"$bson", b"$code", b"$ref", b"$id", b"$db", b"$numberInt", b"$binary"]
_EDGES = [0, 1, -1, 2**31 - 1, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)]
_DATES = [0, 999, -1, -62_167_219_200_001, 253_402_300_799_999, 253_402_300_800_000, 8_640_000_000_000_000]
_DECIMALS = ["0", "-0", "0E+3", "1.10", "-1E-6176", "9.999999999999999999999999999999999E+6144", "Infinity", "NaN"]

NOT_UTF8 = st.sampled_from([b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"ok\x80ok"])
"""Texts that are not UTF-8: incomplete, a surrogate, overlong, a single continuation byte."""

UTF8 = st.text(st.characters(codec="utf-8"), max_size=8).map(str.encode)

NAMES = st.one_of(
    st.sampled_from(_AWKWARD_NAMES),
    UTF8.map(lambda name: name.replace(b"\0", b"")),
    st.sampled_from(_RESERVED_NAMES),
    NOT_UTF8,
)
"""Field names: so few that repeated ones occur."""

_TEXTS = UTF8 | st.sampled_from([b"a\0b", b'"', b"\\", b"\x1f", b"\x7f", "\u2028".encode()]) | NOT_UTF8
_CSTRINGS = _TEXTS.map(lambda text: text.replace(b"\0", b""))
_IDS = st.binary(min_size=12, max_size=12)


def _int64s(edges: list[int]) -> SearchStrategy[bytes]:
    return (st.sampled_from(edges) | st.integers(-(2**63), 2**63 - 1)).map(lambda number: struct.pack("<q", number))


def _binary(subtype: int, data: bytes) -> bytes:
    return struct.pack("<iB", len(data), subtype) + data


SCALARS: SearchStrategy[Value] = st.one_of(
    st.tuples(
        st.just(0x01), st.floats().map(lambda number: struct.pack("<d", number)) | st.binary(min_size=8, max_size=8)
    ),
    st.tuples(st.just(0x02), _TEXTS.map(bson_string)),
    st.tuples(st.just(0x05), st.builds(_binary, st.integers(0, 255), st.binary(max_size=20))),
    st.tuples(st.just(0x05), st.builds(_binary, st.just(4), st.binary(min_size=16, max_size=16))),
    st.tuples(st.just(0x05), st.binary(max_size=9).map(lambda data: _binary(2, struct.pack("<i", len(data)) + data))),
    st.tuples(st.sampled_from([0x06, 0x0A, 0x7F, 0xFF]), st.just(b"")),
    st.tuples(st.just(0x07), _IDS),
    st.tuples(st.just(0x08), st.sampled_from([b"\0", b"\1"])),
    st.tuples(st.just(0x09), _int64s(_DATES)),
    st.tuples(
        st.just(0x0B), st.builds(lambda *parts: b"\0".join((*parts, b"")), _CSTRINGS, _CSTRINGS | st.just(b"ims"))
    ),
    st.tuples(st.just(0x0C), st.builds(lambda text, oid: bson_string(text) + oid, _TEXTS, _IDS)),
    st.tuples(st.sampled_from([0x0D, 0x0E]), _TEXTS.map(bson_string)),
    st.tuples(st.just(0x10), st.integers(-(2**31), 2**31 - 1).map(lambda number: struct.pack("<i", number))),
    st.tuples(st.just(0x11), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(0x12), _int64s(_EDGES)),
    st.tuples(st.just(0x13), st.sampled_from(_DECIMALS).map(lambda number: Decimal128(number).bid)),
    st.tuples(st.just(0x13), st.binary(min_size=16, max_size=16)),
)
"""One value of any type that is not nested."""


def _array(values: list[Value]) -> Value:
    return 0x04, bson_document((b"%d" % index, *value) for index, value in enumerate(values))


def _document(elements: list[tuple[bytes, Value]]) -> bytes:
    return bson_document((name, *value) for name, value in elements)


def _code_with_scope(code: bytes, scope: bytes) -> Value:
    body = bson_string(code) + scope
    return 0x0F, struct.pack("<i", len(body) + 4) + body


def _nested(values: SearchStrategy[Value]) -> SearchStrategy[Value]:
    documents = st.lists(st.tuples(NAMES, values), max_size=4).map(_document)
    return st.one_of(
        st.tuples(st.just(0x03), documents),
        st.lists(values, max_size=4).map(_array),
        st.tuples(st.just(0x04), documents),  # an array whose indexes are anything
        st.builds(_code_with_scope, _TEXTS, documents),
    )


VALUES: SearchStrategy[Value] = st.recursive(SCALARS, _nested, max_leaves=12)
"""One value of any type, including nested ones."""

DOCUMENTS: SearchStrategy[bytes] = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(_document)
"""Well-formed raw documents with all types of BSON."""

_KNOWN_NAMES = [
    *(b"_id", b"operationType", b"ns", b"clusterTime", b"wallTime", b"documentKey", b"fullDocument"),
    *(b"fullDocumentBeforeChange", b"updateDescription", b"lsid", b"txnNumber"),
]
_NAMESPACES = st.lists(
    st.tuples(st.sampled_from([b"db", b"coll", b"x"]), st.tuples(st.just(0x02), _TEXTS.map(bson_string)) | SCALARS),
    max_size=3,
).map(_document)
_EXPECTED = st.one_of(
    st.tuples(st.just(b"_id"), st.tuples(st.just(0x03), DOCUMENTS)),
    st.tuples(st.just(b"operationType"), st.tuples(st.just(0x02), (_TEXTS | st.just(b"insert")).map(bson_string))),
    st.tuples(st.just(b"ns"), st.tuples(st.just(0x03), _NAMESPACES)),
    st.tuples(st.just(b"clusterTime"), st.tuples(st.just(0x11), st.binary(min_size=8, max_size=8))),
    st.tuples(st.just(b"wallTime"), st.tuples(st.just(0x09), _int64s(_DATES))),
    st.tuples(st.sampled_from(_KNOWN_NAMES[5:10]), st.tuples(st.just(0x03), DOCUMENTS) | st.just((0x0A, b""))),
    st.tuples(st.just(b"txnNumber"), st.tuples(st.just(0x12), _int64s(_EDGES))),
)

EVENTS: SearchStrategy[bytes] = st.lists(
    _EXPECTED | _EXPECTED | st.tuples(st.sampled_from(_KNOWN_NAMES) | NAMES, VALUES), max_size=9
).map(_document)
"""Raw change events, also with missing, repeated and unknown fields of any type, which no server sends."""


@st.composite
def _damaged(draw: st.DrawFn, documents: SearchStrategy[bytes]) -> bytes:
    raw = bytearray(draw(documents))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(raw)))
        raw[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


DAMAGED: SearchStrategy[bytes] = _damaged(DOCUMENTS | EVENTS) | st.binary(max_size=40)
"""Documents and events with changed, added or missing bytes, and random bytes."""
