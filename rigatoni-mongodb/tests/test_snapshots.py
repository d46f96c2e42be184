"""Snapshots read from a server with a history: every chunk is the state of its range at one cluster time.

Numbers S1, S2, … are the scenarios of docs/scenarios.md, section "Snapshots".
"""

import random
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import bson
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from rigatoni_core.api.bus import listening
from rigatoni_core.api.errors import ConfigurationError, SourceError
from rigatoni_core.api.events import Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import SnapshotWindowed
from rigatoni_core.api.options import Secret
from rigatoni_core.api.snapshots import SnapshotRequest, SnapshotTimeError
from rigatoni_mongodb.decoding import CODEC
from rigatoni_mongodb.errors import IllegalPipelineError, MongoDBUnavailableError, ServerFailureError
from rigatoni_mongodb.snapshots import bounds, planning, range_reader
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.bson_order import order
from rigatoni_mongodb.testing.versioned import START, VersionedServer
from rigatoni_mongodb.testing.wire import Fail

ORDERS = "shop.orders"
RECORDINGS = Path(__file__).parents[2] / "tests" / "recordings"
RULES = ["5.0", "7.0", "ignored", "refused"]
AT_TIME, BY_WINDOW = RULES[:2], RULES[2:]


class Heard(list):
    """The notices of the window rule."""

    def notify(self, notice):
        if isinstance(notice, SnapshotWindowed):
            self.append(notice)


@attrs.define(slots=False)
class Snapshot:
    """A snapshot that is read to its end, as the engine does: each chunk at the stream's position."""

    source: MongoDBSource
    server: VersionedServer
    stream: Stream
    request: SnapshotRequest = attrs.field(factory=SnapshotRequest)
    limit: int = 1000
    ranges: int = 1
    plan: object = None
    chunks: list = attrs.field(factory=list)
    heard: list = attrs.field(factory=Heard)
    refusals: int = 0

    def position(self):
        return Position(ResumeToken("{}"), "", Timestamp(START, self.server.moment), 1)

    async def read(self, index, low, **options):
        name, options = f"{self.stream.name}#1", {"limit": self.limit, **options}
        with listening([self.heard]):
            return await self.source.read_chunk(
                self.stream, self.request, self.plan, index, name=name, low=low, at=self.position(), **options
            )

    async def run(self, between=lambda: None):
        self.plan = await self.source.plan_snapshot(self.stream, self.request, ranges=self.ranges)
        for index, part in enumerate(self.plan.ranges):
            low = part.low
            while True:
                between()
                try:
                    chunk = await self.read(index, low)
                except SnapshotTimeError:
                    self.refusals += 1
                    assert self.refusals < 100
                    continue
                self.chunks.append((index, low, chunk))
                low = chunk.end
                if low is None or chunk.ended:
                    break
        return self

    def rows(self):
        return [decoded(raw) for _, _, chunk in self.chunks for rows in chunk.rows for raw in rows.copies()]

    def ids(self):
        return [row["_id"]["document"] for row in self.rows()]

    def assert_right(self):
        """Each chunk is what its range had at its time, and the chunks of a range follow each other."""
        for index, part in enumerate(self.plan.ranges):
            chunks = [(low, chunk) for number, low, chunk in self.chunks if number == index]
            assert [low for low, _ in chunks] == [part.low, *(chunk.end for _, chunk in chunks[:-1])]
            for low, chunk in chunks:
                rows = [decoded(raw) for segment in chunk.rows for raw in segment.copies()]
                name = rows[0]["ns"]["coll"] if rows else part.namespace.collection
                there = self.server.documents(f"{part.namespace.database}.{name}", chunk.at.increment)
                end = chunk.end or part.high
                expected = [each for each in there if inside(each["_id"], low, end)]
                if not chunk.ended:
                    found = [bson.encode(row["fullDocument"]) for row in rows]
                    assert found == list(map(bson.encode, expected))
                    assert all(row["clusterTime"] == bson.Timestamp(START, chunk.at.increment) for row in rows)
                    assert all(row["operationType"] == self.request.operation for row in rows)


def inside(id_, low, high):
    low, high = (text and order(decoded(bounds.from_text(text))["_id"]) for text in (low, high))
    return (low is None or order(id_) >= low) and (high is None or order(id_) < high)


def decoded(raw):
    return bson.decode(raw, CODEC)


@asynccontextmanager
async def opened(server, *watch, **options):
    """Yield a snapshot of the first watched stream of a server, which this starts."""
    names = watch or (ORDERS,)
    async with server, MongoDBSource(uri=Secret(server.uri), watch=names, max_await_time=0.1, **options) as source:
        yield Snapshot(source, server, Stream("p", names[0]))


def filled(rule, ids=range(100), namespace=ORDERS, **options):
    server = VersionedServer(time_reads=rule, opaque_tokens=rule == "ignored", **options)
    for id_ in ids:
        server.insert(namespace, {"_id": id_, "v": 0})
    return server


class Writer:
    """Changes random documents of a collection before a command is served."""

    def __init__(self, server, seed, *, ids=100, chance=0.7, spares=()):
        self.server, self.random, self.ids, self.chance, self.spares = server, random.Random(seed), ids, chance, spares
        server.before = self

    def __call__(self, command=None):
        while self.random.random() < self.chance:
            id_ = self.random.randrange(self.ids)
            there = any(each["_id"] == id_ for each in self.server.documents(ORDERS))
            if not there:
                self.server.insert(ORDERS, {"_id": id_, "v": self.random.random()})
            elif self.random.random() < 0.3:
                self.server.delete(ORDERS, id_)
            else:
                self.server.update(ORDERS, id_, v=self.random.random())


@pytest.mark.parametrize("rule", RULES)
async def test_S1_documents_that_do_not_change_are_read_once(rule):
    async with opened(filled(rule)) as snapshot:
        await snapshot.run()
    snapshot.assert_right()
    assert snapshot.ids() == list(range(100))
    assert len(snapshot.chunks) > 10
    assert all(chunk.nbytes <= 1000 and not chunk.filtered for _, _, chunk in snapshot.chunks)
    assert (snapshot.plan.at is None) == (rule in BY_WINDOW)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
async def test_S2_documents_that_change_are_read_as_of_one_time(rule, seed):
    server = filled(rule, ids=range(0, 100, 2), reply_events=3)
    async with opened(server) as snapshot:
        snapshot.ranges, snapshot.limit = 2, 400 + 1500 * seed
        writer = Writer(server, seed)
        await snapshot.run(writer)
    snapshot.assert_right()
    ids = snapshot.ids()
    assert len(set(ids)) == len(ids)
    assert all(chunk.after <= chunk.at for _, _, chunk in snapshot.chunks)


@pytest.mark.parametrize("rule", BY_WINDOW)
async def test_a_chunk_read_by_the_window_rule_waits_for_the_last_change_of_its_documents(rule):
    server = filled(rule)
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        position = snapshot.position()
        server.update(ORDERS, 1, v="in")
        last = server.moment
        server.update(ORDERS, 99, v="beyond the chunk")
        chunk = await snapshot.source.read_chunk(
            snapshot.stream, snapshot.request, snapshot.plan, 0, name="s#1", low=None, at=position, limit=1000
        )
        untouched = await snapshot.read(0, chunk.end)
    assert chunk.after == Timestamp(START, last)
    assert untouched.after <= untouched.at


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("limit", [1, 250, 10**6])
async def test_S3_ids_of_every_type_are_read_in_the_servers_order(rule, limit):
    ids = [
        *(bson.MinKey(), None, float("nan"), float("-inf"), 1, 1.5, bson.Int64(2), bson.Decimal128("2.5"), "", "a"),
        *({}, {"a": 1}, {"a": 2}, b"", b"x", bson.Binary(b"x", 5), bson.ObjectId(bytes(12)), False, True),
        *(bson.DatetimeMS(-1), bson.DatetimeMS(2**62), bson.Timestamp(1, 1), bson.MaxKey()),
    ]
    shuffled = random.Random(1).sample(ids, len(ids))
    async with opened(filled(rule, shuffled)) as snapshot:
        snapshot.limit = limit
        await snapshot.run()
    snapshot.assert_right()
    assert [bson.encode({"_id": id_}) for id_ in snapshot.ids()] == [bson.encode({"_id": id_}) for id_ in ids]


async def test_S3_ranges_divide_ids_of_every_type(monkeypatch):
    monkeypatch.setattr(planning, "SMALL", 0)
    ids = [bson.MinKey(), *range(30), *map(str, range(30)), *(bson.ObjectId() for _ in range(30)), bson.MaxKey()]
    async with opened(filled("5.0", ids)) as snapshot:
        snapshot.ranges = 2
        await snapshot.run()
    snapshot.assert_right()
    assert len(snapshot.plan.ranges) == 8
    assert [one.high for one in snapshot.plan.ranges[:-1]] == [other.low for other in snapshot.plan.ranges[1:]]
    assert len(snapshot.ids()) == len(ids)


@pytest.mark.parametrize("rule", RULES)
async def test_the_document_whose_id_is_MaxKey_is_read_once_although_an_open_end_leaves_it_out(rule):
    async with opened(filled(rule, [1, 2, bson.MaxKey()])) as snapshot:
        snapshot.limit = 1
        await snapshot.run()
    assert list(map(repr, snapshot.ids())) == ["1", "2", "MaxKey()"]


async def test_S12_a_time_that_cannot_be_read_is_replaced_by_a_later_one():
    server = filled("5.0")
    async with opened(server) as snapshot:
        failures = iter([Fail(239), Fail(246), Fail(50), Fail(175), Fail(72)])
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        server.failing = lambda command: next(failures, None) if "find" in command else None
        for _ in range(5):
            with pytest.raises(SnapshotTimeError):
                await snapshot.read(0, None)
            server.update(ORDERS, 1, v=server.moment)
        server.failing = lambda command: None
        chunk = await snapshot.read(0, None)
    assert chunk.at == Timestamp(START, server.moment)


async def test_S12_a_chunk_that_no_time_suits_is_halved_and_then_read_by_the_window_rule():
    server, heard = filled("5.0"), Heard()
    async with opened(server) as snapshot:
        snapshot.heard = heard
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        refuse = lambda command: Fail(246) if command.get("readConcern", {}).get("level") == "snapshot" else None  # noqa: E731
        server.failing = refuse
        for _ in range(10):
            with pytest.raises(SnapshotTimeError):
                await snapshot.read(0, None)
            server.update(ORDERS, 1, v=server.moment)
        chunk = await snapshot.read(0, None)
        assert decoded(bytes(chunk.rows[0].raw(1)))["fullDocument"]["v"] == server.documents(ORDERS)[1]["v"]
        assert "refused reads at 10 cluster times" in heard[0].reason
        server.failing = lambda command: None
        assert (await snapshot.read(0, chunk.end)).at == Timestamp(START, server.moment)


async def test_S12_a_chunk_is_halved_once_five_times_were_refused():
    server = filled("5.0")
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        server.failing = lambda command: Fail(246) if "find" in command else None
        for _ in range(5):
            with pytest.raises(SnapshotTimeError):
                await snapshot.read(0, None)
            server.update(ORDERS, 1, v=server.moment)
        server.failing = lambda command: None
        chunk = await snapshot.read(0, None)
        assert chunk.nbytes <= snapshot.limit // 2
        assert (await snapshot.read(0, chunk.end)).nbytes > snapshot.limit // 2


async def test_S12_the_same_refused_time_counts_once():
    server = filled("5.0")
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        server.failing = lambda command: Fail(246) if "find" in command else None
        for _ in range(12):
            with pytest.raises(SnapshotTimeError):
                await snapshot.read(0, None)
        server.failing = lambda command: None
        assert (await snapshot.read(0, None)).nbytes > 500


async def test_S12_an_error_of_another_kind_is_raised_as_itself():
    server = filled("5.0")
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        server.failing = lambda command: Fail(13) if "find" in command else None
        with pytest.raises(SourceError) as caught:
            await snapshot.read(0, None)
    assert caught.value.id == "mongodb-privilege"


async def test_S13_a_server_that_reads_at_another_time_is_read_by_the_window_rule():
    server, heard = filled("ignored"), Heard()
    async with opened(server) as snapshot:
        snapshot.heard = heard
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        assert snapshot.plan.at is None
        position = snapshot.position()
        server.update(ORDERS, 1, v="later")
        plan = attrs.evolve(snapshot.plan, at=position.cluster_time)  # as of an owner that believed in it
        snapshot.plan, snapshot.position = plan, lambda: position
        chunk = await snapshot.read(0, None)
    assert chunk.at > position.cluster_time
    assert [notice.collection for notice in heard] == [Namespace("shop", "orders")]
    assert "another time" in heard[0].reason


@pytest.mark.parametrize("rule", BY_WINDOW)
async def test_S14_a_document_that_changes_all_the_time_gets_a_chunk_of_its_own(rule):
    server = filled(rule, range(20))
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        chance = random.Random(1)

        def heat(command):
            if chance.random() < 0.5:
                server.update(ORDERS, 7, v=server.moment)

        server.before = heat
        await snapshot.run()
    snapshot.assert_right()
    assert snapshot.ids() == list(range(20))
    assert any(chunk.count == 1 for _, _, chunk in snapshot.chunks)


async def test_S14_a_document_that_never_rests_is_given_up_for_now():
    server = filled("ignored", range(3))
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        server.before = lambda command: server.update(ORDERS, 0, v=server.moment)
        with pytest.raises(SnapshotTimeError, match="change faster"):
            await snapshot.read(0, None)


def change_of(server, change):
    """Drop, rename or replace the collection."""
    server.before = lambda command: None
    match change:
        case "drop":
            server.drop(ORDERS)
        case "drop and create":
            server.drop(ORDERS)
            server.insert(ORDERS, {"_id": "another"})
        case "rename in":
            server.rename(ORDERS, "shop.old")
        case "rename out":
            server.rename(ORDERS, "shop.archive")
        case "swap":
            server.insert("shop.new", {"_id": "another"})
            server.rename("shop.new", ORDERS)


ENDS = {"drop": "dropped", "drop and create": "dropped", "swap": "dropped", "rename out": "renamed", "rename in": ""}


@pytest.mark.parametrize("change", ENDS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("when", ["find", "getMore", "listCollections", "never"])
async def test_S18_a_collection_that_is_dropped_renamed_or_replaced(change, rule, when):
    server = filled(rule, range(30), reply_events=4)
    async with opened(server, "shop.o*") as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        chunks = [await snapshot.read(0, None)]
        server.before = lambda command: change_of(server, change) if when in command else None
        if when == "never":
            change_of(server, change)
        for _ in range(60):
            try:
                chunks.append(await snapshot.read(0, chunks[-1].end))
            except SnapshotTimeError:
                server.insert("other.orders", {"_id": server.moment})  # the stream goes on
            if chunks[-1].ended or chunks[-1].end is None:
                break
    rows = [decoded(raw) for chunk in chunks for rows in chunk.rows for raw in rows.copies()]
    assert chunks[-1].ended == ENDS[change]
    assert chunks[-1].end is None
    assert all(row["fullDocument"]["v"] == 0 for row in rows)
    if change == "rename in":
        assert [row["documentKey"]["_id"] for row in rows] == list(range(30))
        assert rows[-1]["ns"] == {"db": "shop", "coll": "old"}


@pytest.mark.parametrize("rule", ["5.0", "7.0"])
async def test_S18_a_name_that_is_gone_is_not_taken_for_an_empty_range(rule):
    """Servers reply to a read of a name that is gone with no documents, no error and no cluster time."""
    server = filled(rule)
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        server.before = lambda command: change_of(server, "drop") if "find" in command else None
        if rule == "7.0":
            snapshot.position = lambda: Position(ResumeToken("{}"), "", Timestamp(START, 1), 1)
        chunk = await snapshot.read(0, None)
    assert (chunk.ended, chunk.count, chunk.end) == ("dropped", 0, None)


SECRET = {"$unset": "fullDocument.secret"}
INSERTS = {"$match": {"operationType": "insert"}}


@pytest.mark.parametrize("rule", RULES)
async def test_S27_the_pipeline_of_the_source_applies_to_rows(rule):
    server = VersionedServer(time_reads=rule)
    for id_ in range(40):
        server.insert(ORDERS, {"_id": id_, "v": 0, "secret": "hush"})
    async with opened(server, pipeline=[SECRET, INSERTS]) as snapshot:
        await snapshot.run()
    rows = snapshot.rows()
    assert [row["fullDocument"] for row in rows] == [{"_id": id_, "v": 0} for id_ in range(40)]
    assert {row["operationType"] for row in rows} == {"read"}
    assert all(chunk.filtered for _, _, chunk in snapshot.chunks)
    assert not any("find" in command and "projection" not in command for command in server.reads)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
async def test_S27_rows_of_a_pipeline_are_right_while_documents_change(rule, seed):
    server = filled(rule, range(0, 100, 2), reply_events=5)
    async with opened(server, pipeline=[{"$set": {"mark": {"$literal": 1}}}]) as snapshot:
        snapshot.limit = 3000
        await snapshot.run(Writer(server, seed, chance=0.5))
    snapshot.assert_right()
    assert all(row["mark"] == 1 for row in snapshot.rows())


@pytest.mark.parametrize("rule", RULES)
async def test_S27_a_pipeline_that_drops_rows_ends_chunks_by_documents_looked_at(rule, monkeypatch):
    monkeypatch.setattr(range_reader, "SCAN", 7)
    server = filled(rule, range(30))
    async with opened(server, pipeline=[{"$match": {"fullDocument._id": {"$in": [3, 4, 25]}}}]) as snapshot:
        await snapshot.run()
    assert snapshot.ids() == [3, 4, 25]
    assert len(snapshot.chunks) == 5
    assert [chunk.scanned for _, _, chunk in snapshot.chunks] == [7, 7, 7, 7, 0]


async def test_S27_a_pipeline_that_changes_the_id_of_rows_is_refused():
    async with opened(filled("5.0"), pipeline=[{"$unset": "_id"}]) as snapshot:
        with pytest.raises(IllegalPipelineError, match="without its document's _id"):
            await snapshot.run()


@pytest.mark.parametrize("rule", RULES)
async def test_S25_a_request_reads_only_its_range_and_its_documents(rule):
    server = filled(rule, range(50))
    server.update(ORDERS, 12, v=1)
    server.update(ORDERS, 40, v=1)
    async with opened(server) as snapshot:
        snapshot.request = SnapshotRequest(lowest="10", highest="20", operation="insert")
        await snapshot.run()
        snapshot.assert_right()
        assert snapshot.ids() == list(range(10, 20))
        snapshot.request, snapshot.chunks = SnapshotRequest(filters={ORDERS: '{"v": 1}'}), []
        await snapshot.run()
    assert snapshot.ids() == [12, 40]
    assert all(chunk.filtered for _, _, chunk in snapshot.chunks)


async def test_a_chunk_that_exists_is_read_again_up_to_its_end():
    async with opened(filled("5.0")) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        first = await snapshot.read(0, None)
        again = await snapshot.read(0, None, limit=1, high=first.end)
    assert (again.count, again.end) == (first.count, first.end)


@pytest.mark.parametrize("limit", [1, 400, 900])
async def test_S17_equal_ids_on_two_shards_are_never_divided(limit):
    server = filled("5.0", [0, 1, 2, 3, 5], role="mongos", shard_keys={ORDERS: {"k": 1}})
    for shard, id_ in [(1, 1.0), (1, 2), (2, bson.Int64(2)), (1, 4)]:
        server.insert(ORDERS, {"_id": id_, "k": shard, "v": shard}, shard=shard)
    async with opened(server) as snapshot:
        snapshot.limit = limit
        await snapshot.run()
    snapshot.assert_right()
    assert snapshot.ids() == [0, 1, 1, 2, 2, 2, 3, 4, 5]
    assert snapshot.rows()[2]["documentKey"] == {"k": 1, "_id": 1.0}
    assert snapshot.rows()[0]["documentKey"] == {"_id": 0}


async def test_S16_a_read_that_is_interrupted_leaves_the_chunk_to_the_next_attempt():
    server = filled("5.0", reply_events=2)
    async with opened(server) as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        failures = iter([None, Fail(11602, ("RetryableError",)), Fail(50), None])
        server.failing = lambda command: next(failures, None) if {"find", "getMore"} & set(command) else None
        with pytest.raises(MongoDBUnavailableError):
            await snapshot.read(0, None)  # the primary steps down between two replies
        with pytest.raises(SnapshotTimeError):
            await snapshot.read(0, None)  # the secondary has not reached the time within maxTimeMS
        server.failing = lambda command: None
        chunk = await snapshot.read(0, None)
    assert chunk.count == 4


@pytest.mark.parametrize("rule", ["5.0", "ignored"])
async def test_S19_a_document_of_16_MB_becomes_a_row_of_more(rule):
    large = "x" * (16 * 2**20 - 100)
    server = filled(rule, [])
    server.insert(ORDERS, {"_id": 1, "v": large})
    server.insert(ORDERS, {"_id": 2, "v": 0})
    async with opened(server) as snapshot:
        await snapshot.run()
    assert [chunk.count for _, _, chunk in snapshot.chunks] == [1, 1]
    assert snapshot.chunks[0][2].nbytes > 16 * 2**20


async def test_a_capped_collection_is_read_by_the_window_rule():
    server = VersionedServer(time_reads="5.0")
    server.create(ORDERS, capped=True)
    server.insert(ORDERS, {"_id": 1, "v": 0})
    async with opened(server) as snapshot:
        await snapshot.run()
    snapshot.assert_right()
    assert "capped" in snapshot.heard[0].reason


async def test_every_collection_of_a_database_is_planned():
    server = filled("5.0", range(3))
    server.insert("shop.users", {"_id": 1, "v": 0})
    server.insert("other.users", {"_id": 1, "v": 0})
    async with opened(server, "shop.*") as snapshot:
        await snapshot.run()
        snapshot.assert_right()
        assert [str(part.namespace) for part in snapshot.plan.ranges] == [ORDERS, "shop.users"]
        snapshot.request, snapshot.chunks = SnapshotRequest(collections=("shop.users",)), []
        await snapshot.run()
        assert snapshot.ids() == [1]
        assert all(part.nbytes > 0 for part in snapshot.plan.ranges)


async def test_a_collection_that_does_not_exist_yet_has_no_range():
    async with opened(VersionedServer()) as snapshot:
        await snapshot.run()
    assert snapshot.plan.ranges == ()


async def test_a_missing_right_costs_only_what_it_is_for(monkeypatch):
    monkeypatch.setattr(planning, "SMALL", 0)
    server = filled("5.0", range(100), role="mongos")
    denied = ("collStats",)

    def deny(command):
        return Fail(13) if next(iter(command)) in denied or command.get("find") == "collections" else None

    server.failing = deny

    async with opened(server) as snapshot:
        await snapshot.run()
        snapshot.assert_right()
        assert len(snapshot.plan.ranges) == 4
        assert {part.nbytes for part in snapshot.plan.ranges} == {0}
        denied = ("listCollections",)
        snapshot.chunks = []
        await snapshot.run()
        snapshot.assert_right()
        assert snapshot.plan.ranges[0].collection == ""


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (SnapshotRequest(collections=("shop.users",)), "cannot read shop.users: the stream does not watch it"),
        (SnapshotRequest(collections=("orders",)), "cannot read orders"),
        (SnapshotRequest(filters={ORDERS: "{"}), "filter of a snapshot of shop.orders is no query"),
        (SnapshotRequest(filters={ORDERS: "[1]"}), "it is not an object"),
        (SnapshotRequest(lowest="{"), "--from"),
        (SnapshotRequest(highest='{"$oid": 1}'), "--to"),
        (SnapshotRequest(highest="[1, 2]"), "no document has an array as its _id"),
        (SnapshotRequest(lowest='{"$regularExpression": {"pattern": "a", "options": ""}}'), "a regular expression"),
    ],
)
def test_a_request_that_can_never_be_carried_out_is_refused_without_a_server(request_, text):
    source = MongoDBSource(uri=Secret("mongodb://nowhere.invalid/"), watch=(ORDERS,))
    with pytest.raises(ConfigurationError, match=text) as caught:
        source.check_snapshot(Stream("p", ORDERS), request_)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [
        ("10", "5"),
        ("5", "5.0"),
        ('{"$numberDecimal": "2.5"}', '{"$numberLong": "2"}'),
        ("5", '{"$numberDouble": "NaN"}'),
        ('"a"', '"a"'),
        ('{"$oid": "65f000000000000000000002"}', '{"$oid": "65f000000000000000000001"}'),
        ('{"$date": {"$numberLong": "1"}}', '{"$date": {"$numberLong": "-1"}}'),
    ],
)
def test_an_empty_or_inverted_range_is_refused_without_a_server(lowest, highest):
    source = MongoDBSource(uri=Secret("mongodb://nowhere.invalid/"), watch=(ORDERS,))
    with pytest.raises(ConfigurationError, match="are no range") as caught:
        source.check_snapshot(Stream("p", ORDERS), SnapshotRequest(lowest=lowest, highest=highest))
    assert "--from" in caught.value.remedy


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [
        ("5", "10"),
        ("5", '"a"'),
        ('"a"', "5"),
        ('{"$numberDouble": "NaN"}', "5"),
        ('"b"', '"a"'),  # a collation may order texts so
        ('{"a": 2}', '{"a": 1}'),
        ('{"$minKey": 1}', "5"),
    ],
)
def test_a_range_is_left_to_the_server_unless_it_is_certainly_empty(lowest, highest):
    source = MongoDBSource(uri=Secret("mongodb://nowhere.invalid/"), watch=(ORDERS,))
    source.check_snapshot(Stream("p", ORDERS), SnapshotRequest(lowest=lowest, highest=highest))


@pytest.mark.parametrize(("collated", "empty"), [(False, True), (True, False)])
def test_inverted_texts_are_an_empty_range_unless_a_collation_may_order_them(collated, empty):
    assert bounds.is_empty(bounds.parse_id('"b"'), bounds.parse_id('"a"'), collated=collated) is empty


def concerns_the_filter(command):
    stages = command.get("pipeline", [{}])
    return "nonsense" in str(command.get("filter", "")) or "nonsense" in str(stages[0])


@pytest.mark.parametrize("stages", [[], [{"$unset": "fullDocument.secret"}]])
@pytest.mark.parametrize("code", [2, 9, 168])
async def test_a_filter_that_the_server_refuses_is_an_error_of_the_request_before_a_chunk_is_read(code, stages):
    server = filled("5.0")
    server.failing = lambda command: Fail(code) if concerns_the_filter(command) else None
    async with opened(server, pipeline=stages) as snapshot:
        snapshot.request = SnapshotRequest(filters={ORDERS: '{"v": {"$nonsense": 1}}'})
        with pytest.raises(ConfigurationError, match="checking the filters") as caught:
            await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
    assert caught.value.remedy == "Correct the filter, and request the snapshot again."
    assert server.reads == []


async def test_checking_a_filter_reads_no_document():
    server = filled("5.0")
    async with opened(server) as snapshot:
        snapshot.request = SnapshotRequest(filters={ORDERS: '{"v": 1}'})
        await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
    (read,) = [command for command in server.reads if command.get("filter") == {"v": 1}]
    assert read["batchSize"] == 0


@pytest.mark.parametrize("code", [2, 241, 16608])
async def test_a_filter_that_cannot_be_evaluated_is_an_error_of_the_request(code):
    server = filled("5.0")
    async with opened(server) as snapshot:
        snapshot.request = SnapshotRequest(filters={ORDERS: '{"v": 1}'})
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        server.failing = lambda command: Fail(code) if "find" in command else None
        with pytest.raises(ConfigurationError, match="reading the snapshot"):
            await snapshot.read(0, None)
        server.failing = lambda command: Fail(96) if "find" in command else None
        with pytest.raises(ServerFailureError):
            await snapshot.read(0, None)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (SnapshotRequest(collections=("shop.old",)), "no collection of that name exists"),
        (SnapshotRequest(lowest='"a"', highest="5"), "are no range"),
        (SnapshotRequest(lowest='"b"', highest='"a"'), "are no range"),
    ],
)
async def test_a_request_that_the_server_shows_to_be_wrong_is_refused(request_, text):
    async with opened(filled("5.0"), "shop.o*") as snapshot:
        snapshot.request = request_
        with pytest.raises(ConfigurationError, match=text):
            await snapshot.run()


@pytest.mark.parametrize("rule", AT_TIME)
async def test_S18_a_name_that_did_not_exist_at_the_time_is_not_taken_for_an_empty_range(rule):
    """MongoDB 7.1 replies to it with no documents and without a cluster time; 5.0.7 with code 246."""
    server = filled(rule)
    async with opened(server, "shop.o*") as snapshot:
        snapshot.plan = await snapshot.source.plan_snapshot(snapshot.stream, snapshot.request, ranges=1)
        before = snapshot.position()
        server.rename(ORDERS, "shop.old")
        with pytest.raises(SnapshotTimeError):
            await snapshot.read(0, None)  # learns the new name
        now, snapshot.position = snapshot.position, lambda: before
        with pytest.raises(SnapshotTimeError):
            await snapshot.read(0, None)
        snapshot.position = now
        assert (await snapshot.read(0, None)).count > 0


@pytest.mark.parametrize(
    ("recording", "rule", "change", "name"),
    [
        ("mongod-5.0.7/snapshots/snapshot-drop.bson", "5.0", lambda server: server.drop(ORDERS), "orders"),
        ("mongod-7.1.0-alpha/snapshots/dropped-at-T.bson", "7.0", lambda server: server.drop(ORDERS), "orders"),
        (
            "mongod-5.0.7/snapshots/snapshot-created-after-T.bson",
            "5.0",
            lambda server: server.create("shop.new"),
            "new",
        ),
        ("mongod-7.1.0-alpha/snapshots/created-after-T.bson", "7.0", lambda server: server.create("shop.new"), "new"),
        (
            "mongod-5.0.7/snapshots/snapshot-capped.bson",
            "5.0",
            lambda server: server.create("shop.c", capped=True),
            "c",
        ),
    ],
)
async def test_the_server_of_these_tests_replies_as_the_recorded_ones(recording, rule, change, name):
    recorded = bson.decode_all((RECORDINGS / recording).read_bytes())[-1]
    server = filled(rule)
    async with server, AsyncMongoClient(server.uri) as client:
        at = server.time()
        change(server)
        command = {"find": name, "limit": 1, "readConcern": {"level": "snapshot", "atClusterTime": at}}
        if "code" in recorded:
            with pytest.raises(OperationFailure) as caught:
                await client.shop.command(command)
            assert caught.value.code == recorded["code"]
            return
        reply = await client.shop.command(command)
    assert ("atClusterTime" in reply["cursor"]) == ("atClusterTime" in recorded["cursor"])
    assert bool(reply["cursor"]["firstBatch"]) == bool(recorded["cursor"]["firstBatch"])
