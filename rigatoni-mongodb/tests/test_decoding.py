"""Reading tokens and times from raw bytes, on recordings of a real mongod."""

from itertools import accumulate
from pathlib import Path

import bson
import pytest
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.events import Position, ResumeToken, Timestamp
from rigatoni_core.api.segments import Segment
from rigatoni_mongodb.decoding import ChangeEventDecoder, time_of_token, token_document, token_text
from rigatoni_mongodb.resume import high_water_mark
from rigatoni_mongodb.scope import Watch, parse_watches
from rigatoni_testing.batches import recorded_events

RECORDINGS = sorted(
    (Path(__file__).parents[2] / "tests" / "recordings" / "mongod-5.0.7").glob("*.bson"), key=lambda path: path.name
)
EVENTS = [raw for path in RECORDINGS for raw in recorded_events(path)]
DECODER = ChangeEventDecoder()


def test_the_recordings_exist():
    assert len(EVENTS) > 3000


def test_marks_equal_what_a_full_decode_says():
    for raw in EVENTS:
        document = bson.decode(raw, bson.CodecOptions(datetime_conversion=bson.DatetimeConversion.DATETIME_AUTO))
        token, time = DECODER.token_and_time(memoryview(raw))
        assert token == token_text(document["_id"])
        assert token_document(token) == document["_id"]
        assert time == Timestamp(document["clusterTime"].time, document["clusterTime"].inc)


def test_C8_the_time_inside_a_mongods_token_is_the_events_cluster_time():
    for raw in EVENTS:
        token, time = DECODER.token_and_time(memoryview(raw))
        assert time_of_token(token_document(token)) == time


def test_namespaces_equal_what_a_full_decode_says():
    for raw in EVENTS:
        assert DECODER.namespace(memoryview(raw)) == DECODER.event(memoryview(raw)).namespace
    assert {DECODER.event(memoryview(raw)).operation for raw in EVENTS} >= {"dropDatabase", "invalidate", "insert"}


def test_a_namespace_behind_damage_is_an_error_that_says_so():
    raw = bson.encode({"_id": {"_data": "82"}, "fullDocument": {"a": 1}, "ns": {"db": "a", "coll": "b"}})
    place = raw.index(b"\x03fullDocument")
    with pytest.raises(ValueError):
        DECODER.namespace(memoryview(raw[:place] + b"\xee" + raw[place + 1 :]))


@pytest.mark.parametrize(
    "change",
    [
        {"operationType": None},
        {"ns": 7},
        {"ns": {"coll": "orders"}},
        {"ns": {"db": 1, "coll": "orders"}},
        {"ns": {"db": "shop", "coll": 5}},
        {"fullDocument": 7},
        {"documentKey": "x"},
        {"fullDocumentBeforeChange": [1]},
        {"txnNumber": float("inf"), "lsid": {}},
        {"clusterTime": "now"},
        {"updateDescription": 7},
        {"updateDescription": {"removedFields": 7}},
        {"txnNumber": 1},
        {"txnNumber": "x", "lsid": {}},
        {"_id": "82"},
    ],
    ids=str,
)
def test_an_event_of_an_odd_shape_is_a_value_error(change):
    document = {"_id": {"_data": "82"}, "operationType": "insert", "ns": {"db": "a", "coll": "b"}}
    odd = {key: value for key, value in (document | change).items() if value is not None}
    with pytest.raises(ValueError):
        DECODER.event(memoryview(bson.encode(odd)))


def test_a_document_that_looks_like_a_reference_is_a_document():
    """PyMongo decodes a document with `$ref` and `$id` as a `DBRef`, which is not a mapping."""
    document = {"$ref": "orders", "$id": 1, "_id": 2}
    raw = bson.encode({"_id": {"_data": "82"}, "operationType": "insert", "fullDocument": document})
    assert DECODER.event(memoryview(raw)).full_document == document


@pytest.mark.parametrize("namespace", [{"db": 1, "coll": "orders"}, {"db": "shop", "coll": 5}], ids=str)
def test_a_namespace_whose_names_are_no_texts_is_a_value_error(namespace):
    with pytest.raises(ValueError):
        DECODER.namespace(memoryview(bson.encode({"_id": {"_data": "82"}, "ns": namespace})))


@pytest.mark.parametrize(
    "data", ["82-1234567+1234567", "82 1234567 1234567", "820x123456_1234567", "82" + "\N{ARABIC-INDIC DIGIT ONE}" * 16]
)
def test_C8_a_token_that_only_resembles_a_mongods_is_opaque(data):
    assert time_of_token({"_data": data}) is None


@pytest.mark.parametrize("token", [b"\x02_data\0\xff\xff\xff\xff", b"\xee_data\0", b""], ids=repr)
def test_a_token_that_is_none_is_a_value_error(token):
    document = (len(token) + 5).to_bytes(4, "little") + token + b"\0"
    raw = b"\x03_id\0" + document
    with pytest.raises(ValueError):
        DECODER.token_and_time(
            memoryview((len(raw) + 5).to_bytes(4, "little") + raw + b"\0")[: -2 if not token else None]
        )


def test_what_is_derived_from_an_event_stands_at_its_place():
    fields = {"deadLetter": {"event": b"\x00\x01", "attempt": 1, "position": {"cluster_time": [1, 2]}, "none": None}}
    for raw in EVENTS:
        derived = DECODER.synthesize(memoryview(raw), "deadLetter", fields)
        assert DECODER.token_and_time(memoryview(derived)) == DECODER.token_and_time(memoryview(raw))
        event = DECODER.event(memoryview(derived))
        assert event.namespace == DECODER.event(memoryview(raw)).namespace
        assert event.operation == "deadLetter"
        assert event.unknown == fields


def test_what_is_derived_from_a_damaged_event_keeps_its_token_and_time():
    raw = EVENTS[0][:-40] + b"\xee" * 39 + b"\0"
    derived = DECODER.synthesize(memoryview(raw), "deadLetter", {"event": raw})
    assert DECODER.token_and_time(memoryview(derived)) == DECODER.token_and_time(memoryview(EVENTS[0]))
    assert bson.decode(derived)["event"] == raw


def test_events_keep_every_field():
    for raw in EVENTS:
        event = DECODER.event(memoryview(raw))
        assert event.resume_token == DECODER.token_and_time(memoryview(raw))[0]
        assert event.operation in raw.decode("latin-1")


def test_C9_an_unknown_operation_is_delivered_as_the_server_says_it():
    raw = bson.encode({"_id": {"_data": "82"}, "operationType": "teleport", "ns": {"db": "a"}, "novelty": 1})
    event = DECODER.event(memoryview(raw))
    assert event.operation == "teleport"
    assert event.unknown == {"novelty": 1}


def test_tokens_with_type_bits_are_kept_whole():
    token = {"_data": "8263", "_typeBits": b"\x01\x02"}
    assert token_document(token_text(token)) == token


def test_a_high_water_mark_takes_the_time_inside_a_plausible_token_only():
    position = Position(ResumeToken("t"), "f", Timestamp(100, 5), 1)
    inside = {"_data": f"82{110:08X}{7:08X}2B"}
    assert high_water_mark(position, inside, ResumeToken("x"), Timestamp(120, 1)).order == (Timestamp(110, 7), 0)
    future = {"_data": f"82{990:08X}{7:08X}2B"}
    assert high_water_mark(position, future, ResumeToken("x"), Timestamp(120, 1)).order == (Timestamp(100, 6), 0)
    opaque = {"_data": "43000000107300"}
    assert high_water_mark(position, opaque, ResumeToken("x"), Timestamp(120, 1)).order == (Timestamp(100, 6), 0)


@pytest.mark.parametrize(
    ("name", "database", "collection"),
    [("*", None, None), ("shop.*", "shop", None), ("shop.a.b.c", "shop", "a.b.c"), ("shop.x/../y", "shop", "x/../y")],
)
def test_A11_watches(name, database, collection):
    assert Watch.parse(name) == Watch(name, database, collection)


@pytest.mark.parametrize("name", ["shop", "", ".orders", "shop.", "sh op.orders"])
def test_K1_a_wrong_watch_says_what_is_wrong(name):
    with pytest.raises(ValueError, match="watch:"):
        Watch.parse(name)


@pytest.mark.parametrize("names", [("*", "shop.a"), ("shop.*", "shop.a"), ("shop.a", "shop.a")])
def test_overlapping_watches_are_refused(names):
    with pytest.raises(ValueError, match="overlap"):
        parse_watches(names)


def test_J11_what_makes_a_second_reading_differ_is_said(open_source):
    from rigatoni_core.api.events import Stream
    from rigatoni_core.api.settings import Settings

    stream = Stream("p", "shop.orders")
    certain = open_source("shop.orders", full_document="updateLookup", uri="mongodb://x/")
    assert certain.definition(stream).uncertain == ()
    filtered = open_source(
        "shop.orders",
        full_document="updateLookup",
        uri="mongodb://x/",
        pipeline=[{"$match": {"fullDocument.v": 1}}, {"$match": {"$expr": {"$lt": [{"$rand": {}}, 0.5]}}}],
    )
    assert len(filtered.definition(stream).uncertain) == 2
    assert "drops every delete" in filtered.advice(Settings())[0]


def test_Z19_the_uri_is_in_no_repr(open_source):
    assert "sentinel" not in repr(open_source("a.b", uri="mongodb://u:sentinel@h/"))


def test_cluster_times_of_many_equal_those_of_each():
    damaged = [EVENTS[0][:4] + b"\xee" + EVENTS[0][5:], EVENTS[0].replace(b"clusterTime", b"clusterTimf"), b"\x05"]
    other = bson.encode({"operationType": "insert", "clusterTime": BsonTimestamp(7, 9), "_id": {"_data": "82"}})
    raws = [*EVENTS, other, *damaged]
    offsets = list(accumulate(map(len, raws), initial=3))
    found = list(DECODER.cluster_times(Segment(memoryview(b"xyz" + b"".join(raws)), offsets)))
    times = [DECODER.token_and_time(memoryview(raw))[1] for raw in EVENTS]
    assert found == [*((time.seconds, time.increment) for time in times), (7, 9), None, None, None]
