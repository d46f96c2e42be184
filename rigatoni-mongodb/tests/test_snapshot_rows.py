"""Rows and bounds: raw documents as raw events, ids of every type as text, and what real servers replied."""

from pathlib import Path

import bson
import pytest
from bson.dbref import DBRef
from rigatoni_core.api.events import Namespace, Operation, Timestamp
from rigatoni_core.api.segments import Segment
from rigatoni_core.api.snapshots import Bound
from rigatoni_mongodb.decoding import ChangeEventDecoder
from rigatoni_mongodb.snapshots import bounds
from rigatoni_mongodb.snapshots.rows import RowShape, event_expression, id_of_row, rows_of, with_time
from rigatoni_mongodb.testing.bson_order import order
from rigatoni_mongodb.testing.expressions import evaluate

RECORDINGS = Path(__file__).parents[2] / "tests" / "recordings"
SHAPE = RowShape("shop.orders#3", Namespace("shop", "orders"), Timestamp(1_796_040_037, 27))
DECODER = ChangeEventDecoder()


def recorded(name):
    """Return the commands and replies of a recording, in turn."""
    return bson.decode_all((RECORDINGS / name).read_bytes())


def recorded_ids():
    """Return documents with ids of as many types as a collection had on mongod 5.0.7."""
    replies = recorded("mongod-5.0.7/snapshots/snapshot-find-at-T.bson")[1::2]
    return [each for reply in replies for each in reply["cursor"].get("firstBatch", reply["cursor"].get("nextBatch"))]


def test_a_row_is_an_event_around_the_raw_document():
    document = bson.encode({"_id": 5, "status": "open"})
    (raw,) = rows_of(Segment.of([document]), SHAPE).copies()
    assert list(bson.decode(raw).items()) == [
        ("_id", {"snapshot": "shop.orders#3", "document": 5}),
        ("operationType", "read"),
        ("clusterTime", bson.Timestamp(1_796_040_037, 27)),
        ("ns", {"db": "shop", "coll": "orders"}),
        ("documentKey", {"_id": 5}),
        ("fullDocument", {"_id": 5, "status": "open"}),
    ]
    event = DECODER.event(memoryview(raw))
    assert (event.operation, event.wall_time, event.unknown) == (Operation.READ, None, {})


@pytest.mark.parametrize("document", recorded_ids(), ids=lambda each: type(each["_id"]).__name__)
def test_a_row_of_any_id_names_its_document(document):
    raw = bson.encode(document)
    segment = Segment.of([bson.encode({"_id": 0}), raw, bson.encode({"_id": "after"})]).cut(1, 3)
    row, after = rows_of(segment, SHAPE).copies()
    assert id_of_row(row) == bounds.id_of(raw)
    assert DECODER.event(memoryview(after)).document_key == {"_id": "after"}
    assert bounds.from_text(bounds.to_text(bounds.id_of(raw))) == bounds.id_of(raw)


def test_a_row_keeps_an_id_that_is_not_the_first_field():
    (row,) = rows_of(Segment.of([b"\x15\0\0\0\x10a\0\1\0\0\0\x10_id\0\7\0\0\0\0"]), SHAPE).copies()
    assert bson.decode(row)["documentKey"] == {"_id": 7}


def test_a_document_without_an_id_is_no_row():
    with pytest.raises(ValueError, match="without an _id"):
        rows_of(Segment.of([bson.encode({"a": 1})]), SHAPE)


def test_the_key_of_a_row_has_the_shard_key_as_events_have_it():
    (event,) = [
        event
        for reply in recorded("mongod-5.0.7/snapshots/mongos-stream.bson")[1::2]
        for event in reply["cursor"].get("nextBatch", ())
        if event["operationType"] == "insert"
    ]
    shape = RowShape("o#1", Namespace("rs", "o"), Timestamp(1, 1), shard_key=("k", "_id"))
    (row,) = rows_of(Segment.of([bson.encode(event["fullDocument"])]), shape).copies()
    assert list(bson.decode(row)["documentKey"].items()) == list(event["documentKey"].items())


@pytest.mark.parametrize("document", [{"_id": 1, "a": {"b": 2}, "c": 3}, {"_id": 1, "c": None}, {"_id": 1, "a": [1]}])
def test_the_servers_rows_are_the_same(document):
    shape = RowShape("o#1", Namespace("rs", "o"), Timestamp(1, 1), "insert", ("c", "a.b", "_id"))
    (row,) = rows_of(Segment.of([bson.encode(document)]), shape).copies()
    ours, servers = bson.decode(row), evaluate(event_expression(shape), document)
    assert ours == servers
    assert set(ours["documentKey"]) <= {"c", "a.b", "_id"}


def test_the_time_of_a_row_is_replaced_if_it_has_one():
    (row,) = rows_of(Segment.of([bson.encode({"_id": 1, "clusterTime": bson.Timestamp(9, 9)})]), SHAPE).copies()
    changed = bson.decode(with_time(row, Timestamp(2, 3)))
    assert changed == {**bson.decode(row), "clusterTime": bson.Timestamp(2, 3)}
    assert with_time(bson.encode({"_id": 1}), Timestamp(2, 3)) == bson.encode({"_id": 1})


def test_an_id_that_json_cannot_express_is_kept_as_bytes():
    symbol = bounds.with_id(0x0E, b"\2\0\0\0a\0")
    pointer = bounds.id_of(bson.encode({"_id": DBRef("a", bson.ObjectId(bytes(12)))}))
    assert bounds.to_text(symbol).startswith("raw:")
    assert bounds.from_text(bounds.to_text(symbol)) == symbol
    assert bounds.from_text(bounds.to_text(pointer)) == pointer


@pytest.mark.parametrize("text", ["", "{", "1, 2", '{"$oid": 5}'])
def test_an_id_that_is_not_extended_json_is_refused(text):
    with pytest.raises(ValueError, match="not Extended JSON"):
        bounds.parse_id(text)
    with pytest.raises(ValueError):
        bounds.from_text(Bound(text))


@pytest.mark.parametrize(("text", "value"), [("5", 5), ('"a"', "a"), ('{"$oid": "65f000000000000000000001"}', None)])
def test_a_person_writes_an_id_as_extended_json(text, value):
    assert bson.decode(bounds.parse_id(text))["_id"] == (value or bson.ObjectId("65f000000000000000000001"))


def test_the_servers_of_tests_order_ids_as_mongod_does():
    ids = [each["_id"] for each in recorded_ids()]
    assert sorted(ids, key=order) == ids
    assert order(1) == order(1.0) == order(bson.Int64(1))
