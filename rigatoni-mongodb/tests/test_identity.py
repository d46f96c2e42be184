"""The identity of a deployment: on scripted servers, and on two real ones with the same replica-set name."""

import asyncio
from uuid import UUID, uuid4

import pytest
from bson import ObjectId, encode
from pymongo import MongoClient
from rigatoni_core.api.errors import OtherDeploymentError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.identity import Identity, same_deployment
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_mongodb.errors import MongoDBUnavailableError
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_mongodb.testing.wire import Fail, ScriptedServer
from rigatoni_testing.batches import event_document
from rigatoni_testing.scripted import Bucket, BucketDestination, FlakyStateStore

ORDERS, USERS, VERSION, OTHERS = (UUID(int=number) for number in range(1, 5))
COLLECTIONS = {
    "shop": {"orders": ORDERS, "users": USERS},
    "admin": {"system.version": VERSION},
    "hr": {"staff": OTHERS},
}
ID = ObjectId("65f0a1b2c3d4e5f60718293a")


async def identity(open_source, server, watch):
    async with open_source(watch, uri=server.uri) as source:
        return source.definition(Stream("p", watch)).identity


@pytest.mark.parametrize(
    ("watch", "collections"),
    [
        ("shop.orders", (VERSION, ORDERS, USERS)),
        ("shop.*", (VERSION, ORDERS, USERS)),
        ("*", (VERSION, OTHERS, ORDERS, USERS)),
        ("empty.orders", (VERSION,)),
    ],
)
async def test_J9_a_plain_reader_recognizes_the_deployment_by_the_collections_around_the_stream(
    open_source, watch, collections
):
    async with ScriptedServer(collections=COLLECTIONS) as server:
        assert await identity(open_source, server, watch) == Identity("scripted", "", tuple(map(str, collections)))


@pytest.mark.parametrize(
    ("role", "name", "kind"), [("primary", "scripted", "replica-set"), ("mongos", "sharded", "cluster")]
)
async def test_J9_the_id_of_the_replica_set_or_cluster_is_taken_where_it_may_be_read(open_source, role, name, kind):
    async with ScriptedServer(role=role, deployment_id=ID) as server:
        assert await identity(open_source, server, "shop.orders") == Identity(name, f"{kind}:{ID}", ())


async def test_J9_collections_that_were_created_after_the_start_are_known_once_the_identity_is_refreshed(open_source):
    stream, created = Stream("p", "shop.orders"), str(UUID(int=9))
    shop: dict[str, UUID] = {}
    fails: dict[str, Fail] = {}
    server = ScriptedServer(collections={"shop": shop}, fails=fails)
    async with server, open_source("shop.orders", uri=server.uri) as source:
        shop["orders"] = UUID(created)
        assert created not in source.definition(stream).identity.collections
        await source.refresh_identity(stream)
        assert source.definition(stream).identity.collections == (created,)
        fails["listCollections"] = Fail(11600)
        with pytest.raises(MongoDBUnavailableError):
            await source.refresh_identity(stream)


async def test_J9_a_user_who_may_list_nothing_is_no_error_and_the_deployment_is_unknown(open_source):
    async with ScriptedServer(collections=COLLECTIONS, fails={"listCollections": Fail(13)}) as server:
        present = await identity(open_source, server, "shop.orders")
    assert present == Identity("scripted")
    assert same_deployment(Identity("scripted", "", (str(ORDERS),)), present) is None


async def test_J9_a_server_that_cannot_list_at_present_is_no_unknown_deployment(open_source):
    passing = Fail(11602, labels=("ResumableChangeStreamError",))
    async with ScriptedServer(fails={"listCollections": passing}) as server:
        with pytest.raises(MongoDBUnavailableError):
            await identity(open_source, server, "shop.orders")


async def test_J9_collections_that_are_dropped_while_the_stream_is_read_become_former_ones(open_source, read):
    events = [encode(event_document(number)) for number in range(3)]
    async with ScriptedServer(events=events, collections={"shop": {"orders": ORDERS}}) as server:
        start = "2020-01-01T00:00:00Z"
        async with open_source("shop.orders", uri=server.uri, start_at=start) as source:
            server.collections = {"shop": {"orders": USERS}}
            async with read(source, "shop.orders") as reading:
                await reading.events(3)
                present = source.definition(Stream("p", "shop.orders")).identity
    assert present == Identity("scripted", "", (str(USERS),), (str(ORDERS),))


async def run(source, bucket, state):
    """Run until the stream has caught up; return the error that ended the run, if any."""
    running = Pipeline(
        name="p",
        source=source,
        destination=BucketDestination(bucket=bucket),
        state=state,
        settings=Settings(batch_timeout=0.3, on_lost_position="restart_from_now"),
    )
    async with asyncio.timeout(60):
        report = await running.run(once=True)
    (outcome,) = report.workers.values()
    return outcome.error


@pytest.fixture
def other_uri(tmp_path):
    with mongodb_server(tmp_path / "other") as uri:
        yield uri


@pytest.mark.parametrize("state_is_lost", [False, True])
@pytest.mark.parametrize("in_use", [False, True], ids=["an empty one", "one with the same collection"])
async def test_J9_a_uri_that_names_another_deployment_changes_nothing(
    open_source, database, other_uri, state_is_lost, in_use
):
    """Case c22: both servers report that they are the replica set `secantus`."""
    name, bucket, state = f"{database.name}.c", Bucket(), FlakyStateStore()
    database.c.insert_one({"_id": 0})
    assert await run(open_source(name), bucket, state) is None
    database.c.insert_one({"_id": 1})
    assert await run(open_source(name), bucket, state) is None
    objects, checkpoints = dict(bucket.objects), dict(state._checkpoints)
    if state_is_lost:
        state, checkpoints = FlakyStateStore(), {}
    if in_use:
        with MongoClient(other_uri) as other:
            other[database.name].c.insert_many([{"_id": number} for number in range(5)])
    error = await run(open_source(name, uri=other_uri), bucket, state)
    assert isinstance(error, OtherDeploymentError)
    assert (bucket.objects, state._checkpoints) == (objects, checkpoints)
    database.c.insert_one({"_id": 2})
    assert await run(open_source(name), bucket, state) is None
    assert len(bucket.tokens(Stream("p", name))) == 2


async def test_J9_a_collection_that_was_replaced_in_the_meantime_is_of_the_same_deployment(open_source, database):
    name, bucket, state = f"{database.name}.c", Bucket(), FlakyStateStore()
    database.c.insert_one({"_id": 0})
    database.beside.insert_one({"_id": 0})
    assert await run(open_source(name), bucket, state) is None
    database.c.drop()
    database.c.insert_one({"_id": str(uuid4())})
    assert await run(open_source(name), bucket, state) is None


async def test_J9_a_drop_that_was_read_leaves_nothing_to_miss(open_source, database):
    name, bucket, state = f"{database.name}.c", Bucket(), FlakyStateStore()
    database.c.insert_one({"_id": 0})
    assert await run(open_source(name), bucket, state) is None
    (saved,) = state._checkpoints.values()
    assert len(saved.identity.collections) == 1
    running = Pipeline(
        name="p",
        source=open_source(name),
        destination=BucketDestination(bucket=bucket),
        state=state,
        settings=Settings(batch_timeout=0.3),
    )
    task = asyncio.create_task(running.run())
    await asyncio.sleep(1)
    database.c.drop()
    await asyncio.sleep(2)
    running.stop()
    await task
    (saved,) = state._checkpoints.values()
    assert saved.identity.collections == ()
    assert await run(open_source(name), bucket, state) is None
