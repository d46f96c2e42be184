"""A real server for the whole test run, with a separate database for each test."""

import asyncio
import itertools
from contextlib import aclosing

import pytest
from pymongo import MongoClient
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.server import mongodb_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory):
    with mongodb_server(tmp_path_factory.mktemp("mongodb") / "data") as uri:
        yield uri


@pytest.fixture(scope="session")
def client(mongodb_uri):
    with MongoClient(mongodb_uri) as client:
        yield client


@pytest.fixture
def database(client):
    name = f"shop{next(_numbers)}"
    yield client[name]
    client.drop_database(name)


class Reading:
    """An open stream, read with a time limit."""

    def __init__(self, batches):
        self.batches = batches
        self.position = None

    async def next(self):
        """Return the next item: a batch or a heartbeat."""
        async with asyncio.timeout(20):
            item = await anext(self.batches)
        self.position = item.end
        return item

    async def batch(self):
        """Wait for the next batch of events."""
        while not isinstance(item := await self.next(), EventBatch):
            pass
        return item

    async def events(self, count):
        """Wait for the next `count` events."""
        events = []
        while len(events) < count:
            events += await self.batch()
        return events

    async def rest(self):
        """Return all events until the stream has reported twice that it has caught up."""
        events, idle = [], 0
        while idle < 2:
            item = await self.next()
            if isinstance(item, EventBatch):
                events += item
            else:
                idle += item.caught_up
        return events


@pytest.fixture
def open_source(mongodb_uri):
    def make(*watch, uri=mongodb_uri, **options):
        return MongoDBSource(uri=Secret(uri), watch=watch, **{"max_await_time": 0.2, **options})

    return make


@pytest.fixture
def read():
    """`async with read(source, name, after) as reading`: after the anchor."""
    import contextlib

    @contextlib.asynccontextmanager
    async def opened(source, name, after=None):
        async with aclosing(source.read(Stream("p", name), after=after)) as batches:
            reading = Reading(batches)
            reading.anchor = (await reading.next()).end
            yield reading

    return opened
