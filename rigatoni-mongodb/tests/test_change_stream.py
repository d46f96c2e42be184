"""The source against a real server: scope, resuming, invalidates, images, changed definitions."""

import attrs
import pytest
from bson import Int64
from rigatoni_core.api.bus import listening
from rigatoni_core.api.errors import PositionLostError
from rigatoni_core.api.events import Operation, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import Invalidated, RepeatsPossible
from rigatoni_core.api.settings import Settings
from rigatoni_mongodb.errors import (
    AuthenticationError,
    IllegalPipelineError,
    MongoDBUnavailableError,
)


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)


def numbers(events):
    return [event.full_document["n"] for event in events if event.full_document]


async def test_A1_only_the_watched_namespaces_arrive_in_order(open_source, read, database, client):
    other = client[database.name + "x"]
    async with open_source(f"{database.name}.a", f"{database.name}.b") as source:
        assert await source.streams() == [f"{database.name}.a", f"{database.name}.b"]
        async with read(source, f"{database.name}.a") as first, read(source, f"{database.name}.b") as second:
            for n in range(10):
                for collection in (database.a, database.b, database.c, other.a):
                    collection.insert_one({"n": n, "where": collection.full_name})
            for reading, name in ((first, "a"), (second, "b")):
                events = await reading.rest()
                assert numbers(events) == list(range(10))
                assert {str(event.namespace) for event in events} == {f"{database.name}.{name}"}
    client.drop_database(other.name)


async def test_A2_stopped_then_50_writes_then_exactly_these_50(open_source, read, database):
    name = f"{database.name}.orders"
    async with open_source(name) as source:
        async with read(source, name) as reading:
            database.orders.insert_many([{"n": n} for n in range(7)])
            await reading.events(7)
            position = reading.position
        database.orders.insert_many([{"n": n} for n in range(50)])
        async with read(source, name, position) as reading:
            assert numbers(await reading.rest()) == list(range(50))


async def test_A3_the_anchor_alone_is_enough_to_miss_nothing(open_source, read, database):
    name = f"{database.name}.orders"
    database.orders.insert_one({"n": -1})
    async with open_source(name) as source:
        async with read(source, name) as reading:
            anchor = reading.anchor
        database.orders.insert_many([{"n": n} for n in range(5)])
        async with read(source, name, anchor) as reading:
            assert numbers(await reading.rest()) == list(range(5))


async def test_A4_J3_start_at_a_past_time_delivers_from_then_on_and_the_anchor_skips_nothing(
    open_source, read, database
):
    name = f"{database.name}.orders"
    async with open_source(name) as source, read(source, name) as reading:
        database.orders.insert_many([{"n": n} for n in range(5)])
        events = await reading.events(5)
    from datetime import UTC, datetime

    start = datetime.fromtimestamp(events[0].cluster_time.seconds, UTC).isoformat()
    async with open_source(name, start_at=start) as source:
        async with read(source, name) as reading:
            anchor = reading.anchor
            assert numbers(await reading.rest()) == list(range(5))
        async with read(source, name, anchor) as reading:
            assert numbers(await reading.rest()) == list(range(5))


async def test_A5_A7_a_collection_that_does_not_exist_is_created_dropped_and_created_again(open_source, read, database):
    name, heard = f"{database.name}.late", Heard()
    async with open_source(name) as source:
        with listening([heard]):
            async with read(source, name) as reading:
                database.late.insert_one({"n": 1})
                await reading.events(1)
                database.late.drop()
                operations = [event.operation for event in await reading.events(2)]
                assert operations == [Operation.DROP, Operation.INVALIDATE]
                await reading.next()
                after_drop = reading.position
                database.late.insert_one({"n": 2})
                assert numbers(await reading.events(1)) == [2]
        assert [type(notice) for notice in heard.notices] == [Invalidated]
        async with read(source, name, after_drop) as reading:
            assert numbers(await reading.rest()) == [2]


async def test_A6_a_database_stream_survives_a_drop_and_a_rename_of_one_collection(open_source, read, database):
    async with open_source(f"{database.name}.*") as source, read(source, f"{database.name}.*") as reading:
        database.a.insert_one({"n": 1})
        database.b.insert_one({"n": 2})
        database.a.drop()
        database.b.rename("c")
        database.c.insert_one({"n": 3})
        events = await reading.rest()
        assert [event.operation for event in events] == ["insert", "insert", "drop", "rename", "insert"]
        assert numbers(events) == [1, 2, 3]


async def test_A8_J6_stopped_inside_a_transaction_the_rest_of_it_arrives(open_source, read, database, client):
    name = f"{database.name}.orders"
    database.create_collection("orders")
    async with open_source(name) as source:
        async with read(source, name) as reading:
            with client.start_session() as session, session.start_transaction():
                for n in range(6):
                    database.orders.insert_one({"n": n}, session=session)
            batch = await reading.batch()
            assert len(batch) == 6
            position = batch[:2].end
            assert position.ordinal in (1, 2)
        async with read(source, name, position) as reading:
            batch = await reading.batch()
            assert numbers(batch) == [2, 3, 4, 5]
            if position.ordinal == 2:  # one cluster time for all events, as a mongod does
                assert batch.first.ordinal == 2
                assert batch.end.ordinal == 6


@pytest.mark.parametrize("collection", ["a.b.c", "ü name", "x" * 120])
async def test_A11_odd_collection_names(open_source, read, database, collection):
    name = f"{database.name}.{collection}"
    async with open_source(name) as source, read(source, name) as reading:
        database[collection].insert_one({"n": 1})
        (event,) = await reading.events(1)
        assert event.namespace.collection == collection


async def test_A12_J5_a_changed_filter_goes_on_exactly_where_the_old_one_stopped(open_source, read, database):
    name = f"{database.name}.orders"
    async with open_source(name) as source, read(source, name) as reading:
        database.orders.insert_many([{"n": n} for n in range(10)])
        batch = await reading.batch()
        position = batch[:4].end
    changed = [{"$match": {"operationType": {"$in": ["insert", "delete"]}}}]
    async with open_source(name, pipeline=changed) as source:
        assert source.definition(Stream("p", name)).fingerprint != position.fingerprint
        async with read(source, name, position) as reading:
            assert numbers(await reading.rest()) == [4, 5, 6, 7, 8, 9]
            assert reading.position.fingerprint == source.definition(Stream("p", name)).fingerprint


async def test_A12_a_changed_filter_that_hides_the_saved_event_repeats_nothing_and_loses_nothing(
    open_source, read, database
):
    name, heard = f"{database.name}.orders", Heard()
    async with open_source(name) as source, read(source, name) as reading:
        for n in range(4):
            database.orders.insert_one({"n": n})
        await reading.events(4)
        position = reading.position
        while position.ordinal == 0:
            pytest.fail("the last event's position was expected")
    database.orders.insert_one({"n": 4})
    database.orders.delete_one({"n": 4})
    async with open_source(name, pipeline=[{"$match": {"operationType": "delete"}}]) as source:
        with listening([heard]):
            async with read(source, name, position) as reading:
                assert [event.operation for event in await reading.rest()] == [Operation.DELETE]
        assert not [notice for notice in heard.notices if isinstance(notice, RepeatsPossible)]


async def test_E1_a_quiet_collection_moves_on_while_others_are_busy(open_source, read, database):
    name = f"{database.name}.quiet"
    async with open_source(name) as source:
        async with read(source, name) as reading:
            before = reading.anchor
            for n in range(5):
                database.busy.insert_one({"n": n})
                await reading.next()
            moved = reading.position
            assert moved.resume_token != before.resume_token
        database.quiet.insert_one({"n": 1})
        async with read(source, name, moved) as reading:
            assert numbers(await reading.rest()) == [1]


async def test_J9_a_position_from_the_future_is_lost(open_source, read, database):
    name = f"{database.name}.orders"
    async with open_source(name) as source:
        async with read(source, name) as reading:
            database.orders.insert_one({"n": 1})
            await reading.events(1)
            position = reading.position
        later = attrs.evolve(position, cluster_time=Timestamp(position.cluster_time.seconds + 3600, 1))
        with pytest.raises(PositionLostError, match="restored from a backup"):
            async with read(source, name, later):
                pass


async def test_F2_a_damaged_resume_token_is_a_lost_position(open_source, read, database):
    name = f"{database.name}.orders"
    async with open_source(name) as source:
        async with read(source, name) as reading:
            position = reading.anchor
        with pytest.raises(PositionLostError) as caught:
            async with read(source, name, attrs.evolve(position, resume_token=ResumeToken("garbage"))):
                pass
        assert "on_lost_position" in caught.value.remedy


async def test_C1_C10_every_operation_with_ids_of_several_kinds(open_source, read, database):
    name = f"{database.name}.orders"
    ids = [1, "text", {"a": 1, "b": "x"}, Int64(2**60)]
    async with open_source(name) as source, read(source, name) as reading:
        for number in ids:
            database.orders.insert_one({"_id": number, "v": 1})
            database.orders.update_one({"_id": number}, {"$set": {"v": 2}, "$unset": {"w": 1}})
            database.orders.replace_one({"_id": number}, {"v": 3})
            database.orders.delete_one({"_id": number})
        events = await reading.events(16)
        assert [event.operation for event in events] == ["insert", "update", "replace", "delete"] * 4
        assert [event.document_key["_id"] for event in events] == [number for number in ids for _ in range(4)]
        assert events[1].update_description.updated_fields == {"v": 2}


async def test_C3_the_document_is_gone_when_it_is_looked_up(open_source, read, database):
    name = f"{database.name}.orders"
    async with open_source(name, full_document="updateLookup") as source, read(source, name) as reading:
        database.orders.insert_one({"_id": 1, "v": 1})
        database.orders.update_one({"_id": 1}, {"$set": {"v": 2}})
        database.orders.delete_one({"_id": 1})
        events = await reading.events(3)
        assert events[1].operation == Operation.UPDATE
        assert events[1].full_document is None


async def test_Z14_cluster_times_are_exact(open_source, read, database):
    name = f"{database.name}.orders"
    async with open_source(name) as source, read(source, name) as reading:
        database.orders.insert_many([{"n": n} for n in range(200)])
        times = [event.cluster_time for event in await reading.events(200)]
        assert times == sorted(times)
        assert len(set(times)) > 100


async def test_Z18_one_client_however_many_streams(open_source, read, database):
    async with open_source(f"{database.name}.a", f"{database.name}.b") as source:
        client = source._driver.client
        async with read(source, f"{database.name}.a"), read(source, f"{database.name}.b"):
            assert source._driver.client is client


async def test_K2_an_illegal_stage_is_said_in_plain_words(open_source, read, database):
    async with open_source(f"{database.name}.a", pipeline=[{"$nonsense": {"a": 1}}]) as source:
        with pytest.raises(IllegalPipelineError, match="nonsense"):
            async with read(source, f"{database.name}.a"):
                pass


async def test_F6_K4_nobody_listens_is_no_lost_position_and_no_password_is_shown(open_source):
    uri = "mongodb://user:sentinel-secret@127.0.0.1:1/?serverSelectionTimeoutMS=200"
    with pytest.raises(MongoDBUnavailableError) as caught:
        async with open_source("a.b", uri=uri):
            pass
    assert "127.0.0.1:1" in str(caught.value)
    assert "sentinel-secret" not in str(caught.value) + repr(caught.value)


async def test_K8_a_wrong_kind_of_uri_is_said(open_source):
    for uri, what in (
        ("mysql://user:sentinel-secret@host/", "mysql"),
        ("localhost:27017", "no scheme"),
        ("mongodb://host:port/", "digit"),
        ("mongodb://user:sentinel@secret@host/", "escaped"),
        ("mongodb://user:sentinel-secret@/", "is invalid"),
    ):
        with pytest.raises(ValueError, match=what) as caught:
            open_source("a.b", uri=uri)
        assert "sentinel" not in str(caught.value)


def test_K8_an_option_of_the_uri_that_the_driver_does_not_know_is_advice(open_source):
    (advice,) = open_source("a.b", uri="mongodb://host/?appName=a&bogus=sentinel").advice(Settings())
    assert '"bogus"' in advice
    assert "sentinel" not in advice


@pytest.mark.parametrize("scope", ["a", "*"])
async def test_C4_images_that_are_required_and_not_recorded_are_found_before_the_first_change(
    open_source, database, scope
):
    database.create_collection("a")
    database.create_collection("b", changeStreamPreAndPostImages={"enabled": True})
    async with open_source(f"{database.name}.{scope}", full_document_before_change="required") as source:
        (error,) = await source.examine(Stream("p", f"{database.name}.{scope}"))
    assert f"{database.name}.a records no" in str(error)
    assert 'collMod: "a"' in error.remedy
    async with open_source(f"{database.name}.{scope}") as source:
        assert await source.examine(Stream("p", f"{database.name}.{scope}")) == ()


async def test_K4_wrong_credentials_name_the_host_not_the_password(open_source, mongodb_uri):
    host = mongodb_uri.partition("://")[2]
    uri = f"mongodb://nobody:sentinel-secret@{host}?authSource=admin"
    with pytest.raises(AuthenticationError) as caught:
        async with open_source("a.b", uri=uri):
            pass
    assert host.rstrip("/") in str(caught.value)
    assert "sentinel-secret" not in str(caught.value)


async def test_C2_before_images_are_there_when_asked_for_and_never_invented(open_source, read, database):
    name = f"{database.name}.orders"
    database.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    database.orders.insert_one({"_id": 1, "v": 1})
    async with (
        open_source(name, full_document_before_change="whenAvailable") as asking,
        open_source(name) as silent,
        read(asking, name) as with_images,
        read(silent, name) as without,
    ):
        database.orders.update_one({"_id": 1}, {"$set": {"v": 2}})
        database.orders.delete_one({"_id": 1})
        assert [event.full_document_before_change for event in await with_images.events(2)] == [
            {"_id": 1, "v": 1},
            {"_id": 1, "v": 2},
        ]
        assert [event.full_document_before_change for event in await without.events(2)] == [None, None]


async def test_C5_applying_the_deltas_reproduces_the_documents(open_source, read, database):
    name = f"{database.name}.orders"
    changes = [
        {"$set": {"a": 1, "nested.b": 2}},
        {"$unset": {"a": 1}},
        {"$push": {"list": 4}},
        {"$set": {"list.0": 9}},
        {"$set": {"nested.c": {"d": [1, 2]}}},
        {"$unset": {"nested.b": 1}},
    ]
    async with open_source(name) as source, read(source, name) as reading:
        database.orders.insert_one({"_id": 1, "nested": {}, "list": [1, 2, 3]})
        for change in changes:
            database.orders.update_one({"_id": 1}, change)
        inserted, *updates = await reading.events(1 + len(changes))
        replica = dict(inserted.full_document)
        for event in updates:
            for path, value in event.update_description.updated_fields.items():
                put(replica, path.split("."), value)
            for path in event.update_description.removed_fields:
                put(replica, path.split("."))
        assert replica == database.orders.find_one({"_id": 1})


def put(document, path, *value):
    """Set the value at a path, or remove the field."""
    *parents, last = [int(step) if step.isdigit() else step for step in path]
    for step in parents:
        document = document[step]
    if not value:
        del document[last]
    elif isinstance(document, list) and last == len(document):
        document.append(*value)
    else:
        document[last] = value[0]
