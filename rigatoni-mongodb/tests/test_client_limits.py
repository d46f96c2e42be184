"""A pool that is too small, timeouts that are too short, and a server that does not reply."""

import asyncio
import warnings
from contextlib import AsyncExitStack

import attrs
import pytest
from bson import encode
from pymongo import AsyncMongoClient, MongoClient
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_mongodb import cursor, watchdog
from rigatoni_mongodb.client_limits import DEFAULT_SIZE, MARGIN, Turns, is_short, size_for, time_to_reply
from rigatoni_mongodb.errors import MongoDBConfigurationError, StalledStreamError
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.wire import ScriptedServer
from rigatoni_mongodb.watchdog import Watchdog
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
EVENTS = [encode(event_document(number)) for number in range(25)]


@attrs.define(kw_only=True)
class HangingServer(ScriptedServer):
    """Does not reply to some commands until it is released."""

    hangs: tuple[str, ...] = ("getMore",)
    go: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def _wait(self, command):
        if next(iter(command)) in self.hangs:
            await self.go.wait()

    async def __aexit__(self, *error):
        self.go.set()
        await asyncio.sleep(0.05)  # until the connections have ended
        await super().__aexit__(*error)


def test_the_pool_has_a_connection_for_each_stream_and_some_for_the_rest():
    assert size_for(1) == size_for(DEFAULT_SIZE - MARGIN) == DEFAULT_SIZE
    assert size_for(130) == 130 + MARGIN
    for streams in range(1, 300):
        assert not is_short(size_for(streams), streams)
    assert not is_short(0, 1000)  # without a limit
    assert is_short(6, 6)


@pytest.mark.parametrize(
    ("options", "streams", "size"),
    [("", 130, 134), ("", 6, 100), ("?maxPoolSize=7", 130, 7), ("?MAXPOOLSIZE=200", 6, 200)],
)
async def test_the_client_is_made_with_that_pool_unless_the_uri_sets_another(options, streams, size):
    source = MongoDBSource(uri=Secret(f"mongodb://127.0.0.1:1/{options}"), watch=[f"a.c{n}" for n in range(streams)])
    client = source._new_client()
    assert client.options.pool_options.max_pool_size == size
    await client.close()


async def test_turns_are_taken_in_order_and_leave_one_connection():
    turns, served, used = Turns(3), [], set()

    async def greedy(name):
        for _ in range(5):
            async with turns:
                used.add(name)
                assert len(used) <= 2
                served.append(name)
                await asyncio.sleep(0)
                used.remove(name)

    async with asyncio.TaskGroup() as group:
        for name in range(6):
            group.create_task(greedy(name))
    assert [sorted(served[start : start + 6]) for start in range(0, 30, 6)] == [list(range(6))] * 5


async def test_a_turn_that_is_cancelled_is_given_back():
    turns = Turns(1)
    for _ in range(3):
        async with turns:
            waiting = asyncio.create_task(turns.__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
    async with asyncio.timeout(1), turns:
        pass


@pytest.mark.parametrize("kind", [None, AsyncMongoClient, MongoClient])
@pytest.mark.parametrize("size", [1, 3])
async def test_six_streams_on_a_pool_that_is_too_small_all_deliver(
    mongodb_uri, database, open_source, read, kind, size
):
    names = [f"{database.name}.c{number}" for number in range(6)]
    uri = f"{mongodb_uri}?maxPoolSize={size}"
    client = kind and kind(uri)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        options = {"watch": names, "max_await_time": 0.2}
        source = open_source(*names, uri=uri) if client is None else MongoDBSource.using(client, **options)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(source)
            advice = [text for text in source.advice(Settings()) if "maxPoolSize" in text]
            readings = [await stack.enter_async_context(read(source, name)) for name in names]
            for number in range(6):
                database[f"c{number}"].insert_one({"_id": number})
            delivered = set()

            async def keep_reading(reading):
                while len(delivered) < 6:  # like workers: a stream that has delivered keeps reading
                    item = await reading.next()
                    if isinstance(item, EventBatch):
                        delivered.update(event.document_key["_id"] for event in item)

            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                for reading in readings:
                    group.create_task(keep_reading(reading))
    assert delivered == set(range(6))
    assert f"maxPoolSize = {size}" in advice[0]
    assert "6 streams" in advice[0]
    assert f"at least {6 + MARGIN}" in advice[0]
    loud = [str(warning.message) for warning in caught if "maxPoolSize" in str(warning.message)]
    assert loud == ([] if client is None else advice)
    if client is not None:
        await (client.close() if kind is AsyncMongoClient else asyncio.to_thread(client.close))


async def test_a_pool_that_is_large_enough_gives_no_advice(open_source, mongodb_uri):
    async with open_source("a.b", uri=f"{mongodb_uri}?maxPoolSize={1 + MARGIN}") as source:
        assert not [line for line in source.advice(Settings()) if "maxPoolSize" in line]


async def test_behind_a_load_balancer_a_small_pool_is_refused(open_source):
    source = open_source("a.b", "a.c", uri="mongodb://127.0.0.1:1/?loadBalanced=true&maxPoolSize=2")
    with pytest.raises(MongoDBConfigurationError, match="load balancer") as caught:
        await source.__aenter__()
    assert caught.value.remedy.startswith("Set maxPoolSize")


@pytest.mark.parametrize("option", ["socketTimeoutMS=1000", "socketTimeoutMS=500", "timeoutMS=900"])
async def test_a_timeout_below_the_await_time_is_named(open_source, option):
    name = option.partition("=")[0]
    source = open_source(NAME, uri=f"mongodb://127.0.0.1:1/?{option}", max_await_time=1.0)
    with pytest.raises(MongoDBConfigurationError, match=f"{name} = .*max_await_time = 1 s") as caught:
        await source.__aenter__()
    assert name in caught.value.remedy
    assert "host" not in caught.value.remedy


async def test_a_timeout_of_a_client_that_the_program_owns_is_named():
    client = MongoClient("mongodb://127.0.0.1:1/?socketTimeoutMS=500", connect=False)
    with pytest.raises(MongoDBConfigurationError, match="socketTimeoutMS"):
        await MongoDBSource.using(client, watch=[NAME]).__aenter__()


async def test_a_timeout_above_the_await_time_is_no_error(mongodb_uri, open_source):
    async with open_source(NAME, uri=f"{mongodb_uri}?socketTimeoutMS=2000", max_await_time=0.5):
        pass


# The watchdog


async def test_a_stream_without_a_reply_fails_with_pool_and_await_time(open_source, read, monkeypatch):
    monkeypatch.setattr(watchdog, "LEAST", 0.3)
    async with (
        HangingServer(events=EVENTS) as server,
        open_source(NAME, uri=server.uri, max_await_time=0.02, start_at="2020-01-01T00:00:00Z") as source,
    ):
        async with read(source, NAME) as reading:
            position = reading.anchor
            with pytest.raises(StalledStreamError) as caught:
                await reading.next()
        assert caught.value.transient
        for words in ("p/shop.orders", server.address, "0.3 s", "max_await_time is 0.02 s", "maxPoolSize is 100"):
            assert words in str(caught.value)
        server.go.set()
        async with read(source, NAME, position) as reading:
            assert len(await reading.events(25)) == 25


@pytest.mark.parametrize("kind", [AsyncMongoClient, MongoClient])
async def test_a_server_that_is_frozen_makes_the_stream_fail_though_its_cursor_cannot_be_closed(
    read, monkeypatch, kind
):
    monkeypatch.setattr(watchdog, "LEAST", 0.2)
    monkeypatch.setattr(cursor, "CLOSE_LIMIT", 0.2)

    async with HangingServer(events=EVENTS, hangs=("getMore", "killCursors")) as server:
        client = kind(server.uri)
        async with MongoDBSource.using(client, watch=[NAME], max_await_time=0.02) as source:
            async with asyncio.timeout(5):
                with pytest.raises(StalledStreamError):
                    async with read(source, NAME) as reading:
                        await reading.next()
            server.go.set()
            await asyncio.sleep(0.05)
        await (client.close() if kind is AsyncMongoClient else asyncio.to_thread(client.close))


async def test_a_stalled_opening_fails_too(open_source, read, monkeypatch):
    monkeypatch.setattr(watchdog, "LEAST", 0.2)

    server = HangingServer(events=EVENTS, hangs=("aggregate",))
    async with server, open_source(NAME, uri=server.uri, max_await_time=0.02) as source:
        with pytest.raises(StalledStreamError):
            async with read(source, NAME):
                pass


async def test_a_program_that_uses_up_its_own_pool_makes_the_stream_fail(mongodb_uri, database, read, monkeypatch):
    """Turns do not limit the program's own use of a shared client."""
    monkeypatch.setattr(watchdog, "LEAST", 0.5)
    name = f"{database.name}.orders"

    async with AsyncMongoClient(f"{mongodb_uri}?maxPoolSize={1 + MARGIN}") as client:
        other = client[database.name]

        async def busy():
            opened = await other.command({"aggregate": "x", "pipeline": [{"$changeStream": {}}], "cursor": {}})
            await other.command({"getMore": opened["cursor"]["id"], "collection": "x", "maxTimeMS": 3000})

        source = MongoDBSource.using(client, watch=[name], max_await_time=0.05)
        async with source, read(source, name) as reading, asyncio.TaskGroup() as group:
            for _ in range(1 + MARGIN):
                group.create_task(busy())
            await asyncio.sleep(0.5)  # until they have every connection
            with pytest.raises(StalledStreamError, match=f"maxPoolSize is {1 + MARGIN}"):
                await reading.next()


async def test_the_watchdogs_limit_doubles_until_a_reply_comes(monkeypatch):
    """A server that scans a long oplog is thus not interrupted forever."""
    monkeypatch.setattr(watchdog, "LEAST", 0.04)
    waits = []
    dog = Watchdog(0.001, lambda seconds: waits.append(seconds) or StalledStreamError("stalled"))

    async def reply_after(seconds):
        await asyncio.sleep(seconds)
        return "reply"

    for _ in range(2):
        with pytest.raises(StalledStreamError):
            await dog(reply_after(0.12))
    assert await dog(reply_after(0.12)) == "reply"
    with pytest.raises(StalledStreamError):
        await dog(reply_after(0.12))
    assert waits == [0.04, 0.08, 0.04]


async def test_a_timeout_of_what_is_awaited_is_not_the_watchdogs():
    async def times_out():
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await Watchdog(1.0, lambda _: StalledStreamError("stalled"))(times_out())


def test_the_limit_is_several_await_times():
    assert watchdog.LEAST == 30
    assert watchdog.FACTOR == 10
    assert time_to_reply(0, 500, 1.0) == time_to_reply(500 + MARGIN, 500, 1.0) == 1.0
    assert time_to_reply(7, 130, 2.0) == 22 * 2.0
