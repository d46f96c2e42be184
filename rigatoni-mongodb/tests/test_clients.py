"""A client that the program owns: PyMongo's async one, its blocking one, and Motor's."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from bson import encode
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient
from rigatoni_core.api.bus import listening
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Resumed
from rigatoni_mongodb.errors import ImageMissingError, MongoDBUnavailableError
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.wire import Corrupt, Drop, Fail, ScriptedServer
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
EVENTS = [encode(event_document(number)) for number in range(25)]


@pytest.fixture(params=[AsyncMongoClient, MongoClient, AsyncIOMotorClient], ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


async def ping(client):
    """Return the response; blocking calls run on a thread, since the scripted server runs on this loop."""
    if isinstance(client, MongoClient):
        return await asyncio.to_thread(client.admin.command, "ping")
    return await client.admin.command("ping")


async def close(client):
    await (client.close() if isinstance(client, AsyncMongoClient) else asyncio.to_thread(client.close))


@pytest.fixture
def using(kind):
    """`async with using(uri, name) as source`: on a client of this kind, which must still work afterwards."""

    @asynccontextmanager
    async def opened(uri, *watch, **options):
        client = kind(uri)
        try:
            async with MongoDBSource.using(client, watch=watch, **{"max_await_time": 0.2, **options}) as source:
                yield source
            assert (await ping(client))["ok"]
        finally:
            await close(client)

    return opened


async def test_what_was_written_while_stopped_arrives_and_the_client_stays_open(using, mongodb_uri, database, read):
    name = f"{database.name}.orders"
    async with using(mongodb_uri, name) as source, read(source, name) as reading:
        database.orders.insert_one({"_id": 1})
        assert [event.document_key["_id"] for event in await reading.events(1)] == [1]
        position = reading.position
    database.orders.insert_many([{"_id": number} for number in range(2, 60)])
    async with using(mongodb_uri, name) as source, read(source, name, position) as reading:
        assert [event.document_key["_id"] for event in await reading.events(58)] == list(range(2, 60))


@pytest.mark.parametrize("fault", [Drop(), Corrupt(), Fail(43), Fail(10107, ("ResumableChangeStreamError",))], ids=str)
async def test_A13_a_fault_is_resumed_once(using, read, fault):
    heard = []

    class Heard:
        def notify(self, notice):
            heard.append(type(notice))

    async with ScriptedServer(events=EVENTS, script=[None, None, fault], reply_events=10) as server:
        start = {"start_at": "2020-01-01T00:00:00Z"}
        with listening([Heard()]):
            async with using(server.uri, NAME, **start) as source, read(source, NAME) as reading:
                ids = [event.full_document["_id"] for event in await reading.events(25)]
    assert ids == list(range(25))
    assert heard == [Resumed]


async def test_the_rest_of_the_source_works_too(using, mongodb_uri, database):
    database.create_collection("bare")
    async with using(mongodb_uri, f"{database.name}.bare", full_document="required") as source:
        assert [type(e) for e in await source.examine(Stream("p", f"{database.name}.bare"))] == [ImageMissingError]


async def test_several_streams_wait_at_once(using, mongodb_uri, database, read):
    """A cursor that waits for events blocks no other cursor."""
    names = [f"{database.name}.{letter}" for letter in "abcdef"]
    opened = using(mongodb_uri, *names, max_await_time=2.0)
    async with opened as source, asyncio.TaskGroup() as group, asyncio.timeout(15):

        async def one(name):
            async with read(source, name) as reading:
                ready.append(name)
                return await reading.events(1)

        ready = []
        tasks = [group.create_task(one(name)) for name in names]
        while len(ready) < len(names):
            await asyncio.sleep(0.05)
        for name in reversed(names):
            database[name.partition(".")[2]].insert_one({"_id": name})
    assert [task.result()[0].document_key["_id"] for task in tasks] == names


async def test_a_server_that_is_away_is_named(kind):
    client = kind("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300")
    with pytest.raises(MongoDBUnavailableError, match=r"127\.0\.0\.1:1"):
        await MongoDBSource.using(client, watch=[NAME]).__aenter__()
    await close(client)


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="not a client"):
        MongoDBSource.using(object(), watch=[NAME])
