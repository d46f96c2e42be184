"""Messages of events: topics, keys, values, headers, in both layouts; without a broker."""

import json

import pytest
from bson import Int64, ObjectId, encode
from bson.timestamp import Timestamp
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Stream
from rigatoni_json.serializer import JsonSerializer
from rigatoni_kafka.debezium import DebeziumLayout
from rigatoni_kafka.errors import EventTooLargeError, KafkaError
from rigatoni_kafka.messages import MongoDbLayout, RelaxedJson, messages_of
from rigatoni_kafka.topics import TopicNames
from rigatoni_testing.batches import STREAM, batch_of, event_document

OID = ObjectId("596e275826f08b2730779e1f")


def messages(*documents, layout=None, template="{database}.{collection}", headers=False, limit=10_000):
    layout = layout or MongoDbLayout(RelaxedJson(), tombstones=False)
    return messages_of(batch_of(documents), layout, TopicNames(template), headers=headers, limit=limit)


@pytest.mark.parametrize(
    ("document_id", "key"),
    [
        (OID, '{"$oid":"596e275826f08b2730779e1f"}'),
        (1004, '{"$numberInt":"1004"}'),
        (Int64(1004), '{"$numberLong":"1004"}'),
        ("a", '"a"'),
        ({"a": 1, "b": [2.5]}, '{"a":{"$numberInt":"1"},"b":[{"$numberDouble":"2.5"}]}'),
    ],
)
def test_the_key_is_the_canonical_json_of_the_id_without_the_shard_key(document_id, key):
    for document_key in ({"_id": document_id}, {"region": "eu", "_id": document_id}):
        (message,) = messages(event_document(0, documentKey=document_key))
        assert json.loads(message.key) == json.loads(key)
        assert b" " not in message.key


def test_the_value_is_the_event_as_the_json_serializer_or_another_one_writes_it():
    (message,) = messages(event_document(0))
    assert [message.value] == JsonSerializer().each(batch_of([event_document(0)]))
    canonical = JsonSerializer(mode="canonical")
    (message,) = messages(event_document(0), layout=MongoDbLayout(canonical, tombstones=False))
    assert [message.value] == canonical.each(batch_of([event_document(0)]))


def test_an_event_without_a_document_has_no_key_and_a_database_is_a_topic():
    drop = event_document(0, operationType="dropDatabase", ns={"db": "shop"})
    del drop["documentKey"], drop["fullDocument"]
    (message,) = messages(drop)
    assert (message.topic, message.key) == ("shop", None)


def test_a_tombstone_follows_each_delete():
    delete = event_document(0, operationType="delete")
    layout = MongoDbLayout(RelaxedJson(), tombstones=True)
    found = messages(delete, event_document(1), layout=layout)
    assert [(each.event, each.value is None) for each in found] == [(0, False), (0, True), (1, False)]
    assert found[0].key == found[1].key


def test_headers_name_stream_operation_and_a_position_that_grows():
    same_time = [event_document(n, seconds=1_700_000_000, increment=3) for n in range(2)]
    found = [dict(each.headers) for each in messages(*same_time, headers=True)]
    assert found[0]["rigatoni.stream"] == STREAM.key.encode()
    assert found[0]["rigatoni.operation"] == b"insert"
    assert [each["rigatoni.position"] for each in found] == [b"1700000000.3.0", b"1700000000.3.1"]


def test_events_that_are_too_large_or_malformed_are_rejected_together():
    large = event_document(1, fullDocument={"_id": 1, "text": "x" * 20_000})
    with pytest.raises(RejectedEventsError) as caught:
        messages(event_document(0), large, large)
    assert set(caught.value.events) == {1, 2}
    assert all(isinstance(error, EventTooLargeError) for error in caught.value.events.values())
    damaged = bytearray(encode(event_document(0)))
    damaged[-20] ^= 0xFF
    (whole,) = messages(event_document(0))
    assert whole


@pytest.mark.parametrize(
    ("database", "collection", "topic"),
    [
        ("shop", "orders", "cdc.shop.orders"),
        ("shop", "a b/ü$", "cdc.shop.a_20b_2f_c3_bc_24"),
        ("shop", None, "cdc.shop"),
        (None, None, "cdc.shop.orders"),  # the stream's
    ],
)
def test_topics_follow_the_template_and_kafkas_rules(database, collection, topic):
    assert TopicNames("cdc.{database}.{collection}").of(database, collection, Stream("p", "shop.orders")) == topic


def test_templates_and_names_that_kafka_does_not_accept_are_refused():
    for template in ("", "{db}", "a b", "{database}/{collection}"):
        with pytest.raises(ValueError, match="topic consists of"):
            TopicNames(template)
    with pytest.raises(KafkaError, match="characters"):
        TopicNames("{database}").of("x" * 250, None, STREAM)


DOCUMENT = {"_id": OID, "name": "Anne"}
SOURCE = {"version", "connector", "name", "ts_ms", "snapshot", "db", "sequence", "ts_us", "ts_ns", "collection"}
SOURCE |= {"ord", "lsid", "txnNumber", "wallTime"}
DEBEZIUM = DebeziumLayout("fulfillment", "0.1.0", tombstones=True)


def debezium(**changes):
    fields = {"clusterTime": Timestamp(1_558_965_508, 31), "documentKey": {"_id": OID}, "fullDocument": DOCUMENT}
    return messages(event_document(0, **{**fields, **changes}), layout=DEBEZIUM)


@pytest.mark.parametrize(
    ("operation", "op", "fields", "before", "after"),
    [
        ("insert", "c", {}, None, DOCUMENT),
        ("replace", "u", {"fullDocumentBeforeChange": {"_id": OID}}, {"_id": OID}, DOCUMENT),
        ("update", "u", {"fullDocument": None}, None, None),
        ("delete", "d", {"fullDocument": None, "fullDocumentBeforeChange": DOCUMENT}, DOCUMENT, None),
        ("read", "r", {}, None, DOCUMENT),
    ],
)
def test_debeziums_envelope_field_by_field(operation, op, fields, before, after):
    message = debezium(operationType=operation, **fields)[0]
    assert json.loads(message.key) == {"id": '{"$oid":"596e275826f08b2730779e1f"}'}
    value = json.loads(message.value)
    assert set(value) == {
        "before",
        "after",
        "updateDescription",
        "source",
        "op",
        "ts_ms",
        "ts_us",
        "ts_ns",
        "transaction",
    }
    as_text = {"$oid": str(OID)}
    for field, document in (("before", before), ("after", after)):
        expected = {**document, "_id": as_text} if document else None
        assert (json.loads(value[field]) if value[field] else None) == expected
    assert (value["op"], value["transaction"], value["updateDescription"]) == (op, None, None)
    source = value["source"]
    assert set(source) == SOURCE
    assert (source["connector"], source["name"], source["version"]) == ("mongodb", "fulfillment", "0.1.0")
    assert (source["db"], source["collection"], source["ord"]) == ("shop", "orders", 31)
    assert source["ts_ms"] == 1_558_965_508_000
    assert source["snapshot"] == ("true" if operation == "read" else "false")


def test_debeziums_update_description_has_lists_and_one_text():
    description = {
        "updatedFields": {"first_name": "Anne Marie"},
        "removedFields": ["a", "b.c"],
        "truncatedArrays": [{"field": "tags", "newSize": 2}],
    }
    value = json.loads(debezium(operationType="update", updateDescription=description)[0].value)
    assert value["updateDescription"] == {
        "removedFields": ["a", "b.c"],
        "updatedFields": '{"first_name":"Anne Marie"}',
        "truncatedArrays": [{"field": "tags", "size": 2}],
    }
    empty = {"updatedFields": {}, "removedFields": [], "truncatedArrays": []}
    value = json.loads(debezium(operationType="update", updateDescription=empty)[0].value)
    assert value["updateDescription"] == {"removedFields": None, "updatedFields": "{}", "truncatedArrays": None}


def test_debezium_has_tombstones_and_no_messages_for_other_operations():
    delete = debezium(operationType="delete", fullDocument=None)
    assert [message.value is None for message in delete] == [False, True]
    assert delete[0].key == delete[1].key
    assert not debezium(operationType="drop")


@pytest.mark.parametrize("changes", [{"operationType": "deadLetter"}, {"documentKey": None}])
def test_debezium_rejects_what_it_has_no_message_for(changes):
    with pytest.raises(RejectedEventsError) as caught:
        debezium(**changes)
    assert "layout" in caught.value.remedy
