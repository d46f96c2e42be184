"""Canonical mode loses nothing: raw BSON -> line -> the same raw BSON (scenario C6)."""

import json
import struct

import pytest
from bson import encode, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.modes import Canonical
from rigatoni_bson.testing.reading import bson_document, bson_string, document_of
from rigatoni_bson.testing.strategies import DOCUMENTS
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import batch_of, event_document, recorded_events

WALKER = Walker(Canonical())


@given(raw=DOCUMENTS)
def test_C6_every_document_comes_back_byte_for_byte(raw):
    line = WALKER.line(raw)
    assert b"\n" not in line
    assert document_of(line) == raw


def test_every_recorded_event_comes_back_byte_for_byte(recordings):
    count = 0
    for path in sorted(recordings.glob("*.bson")):
        events = recorded_events(path)
        if events:
            lines = JsonSerializer(mode="canonical").serialize(batch_of(events)).splitlines()
            assert list(map(document_of, lines)) == list(events)
            count += len(events)
    assert count > 3000


def test_pymongo_reads_the_recorded_types_the_same(recordings):
    """An independent reader: PyMongo's json_util understands the lines and gets the server's own bytes."""
    options = json_util.JSONOptions(
        json_mode=json_util.JSONMode.CANONICAL, datetime_conversion=DatetimeConversion.DATETIME_AUTO
    )
    for path in ("ids-crud-lookup", "update-descriptions", "transaction", "database-stream-ddl"):
        for raw in recorded_events(recordings / f"{path}.bson"):
            document = json_util.loads(WALKER.line(raw).decode(), json_options=options)
            assert encode({"": document})[6:-1] == raw  # within another document: outermost, `_id` would be moved


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (0x01, struct.pack("<d", -0.0), {"$numberDouble": "-0.0"}),
        (0x01, struct.pack("<d", 1.0), {"$numberDouble": "1.0"}),
        (0x01, struct.pack("<d", float("inf")), {"$numberDouble": "Infinity"}),
        (0x01, struct.pack("<d", float("-inf")), {"$numberDouble": "-Infinity"}),
        (0x01, struct.pack("<Q", 0x7FF8000000000000), {"$numberDouble": "NaN"}),
        (0x01, struct.pack("<Q", 0x7FF8000000000012), {"$bson": {"type": "01", "base64": "EgAAAAAA+H8="}}),
        (0x02, bson_string(b"\xff"), {"$bson": {"type": "02", "base64": "AgAAAP8A"}}),
        (0x03, bson_document([]), {}),
        (0x03, bson_document([(b"$oid", 0x0A, b"")]), {"$bson": {"type": "03", "base64": "CwAAAAokb2lkAAA="}}),
        (0x04, bson_document([(b"7", 0x0A, b"")]), {"$bson": {"type": "04", "base64": "CAAAAAo3AAA="}}),
        (0x05, b"\x02\0\0\0\0\xff\xff", {"$binary": {"base64": "//8=", "subType": "00"}}),
        (0x05, b"\x06\0\0\0\x02\x02\0\0\0\xff\xff", {"$binary": {"base64": "//8=", "subType": "02"}}),
        (0x05, b"\x01\0\0\0\x80\xff", {"$binary": {"base64": "/w==", "subType": "80"}}),
        (0x06, b"", {"$undefined": True}),
        (0x07, bytes(range(12)), {"$oid": "000102030405060708090a0b"}),
        (0x08, b"\1", True),
        (0x09, struct.pack("<q", -62_198_755_200_000), {"$date": {"$numberLong": "-62198755200000"}}),
        (0x0A, b"", None),
        (0x0B, b"^a/\0im\0", {"$regularExpression": {"pattern": "^a/", "options": "im"}}),
        (0x0C, bson_string(b"db.c") + bytes(12), {"$dbPointer": {"$ref": "db.c", "$id": {"$oid": "0" * 24}}}),
        (0x0D, bson_string(b"f()"), {"$code": "f()"}),
        (0x0E, bson_string(b"sym"), {"$symbol": "sym"}),
        (
            0x0F,
            b"\x14\0\0\0" + bson_string(b"f()") + bson_document([(b"x", 0x0A, b"")]),
            {"$code": "f()", "$scope": {"x": None}},
        ),
        (0x10, struct.pack("<i", -1), {"$numberInt": "-1"}),
        (0x11, struct.pack("<II", 2, 0xFFFFFFFF), {"$timestamp": {"t": 4294967295, "i": 2}}),
        (0x12, struct.pack("<q", 2**53 + 1), {"$numberLong": "9007199254740993"}),
        (0x13, bytes(15) + b"\x7e", {"$bson": {"type": "13", "base64": "AAAAAAAAAAAAAAAAAAAAfg=="}}),  # signalling NaN
        (0x13, bytes(15) + b"\x7c", {"$numberDecimal": "NaN"}),
        (0x13, bytes(15) + b"\xf8", {"$numberDecimal": "-Infinity"}),
        (0x7F, b"", {"$maxKey": 1}),
        (0xFF, b"", {"$minKey": 1}),
    ],
)
def test_each_type(kind, value, expected):
    raw = bson_document([(b"v", kind, value)])
    line = WALKER.line(raw)
    assert json.loads(line) == {"v": expected}
    assert document_of(line) == raw


def test_repeated_names_are_repeated():
    raw = bson_document([(b"a", 0x0A, b""), (b"a", 0x08, b"\1"), (b"", 0x0A, b"")])
    assert WALKER.line(raw) == b'{"a":null,"a":true,"":null}'


def test_a_name_that_is_not_utf8_makes_its_document_opaque_and_no_other():
    inner = bson_document([(b"\xff", 0x0A, b"")])
    raw = bson_document([(b"a", 0x03, inner), (b"b", 0x0A, b"")])
    assert json.loads(WALKER.line(raw)) == {"a": {"$bson": {"type": "03", "base64": "CAAAAAr/AAA="}}, "b": None}
    assert document_of(WALKER.line(raw)) == raw


@pytest.mark.parametrize("mode", ["relaxed", "canonical", "plain"])
def test_two_hundred_levels(mode):
    """MongoDB's own limit is 200 levels, in documents and arrays in turn."""
    document, kind = bson_document([(b"leaf", 0x10, struct.pack("<i", 1))]), 0x03
    for level in range(200):
        document = bson_document([(b"0", kind, document)])
        kind = 0x04 if level % 2 else 0x03
    raw = encode(event_document(0, fullDocument=RawBSONDocument(document, CodecOptions(RawBSONDocument))))
    line = JsonSerializer(mode=mode).serialize(batch_of([raw] * 30)).splitlines()[29]
    assert line.count(b"[") + line.count(b"{") >= 200
    assert b'"leaf":' in line
    if mode == "canonical":
        assert document_of(line) == raw
