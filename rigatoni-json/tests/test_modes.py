"""Relaxed and plain mode type by type, as the README says; and what every line holds, whatever the mode."""

import json
import struct
from datetime import UTC, datetime

import attrs
import pytest
from bson import ObjectId, Regex, Timestamp, decode, encode, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.decimal128 import Decimal128
from rigatoni_bson.dates import iso
from rigatoni_bson.testing.reading import bson_document, bson_string
from rigatoni_bson.writing import PIECE
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.events import Timestamp as Time
from rigatoni_json.plugin import rigatoni_serializers
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import START, batch_of, event_document, recorded_events

MODES = ("relaxed", "canonical", "plain")
DATE = struct.pack("<q", 1_714_564_805_120)


def value_of(mode: str, kind: int, value: bytes) -> object:
    """What a value becomes within an event, alone and among others alike: the same line each time."""
    raw = encode(event_document(0))
    raw = struct.pack("<i", len(raw) + len(value) + 3) + raw[4:-1] + bytes([kind]) + b"v\0" + value + b"\0"
    plain = encode(event_document(0))
    alone = JsonSerializer(mode=mode).serialize(batch_of([plain, plain, raw, plain, plain])).splitlines()[2]
    among = JsonSerializer(mode=mode).serialize(batch_of([plain, plain, *[raw] * 40, plain, plain])).splitlines()[20]
    assert alone == among
    return json.loads(alone)["v"]


TYPES = [
    # type, value, relaxed, plain
    (0x01, struct.pack("<d", 1.5), 1.5, 1.5),
    (0x01, struct.pack("<d", 1e300), 1e300, 1e300),
    (0x01, struct.pack("<d", float("nan")), {"$numberDouble": "NaN"}, "NaN"),
    (0x01, struct.pack("<d", float("inf")), {"$numberDouble": "Infinity"}, "Infinity"),
    (0x01, struct.pack("<d", float("-inf")), {"$numberDouble": "-Infinity"}, "-Infinity"),
    (0x02, bson_string('é"\\\n\0'.encode()), 'é"\\\n\0', 'é"\\\n\0'),
    (0x02, bson_string(b"\xff"), *[{"$bson": {"type": "02", "base64": "AgAAAP8A"}}] * 2),
    (0x03, bson_document([(b"a.b", 0x0A, b"")]), {"a.b": None}, {"a.b": None}),
    (0x03, bson_document([(b"\xff", 0x0A, b"")]), *[{"$bson": {"type": "03", "base64": "CAAAAAr/AAA="}}] * 2),
    (
        0x03,
        bson_document([(b"$oid", 0x02, bson_string(b"x"))]),
        {"$bson": {"type": "03", "base64": "EQAAAAIkb2lkAAIAAAB4AAA="}},
        {"$oid": "x"},
    ),
    (0x03, bson_document([(b"$ref", 0x0A, b""), (b"$id", 0x0A, b"")]), *[{"$ref": None, "$id": None}] * 2),
    (0x04, bson_document([(b"0", 0x0A, b""), (b"1", 0x08, b"\1")]), [None, True], [None, True]),
    (0x04, bson_document([(b"5", 0x0A, b""), (b"5", 0x08, b"\1")]), [None, True], [None, True]),
    (0x05, b"\x02\0\0\0\0\xff\xff", {"$binary": {"base64": "//8=", "subType": "00"}}, "//8="),
    (0x05, b"\x06\0\0\0\x02\x02\0\0\0\xff\xff", {"$binary": {"base64": "//8=", "subType": "02"}}, "//8="),
    (0x05, b"\x01\0\0\0\x02\xff", *[{"$bson": {"type": "05", "base64": "AQAAAAL/"}}] * 2),
    (
        0x05,
        b"\x10\0\0\0\x04" + bytes(range(16)),
        {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}},
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
    ),
    (0x06, b"", {"$undefined": True}, None),
    (0x07, bytes(range(12)), {"$oid": "000102030405060708090a0b"}, "000102030405060708090a0b"),
    (0x08, b"\0", False, False),
    (0x09, DATE, {"$date": "2024-05-01T12:00:05.120Z"}, "2024-05-01T12:00:05.120Z"),
    (0x09, bytes(8), {"$date": "1970-01-01T00:00:00Z"}, "1970-01-01T00:00:00Z"),
    (0x09, struct.pack("<q", -1), {"$date": {"$numberLong": "-1"}}, "1969-12-31T23:59:59.999Z"),
    (
        0x09,
        struct.pack("<q", 8_640_000_000_000_000),
        {"$date": {"$numberLong": "8640000000000000"}},
        "+275760-09-13T00:00:00Z",
    ),
    (
        0x09,
        struct.pack("<q", -62_198_755_200_000),
        {"$date": {"$numberLong": "-62198755200000"}},
        "-000001-01-01T00:00:00Z",
    ),
    (0x0A, b"", None, None),
    (0x0B, b"^a/\0im\0", {"$regularExpression": {"pattern": "^a/", "options": "im"}}, "/^a//im"),
    (
        0x0C,
        bson_string(b"db.c") + bytes(12),
        {"$dbPointer": {"$ref": "db.c", "$id": {"$oid": "0" * 24}}},
        {"ref": "db.c", "id": "0" * 24},
    ),
    (0x0D, bson_string(b"f()"), {"$code": "f()"}, "f()"),
    (0x0E, bson_string(b"sym"), {"$symbol": "sym"}, "sym"),
    (
        0x0F,
        b"\x14\0\0\0" + bson_string(b"f()") + bson_document([(b"x", 0x0A, b"")]),
        {"$code": "f()", "$scope": {"x": None}},
        {"code": "f()", "scope": {"x": None}},
    ),
    (0x10, struct.pack("<i", -1), -1, -1),
    (0x11, struct.pack("<II", 2, 1), {"$timestamp": {"t": 1, "i": 2}}, {"t": 1, "i": 2}),
    (0x12, struct.pack("<q", 2**63 - 1), 2**63 - 1, 2**63 - 1),
    (0x13, Decimal128("1.10").bid, {"$numberDecimal": "1.10"}, "1.10"),
    (0x13, bytes(15) + b"\x7e", {"$numberDecimal": "NaN"}, "NaN"),
    (0x7F, b"", {"$maxKey": 1}, "MaxKey"),
    (0xFF, b"", {"$minKey": 1}, "MinKey"),
]


@pytest.mark.parametrize(("kind", "value", "relaxed", "plain"), TYPES)
def test_each_type(kind, value, relaxed, plain):
    assert value_of("relaxed", kind, value) == relaxed
    assert value_of("plain", kind, value) == plain


def test_every_type_is_shown_above():
    assert {kind for kind, *_ in TYPES} == {*range(0x01, 0x14), 0x7F, 0xFF}


def test_relaxed_is_what_pymongo_calls_relaxed(recordings):
    """An independent writer agrees wherever its own decoder loses nothing."""
    options = json_util.JSONOptions(json_mode=json_util.JSONMode.RELAXED, datetime_conversion="datetime_auto")
    codec = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO, tz_aware=True)
    for path in ("ids-crud-lookup", "update-descriptions", "transaction", "database-stream-ddl", "three-thousand"):
        events = recorded_events(recordings / f"{path}.bson")
        for line, raw in zip(JsonSerializer().serialize(batch_of(events)).splitlines(), events, strict=True):
            assert json.loads(line) == json.loads(json_util.dumps(decode(raw, codec), json_options=options))


def test_dates_are_datetimes_own_where_it_knows_them():
    for seconds in range(-62_135_596_800, 253_402_300_800, 86_400 * 365 * 3 + 12_345):
        expected = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
        assert iso(seconds * 1000).decode() == expected


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-62_167_219_200_000, "0000-01-01T00:00:00Z"),
        (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "+010000-01-01T00:00:00Z"),
        (-8_640_000_000_000_000, "-271821-04-20T00:00:00Z"),
        (2**63 - 1, "+292278994-08-17T07:12:55.807Z"),
        (-(2**63), "-292275055-05-16T16:47:04.192Z"),
    ],
)
def test_dates_beyond_the_calendar(milliseconds, text):
    """As ECMAScript's toISOString and java.time.Instant print them."""
    assert iso(milliseconds).decode() == text


@pytest.mark.parametrize("mode", MODES)
def test_five_thousand_events_of_one_second_keep_order_and_increment(mode):
    """C8."""
    events = [event_document(number, clusterTime=Timestamp(1_700_000_000, number + 1)) for number in range(5000)]
    lines = JsonSerializer(mode=mode).serialize(batch_of(events)).splitlines()
    times = [json.loads(line)["clusterTime"] for line in lines]
    found = [time if mode == "plain" else time["$timestamp"] for time in times]
    assert found == [{"t": 1_700_000_000, "i": number + 1} for number in range(5000)]


@pytest.mark.parametrize("mode", MODES)
def test_unknown_operations_and_fields_are_kept(mode):
    """C9, Z11: the server's document as it is, whatever this version knows."""
    event = event_document(0, operationType="teleport", newerField={"deep": [{"er": "x"}]}, another="y")
    (line,) = JsonSerializer(mode=mode).serialize(batch_of([event])).splitlines()
    found = json.loads(line)
    assert list(found) == list(event)
    assert found["operationType"] == "teleport"
    assert found["newerField"] == {"deep": [{"er": "x"}]}


@pytest.mark.parametrize("mode", MODES)
def test_every_part_of_an_event_is_in_the_line(mode):
    """Z11: update description, document key and both images."""
    update = {"updatedFields": {"a.b": "x", "$c": "y"}, "removedFields": ["d"], "truncatedArrays": []}
    event = event_document(
        0, operationType="update", fullDocumentBeforeChange={"a": "before"}, updateDescription=update
    )
    (line,) = JsonSerializer(mode=mode).serialize(batch_of([event])).splitlines()
    found = json.loads(line)
    assert list(found) == list(event)
    assert found["updateDescription"] == update
    assert found["fullDocumentBeforeChange"] == {"a": "before"}
    assert found["documentKey"].keys() == {"_id"}


@pytest.mark.parametrize("mode", MODES)
def test_recorded_update_descriptions(mode, recordings):
    """C5: names with dots and dollars, removed fields and array truncation are the server's own."""
    events = recorded_events(recordings / "update-descriptions.bson")
    lines = JsonSerializer(mode=mode).serialize(batch_of(events)).splitlines()
    updates = 0
    for line, raw in zip(map(json.loads, lines), map(decode, events), strict=True):
        assert list(line) == list(raw)
        if expected := raw.get("updateDescription"):
            updates += 1
            assert list(line["updateDescription"]) == list(expected)
            assert list(line["updateDescription"]["updatedFields"]) == list(expected["updatedFields"])
            assert line["updateDescription"]["removedFields"] == expected["removedFields"]
    assert updates > 3


@pytest.mark.parametrize("mode", MODES)
def test_recorded_events_about_collections(mode, recordings):
    """C10: a rename says where to; drop and dropDatabase have no document key."""
    seen = set()
    for path in ("database-stream-ddl", "collection-rename-invalidate", "database-dropped-invalidate"):
        events = recorded_events(recordings / f"{path}.bson")
        for line in map(json.loads, JsonSerializer(mode=mode).serialize(batch_of(events)).splitlines()):
            seen.add(line["operationType"])
            if line["operationType"] == "rename":
                assert line["to"].keys() == {"db", "coll"}
            if line["operationType"] in ("drop", "dropDatabase", "rename", "invalidate"):
                assert "documentKey" not in line
    assert {"insert", "rename", "drop", "dropDatabase"} <= seen


@pytest.mark.parametrize(("mode", "third"), [("relaxed", 7), ("canonical", {"$numberInt": "7"}), ("plain", 7)])
def test_ordinals_are_written_by_option_and_stay_when_events_are_taken_out(mode, third):
    text = '"}\n{"'  # nothing inside a line ends it
    events = [event_document(n, clusterTime=Timestamp(1_700_000_000, 1), fullDocument={"t": text}) for n in range(4)]
    after = attrs.evolve(START, cluster_time=Time(1_700_000_000, 1), ordinal=5)
    batch = batch_of([*events, {**event_document(4), "ordinal": "mine"}], after=after).without({1})
    lines = JsonSerializer(mode=mode, ordinal=True).serialize(batch).splitlines()
    plain = JsonSerializer(mode=mode).serialize(batch).splitlines()
    found = [json.loads(line) for line in lines]
    assert found[1]["ordinal"] == third
    assert [document["fullDocument"].get("t") for document in found] == [text] * 3 + [None]
    for line, without in zip(lines, plain, strict=True):
        assert line.startswith(without[:-1] + b',"ordinal":')


def test_a_batch_of_several_pieces_has_one_line_per_event_with_its_ordinal():
    stamp = Timestamp(1_700_000_000, 1)
    events = [event_document(n, clusterTime=stamp, fullDocument={"t": "x" * 30_000}) for n in range(30)]
    batch = batch_of(events)
    assert sum(len(piece) > PIECE // 2 for piece in JsonSerializer(ordinal=True).pieces(batch)) > 1  # several
    lines = JsonSerializer(ordinal=True).each(batch)
    assert [json.loads(line)["ordinal"] for line in lines] == list(batch.orders().ordinals)
    assert [json.loads(line)["documentKey"] for line in lines] == [event["documentKey"] for event in events]


def test_one_line_per_event_each_ended():
    data = JsonSerializer().serialize(batch_of([event_document(0, text="a\nb\r\u2028"), event_document(1)]))
    assert data.count(b"\n") == 2
    assert data.endswith(b"\n")


def test_no_event_no_line():
    assert JsonSerializer().serialize(batch_of([])) == b""


def test_a_part_of_a_batch():
    """A batch cut out of a larger one shares its buffer and begins somewhere inside."""
    batch = batch_of([event_document(number, id=ObjectId(), re=Regex("x")) for number in range(1000)])
    whole = JsonSerializer().serialize(batch).splitlines(keepends=True)
    assert JsonSerializer().serialize(batch[700:900]) == b"".join(whole[700:900])


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="mode is 'strict'; it must be one of relaxed, canonical, plain"):
        JsonSerializer(mode="strict")


def test_says_what_it_writes():
    serializer = JsonSerializer()
    assert isinstance(serializer, Serializer)
    assert (serializer.media_type, serializer.suffix) == ("application/x-ndjson", ".ndjson")
    assert (serializer.content_encoding, serializer.compressed) == (None, False)
    assert repr(serializer) == "JsonSerializer(mode='relaxed', ordinal=False)"


def test_the_hook_yields_it():
    (component,) = rigatoni_serializers()
    assert component.name == "json"
    assert component.load() is JsonSerializer
