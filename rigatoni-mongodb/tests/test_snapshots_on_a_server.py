"""Snapshots of a real server, which cannot read at a time: the window rule, collations, and ids of many types."""

import random
import threading
from contextlib import aclosing

import bson
import pytest
from bson.int64 import Int64
from pymongo.collation import Collation
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.snapshots import SnapshotRequest
from rigatoni_mongodb.snapshots import planning


async def read_all(source, name, limit, *, ranges=1):
    """Return the rows of a snapshot, by their documents' ids as the server orders them."""
    stream, request, rows = Stream("p", name), SnapshotRequest(), []
    async with aclosing(source.read(stream, after=None)) as items:
        anchor = (await anext(items)).end
    plan = await source.plan_snapshot(stream, request, ranges=ranges)
    for index, part in enumerate(plan.ranges):
        low = part.low
        while True:
            chunk = await source.read_chunk(
                stream, request, plan, index, name=f"{name}#1", low=low, at=anchor, limit=limit
            )
            rows += [bson.decode(raw) for segment in chunk.rows for raw in segment.copies()]
            low = chunk.end
            if low is None:
                break
    return plan, rows


async def test_S4_texts_that_a_collation_takes_for_equal_or_orders_otherwise(database, open_source):
    orders = database.create_collection("orders", collation=Collation("en", strength=2))
    orders.insert_many([{"_id": text} for text in ("b", "A", "C", "a2", "B2", "ä", "Z", "_", "10", "9")])
    async with open_source(f"{database.name}.orders") as source:
        _, rows = await read_all(source, f"{database.name}.orders", 300)
    assert [row["_id"]["document"] for row in rows] == [each["_id"] for each in orders.find().sort("_id")]
    assert len(rows) == 10


@pytest.mark.parametrize("limit", [1, 10**6])
async def test_S3_ids_of_many_types(database, open_source, limit):
    ids = [bson.MinKey(), None, float("nan"), 1, 1.5, Int64(2), "a", {"a": 1}, b"x", bson.ObjectId(), True]
    database.orders.insert_many([{"_id": id_} for id_ in (*ids, bson.Timestamp(1, 1), bson.MaxKey())])
    async with open_source(f"{database.name}.orders") as source:
        _, rows = await read_all(source, f"{database.name}.orders", limit)
    found = [bson.encode({"_id": row["_id"]["document"]}) for row in rows]
    assert found == [bson.encode(each) for each in database.orders.find().sort("_id").hint({"_id": 1})]


async def test_a_filter_that_is_no_query_is_refused_by_the_server(database, open_source):
    database.orders.insert_one({"_id": 1})
    name = f"{database.name}.orders"
    async with open_source(name) as source:
        stream = Stream("p", name)
        await source.plan_snapshot(stream, SnapshotRequest(filters={name: '{"v": {"$gt": 1}}'}), ranges=1)
        with pytest.raises(ConfigurationError, match="nonsense"):
            await source.plan_snapshot(stream, SnapshotRequest(filters={name: '{"v": {"$nonsense": 1}}'}), ranges=1)


async def test_S2_ranges_of_a_collection_that_changes(database, open_source, monkeypatch):
    monkeypatch.setattr(planning, "SMALL", 0)
    database.orders.insert_many([{"_id": id_, "v": 0, "w": 0} for id_ in range(600)])
    stop = threading.Event()

    def write():
        chance = random.Random(1)
        while not stop.wait(0.01):
            # Two fields that change together: a row that mixes two moments would show.
            value = chance.random()
            database.orders.update_one({"_id": chance.randrange(600)}, {"$set": {"v": value, "w": value}})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        async with open_source(f"{database.name}.orders") as source:
            plan, rows = await read_all(source, f"{database.name}.orders", 20_000, ranges=1)
    finally:
        stop.set()
        writer.join()
    assert len(plan.ranges) == 4
    assert [row["_id"]["document"] for row in rows] == list(range(600))
    assert all(row["fullDocument"]["v"] == row["fullDocument"]["w"] for row in rows)
