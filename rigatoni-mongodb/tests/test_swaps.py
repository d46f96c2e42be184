"""C24: a collection that is renamed into the watched scope, or replaced under its name, is a recorded gap.

The events are what mongod 5.0.7 and 7.1 sent (tests/recordings); a real server shows the rest.
"""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import attrs
import bson
import pytest
from pymongo.errors import AutoReconnect, OperationFailure
from rigatoni_bson.elements import chunk_of
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.events import Definition, Namespace, Operation, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.identity import Identity, identity_record, read_identity
from rigatoni_core.api.notices import GapRecorded
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_mongodb import catalog_changes, renames, swaps
from rigatoni_mongodb.catalog import MOST_RECORDED, Catalog, Collection
from rigatoni_mongodb.decoding import ChangeEventDecoder
from rigatoni_mongodb.scope import Watch
from rigatoni_mongodb.swaps import SwapDetector
from rigatoni_mongodb.testing.wire import Fail, ScriptedServer
from rigatoni_testing.batches import event_document
from rigatoni_testing.scripted import RecordingDestination

RECORDINGS = Path(__file__).parents[2] / "tests" / "recordings"
RENAME = "mongod-5.0.7/snapshot-swap-rename-collection-stream.bson"
RENAME_DATABASE = "mongod-5.0.7/snapshot-swap-rename-database-stream.bson"
OUT = "mongod-5.0.7/snapshot-swap-out-collection-stream.bson"
OUT_DATABASE = "mongod-5.0.7/snapshot-swap-out-database-stream.bson"
RENAME_7 = "mongod-7.1.0-alpha/swap-collection-stream.bson"
OUT_DATABASE_7 = "mongod-7.1.0-alpha/out-database-stream.bson"
OLD = {"start_at": "2020-01-01T00:00:00Z"}
DECODER = ChangeEventDecoder()
X, Y, Z = (UUID(int=number) for number in (1, 2, 3))


def recorded(name):
    """Return the raw events of a recording."""
    documents = bson.decode_all((RECORDINGS / name).read_bytes())
    return [bson.encode(event) for each in documents for event in each.get("cursor", {}).get("nextBatch", ())]


def events_of(name):
    return [DECODER.event(memoryview(raw)) for raw in recorded(name)]


async def items_until(open_source, read, server, watch, count, **options):
    """Return the items after the anchor, until `count` events have arrived."""
    items, events = [], 0
    async with open_source(watch, uri=server.uri, **{**OLD, **options}) as source, read(source, watch) as reading:
        while events < count:
            items.append(await reading.next())
            events += len(items[-1]) if isinstance(items[-1], EventBatch) else 0
    return items


@pytest.mark.parametrize(
    ("recording", "watch", "target"),
    [
        (RENAME, "rs2.orders", "rs2.orders"),
        (OUT, "rs2.orders", "rs2.orders"),
        (RENAME_7, "nw.swap", "nw.swap"),
        (RENAME_DATABASE, "rs2.ord*", "rs2.orders"),
        (OUT_DATABASE, "rs2.o*s", "rs2.orders"),
        (OUT_DATABASE_7, "nw.o*", "nw.o"),
    ],
)
async def test_a_rename_into_the_scope_is_a_gap_that_comes_before_its_event(
    open_source, read, recording, watch, target
):
    events = recorded(recording)
    async with ScriptedServer(events=events) as server:
        items = await items_until(open_source, read, server, watch, len(events))
    (heartbeat,) = [item for item in items if isinstance(item, Heartbeat) and item.gaps]
    batch = next(item for item in items if isinstance(item, EventBatch) and len(item))
    assert items.index(heartbeat) < items.index(batch)
    (gap,) = heartbeat.gaps
    rename = next(event for event in batch if event.operation == "rename" and event.unknown["to"]["db"])
    assert str(gap.namespace) == target
    assert gap.resumed.cluster_time == rename.cluster_time
    assert f"renamed to {target}" in gap.cause
    assert f"Copy {target}" in gap.cause
    assert "_data" not in gap.cause


@pytest.mark.parametrize(
    ("recording", "watch"),
    [(RENAME_DATABASE, "rs2.*"), (OUT_DATABASE, "*"), (RENAME_DATABASE, "rs2.tm*"), (OUT_DATABASE_7, "nw.zz*")],
)
async def test_a_rename_inside_the_scope_or_out_of_it_is_no_gap(open_source, read, recording, watch):
    events = recorded(recording)
    async with ScriptedServer(events=events) as server:
        items = await items_until(open_source, read, server, watch, len(events))
    assert not any(item.gaps for item in items if isinstance(item, Heartbeat))


def test_an_event_that_only_looks_like_a_rename_is_none():
    lookalike = event_document(1, fullDocument={"_id": 1, "operationType": "rename", "to": {"db": "a", "coll": "b"}})
    documents = chunk_of(b"".join(map(bson.encode, (lookalike, event_document(2)))))
    assert renames.renames_in(documents, Watch.parse("a.b*")) == []


def test_a_rename_is_found_anywhere_in_a_reply_of_a_pattern():
    (raw,) = [raw for raw in recorded(RENAME_DATABASE) if b"\0rename\0" in raw]
    inserts = [bson.encode(event_document(number)) for number in range(200)]
    for place in (0, 100, 200):
        found = renames.renames_in(
            chunk_of(b"".join([*inserts[:place], raw, *inserts[place:]])), Watch.parse("rs2.ord*")
        )
        assert [event.operation for event in found] == [Operation.RENAME]


@attrs.define
class Deployment:
    """A changing catalog and its history; `looks` counts the scans."""

    uuids: dict[str, UUID]
    events: list = attrs.field(factory=list)
    fault: Exception | None = None
    looks: int = 0
    asked: list = attrs.field(factory=list)

    async def catalog(self):
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        found = [Collection(Namespace(*name.split(".", 1)), uuid, {}) for name, uuid in self.uuids.items()]
        return Catalog(tuple(found), Timestamp(self.looks, 0), Timestamp(self.looks, 1))

    async def changes(self, begin, end):
        self.asked.append((begin, end))
        if isinstance(self.events, Exception):
            raise self.events
        return self.events


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(swaps, "LOOK_INTERVAL", 0.0)
    monkeypatch.setattr(swaps, "DEPLOYMENT_LOOK_INTERVAL", 0.0)


def detector_of(deployment, watch="rs2.*", *, sharded=False, filtered=False, **options):
    return SwapDetector(
        Watch.parse(watch),
        Definition("f", {}),
        deployment.catalog,
        deployment.changes,
        sharded=sharded,
        filtered=filtered,
        **options,
    )


async def looked(detector, replies=6):
    """Return the gaps found while idle replies arrive, each passed on as the reader does."""
    gaps = []
    for _ in range(replies):
        gaps += detector.found(chunk_of(b""))
        detector.reported()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return gaps


def ddl(operation, name, to=None, second=50):
    """Return a drop or rename as mongod sends it."""
    names = dict(zip(("db", "coll"), name.split(".", 1), strict=False))
    document = event_document(second, seconds=second, operationType=operation, ns=names)
    del document["fullDocument"], document["documentKey"]
    if to:
        document["to"] = dict(zip(("db", "coll"), to.split(".", 1), strict=True))
    return DECODER.event(memoryview(bson.encode(document)))


CASES = {
    "nothing": ("rs2.*", {"rs2.orders": X}, [], []),
    "created": ("rs2.*", {"rs2.orders": X, "rs2.new": Y}, [], []),
    "dropped": ("rs2.*", {}, [ddl("drop", "rs2.orders")], []),
    "dropped and created": ("rs2.*", {"rs2.orders": Y}, [ddl("drop", "rs2.orders")], []),
    "database dropped": ("rs2.*", {"rs2.orders": Y}, [ddl("dropDatabase", "rs2")], []),
    "database dropped, then renamed inside": (
        "rs2.*",
        {"rs2.orders": Y},
        [ddl("dropDatabase", "rs2"), ddl("rename", "rs2.tmp", "rs2.orders")],
        [],
    ),
    "replaced": ("rs2.*", {"rs2.orders": Y}, events_of(RENAME_DATABASE), ["rs2.orders"]),
    "replaced by $out": ("rs2.*", {"rs2.orders": Y}, events_of(OUT_DATABASE), ["rs2.orders"]),
    "in a deployment": ("*", {"rs2.orders": Y}, events_of(OUT_DATABASE), ["rs2.orders"]),
    "renamed inside": ("rs2.*", {"rs2.orders": X, "rs2.b": Y}, [ddl("rename", "rs2.a", "rs2.b")], []),
    "dropped, then renamed inside": (
        "rs2.*",
        {"rs2.orders": Y},
        [ddl("drop", "rs2.orders"), ddl("rename", "rs2.tmp", "rs2.orders")],
        [],
    ),
    "dropped, then renamed from outside": (
        "rs2.orders",
        {"rs2.orders": Y},
        [ddl("drop", "rs2.orders"), ddl("rename", "rs2.tmp", "rs2.orders")],
        ["rs2.orders"],
    ),
    "moved in from outside": (
        "rs2.o*",
        {"rs2.orders": X, "rs2.old": Y},
        [ddl("rename", "rs2.tmp", "rs2.old")],
        ["rs2.old"],
    ),
    "swapped without dropTarget": (
        "rs2.*",
        {"rs2.orders": Y, "rs2.orders_old": X},
        [ddl("rename", "rs2.orders", "rs2.orders_old"), ddl("rename", "rs2.tmp", "rs2.orders", second=51)],
        [],
    ),
    "untold": ("rs2.*", {"rs2.orders": Y}, [], ["rs2.orders"]),
    "history lost": ("rs2.*", {"rs2.orders": Y}, OperationFailure("gone", 286), ["rs2.orders"]),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_look_tells_a_swap_from_what_loses_nothing(often, case):
    watch, after, events, lost = CASES[case]
    deployment = Deployment({"rs2.orders": X})
    detector = detector_of(deployment, watch)
    assert await looked(detector) == []
    deployment.uuids, deployment.events = after, events
    gaps = await looked(detector)
    assert [str(gap.namespace) for gap in gaps] == lost
    assert all(f"Copy {gap.namespace}" in gap.cause for gap in gaps)
    assert await looked(detector) == []  # once per UUID
    await detector.close()


async def test_no_question_is_asked_while_the_uuids_stay(often):
    deployment = Deployment({"rs2.orders": X, "rs2.b": Y})
    detector = detector_of(deployment)
    await looked(detector, 20)
    assert deployment.looks > 5
    assert deployment.asked == []
    await detector.close()


async def test_resharding_gives_another_uuid_and_loses_nothing(often):
    deployment = Deployment({"rs2.orders": X})
    detector = detector_of(deployment, sharded=True)
    await looked(detector)
    deployment.uuids = {"rs2.orders": Y}
    assert await looked(detector) == []
    await detector.close()


async def test_a_look_that_fails_is_made_up_for_by_the_next(often):
    deployment = Deployment({"rs2.orders": X})
    detector = detector_of(deployment)
    await looked(detector)
    before = deployment.looks
    deployment.uuids, deployment.events = {"rs2.orders": Y}, AutoReconnect("gone")
    assert await looked(detector) == []
    deployment.events, deployment.fault = [], AutoReconnect("gone")
    assert await looked(detector) == []
    deployment.fault, deployment.events = None, events_of(RENAME_DATABASE)
    (gap,) = await looked(detector)
    assert str(gap.namespace) == "rs2.orders"
    assert deployment.asked[-1][0].seconds <= before
    await detector.close()


@pytest.mark.parametrize("case", CASES)
async def test_what_was_swapped_while_nothing_ran_is_found_at_the_next_start(case):
    """An earlier run recorded the collections and when it listed them."""
    watch, after, events, lost = CASES[case]
    earlier = Deployment({"rs2.orders": X})
    recorded = (await earlier.catalog()).recorded_in(Identity("rs"))
    recorded = read_identity(json.loads(json.dumps(identity_record(recorded))))
    deployment, remembered = Deployment(after, events, looks=6), []
    detector = detector_of(deployment, watch, compared=Catalog.of_record(recorded), remember=remembered.append)
    detector.resume(Position(ResumeToken("t"), "f", Timestamp(5, 3)))
    await detector.first_scan()
    gaps = detector.found(chunk_of(b""))  # the only reply of this run
    assert [str(gap.namespace) for gap in gaps] == lost
    assert all(begin == Timestamp(1, 0) for begin, _ in deployment.asked)
    assert remembered == [], "a crash before the gaps are recorded must find them again"
    detector.reported()
    assert [catalog.uuids for catalog in remembered] == [
        {Namespace(*name.split(".", 1)): uuid for name, uuid in after.items()}
    ]
    await detector.close()


async def test_a_first_scan_that_hangs_delays_reading_only_briefly(monkeypatch):
    class Hanging(Deployment):
        async def catalog(self):
            await asyncio.Event().wait()

    monkeypatch.setattr(swaps, "_FIRST_SCAN_LIMIT", 0.01)
    detector = detector_of(Hanging({}))
    async with asyncio.timeout(5):
        await detector.first_scan()
    assert detector.found(chunk_of(b"")) == ()
    await detector.close()


@pytest.mark.parametrize(("count", "recorded"), [(MOST_RECORDED, MOST_RECORDED), (MOST_RECORDED + 1, 0)])
def test_a_checkpoint_records_so_many_collections_and_no_more(count, recorded):
    collections = tuple(Collection(Namespace("a", f"c.{number}"), UUID(int=number), {}) for number in range(count))
    catalog = Catalog(collections, Timestamp(5, 1), Timestamp(5, 2))
    identity = catalog.recorded_in(Identity("rs"))
    assert len(identity.listed) == recorded
    if recorded:
        assert Catalog.of_record(identity) == attrs.evolve(catalog, end=Timestamp(5, 1))
    else:
        assert Catalog.of_record(identity) is None


@pytest.mark.parametrize("filtered", [False, True])
async def test_what_a_filter_hid_while_the_stream_was_stopped_is_asked_for_at_the_next_start(often, filtered):
    """Without a filter, the stream's own events show it."""
    deployment = Deployment({"rs2.orders": Y}, events_of(RENAME))
    detector = detector_of(deployment, "rs2.orders", filtered=filtered)
    detector.resume(Position(ResumeToken("t"), "f", Timestamp(7, 3)))
    gaps = await looked(detector)
    assert [str(gap.namespace) for gap in gaps] == (["rs2.orders"] if filtered else [])
    assert [begin for begin, _ in deployment.asked] == ([Timestamp(7, 3)] if filtered else [])
    await detector.close()


async def test_the_events_and_a_look_report_one_gap_for_one_rename(often):
    deployment = Deployment({"rs2.orders": X})
    detector = detector_of(deployment, "rs2.orders")
    await looked(detector)
    deployment.uuids, deployment.events = {"rs2.orders": Y}, events_of(RENAME)
    gaps = list(detector.found(chunk_of(b"".join(recorded(RENAME)))))
    gaps += await looked(detector)
    assert len(gaps) == 1
    await detector.close()


async def test_after_an_invalidate_the_next_reply_looks_again():
    deployment = Deployment({"rs2.orders": X})
    detector = detector_of(deployment)
    await looked(detector)
    assert deployment.looks == 1
    detector.look_soon()
    await looked(detector)
    assert deployment.looks == 2
    await detector.close()


async def test_a_look_that_hangs_delays_no_event(often, open_source, read, monkeypatch):
    async def hang(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr("rigatoni_mongodb.source.catalog_of", hang)
    events = [bson.encode(event_document(number)) for number in range(30)]
    async with ScriptedServer(events=events, reply_events=5) as server, asyncio.timeout(10):
        items = await items_until(open_source, read, server, "shop.orders", 30)
    assert sum(len(item) for item in items if isinstance(item, EventBatch)) == 30


async def test_a_user_who_may_not_list_collections_reads_all_the_same(often, open_source, read):
    events = [bson.encode(event_document(number)) for number in range(30)]
    refused = {"listCollections": Fail(13, message="not authorized")}
    async with ScriptedServer(events=events, reply_events=5, fails=refused) as server:
        items = await items_until(open_source, read, server, "shop.*", 30)
    assert sum(len(item) for item in items if isinstance(item, EventBatch)) == 30


class Heard:
    def __init__(self):
        self.gaps = []

    def notify(self, notice):
        if isinstance(notice, GapRecorded):
            self.gaps.append(notice.gap)


def rename(database):
    database.tmp.insert_many([{"_id": 2}, {"_id": 3}])
    database.tmp.rename("orders", dropTarget=True)


def drop_and_create(database):
    database.orders.drop()
    database.orders.insert_one({"_id": 2})


def rename_from_another_name(database):
    database.tmp.insert_one({"_id": 2})
    database.tmp.rename("orders_2")


@pytest.mark.parametrize(
    ("watch", "change", "lost", "hidden"),
    [
        ("orders", drop_and_create, [], False),
        ("ord*", rename, ["orders"], False),
        ("ord*", rename, ["orders"], True),
        ("ord*", rename_from_another_name, ["orders_2"], True),
        ("*", drop_and_create, [], True),
        ("*", rename_from_another_name, [], False),
    ],
)
async def test_a_real_server_swaps_a_collection_and_the_gap_is_in_the_checkpoint(
    monkeypatch, open_source, database, watch, change, lost, hidden
):
    """Hidden: a stage of the user's pipeline filters out drops and renames.

    SecantusDB tells a rename over a collection as a drop and a rename, and the stream of one collection only the drop.
    """
    monkeypatch.setattr(swaps, "LOOK_INTERVAL", 0.2)
    stages = [{"$match": {"operationType": "insert"}}] if hidden else []
    stream, state, heard = Stream("p", f"{database.name}.{watch}"), MemoryStateStore(), Heard()
    database.orders.insert_one({"_id": 0})
    running = Pipeline(
        name="p",
        source=open_source(stream.name, pipeline=stages),
        destination=RecordingDestination(),
        state=state,
        settings=Settings(batch_timeout=0.1),
        listeners=[heard],
    )
    task = asyncio.create_task(running.run())
    await asyncio.sleep(1)
    change(database)
    await asyncio.sleep(2)
    running.stop()
    report = await task
    assert report.ok, report
    expected = [f"{database.name}.{name}" for name in lost]
    assert [str(gap.namespace) for gap in heard.gaps] == expected
    assert [str(gap.namespace) for gap in state._checkpoints[stream.key].gaps] == expected


@pytest.mark.parametrize(
    ("watch", "change", "lost"),
    [("*", drop_and_create, []), ("*", lambda database: None, []), ("ord*", rename, ["orders"])],
)
async def test_a_real_server_swaps_a_collection_between_two_runs_of_a_database_stream(
    open_source, database, watch, change, lost
):
    """As cron does: each run ends as soon as it has caught up. SecantusDB tells a rename inside the scope as a drop."""
    stream, state, heard = Stream("p", f"{database.name}.{watch}"), MemoryStateStore(), Heard()
    database.orders.insert_one({"_id": 0})
    database.users.insert_one({"_id": 0})  # shows that it is the same deployment

    async def run():
        pipeline = Pipeline(
            name="p",
            source=open_source(stream.name),
            destination=RecordingDestination(),
            state=state,
            settings=Settings(batch_timeout=0.1),
            listeners=[heard],
        )
        report = await pipeline.run(once=True)
        assert report.ok, report

    await run()
    database.orders.insert_one({"_id": 1})
    await run()
    assert heard.gaps == []
    change(database)
    for _ in range(3):  # reported once, whatever runs later
        await run()
        assert [str(gap.namespace) for gap in heard.gaps] == [f"{database.name}.{name}" for name in lost]
    assert len(state._checkpoints[stream.key].gaps) == len(lost)


async def test_the_history_of_drops_and_renames_is_read_up_to_a_time_and_across_an_invalidate(open_source, database):
    """A stream of one collection ends with each drop."""
    watch = Watch.parse(f"{database.name}.orders")
    database.orders.insert_one({"_id": 0})
    async with open_source(watch.name) as source:
        begin = await source._now()
        for number in (1, 2, 3):
            database.orders.drop()
            database.orders.insert_one({"_id": number})
        end = await source._now()
        database.orders.drop()

        async def open_cursor(start):
            return await source._open(watch, catalog_changes.command(watch, start))

        async with asyncio.timeout(20):
            found = await catalog_changes.changes_between(open_cursor, begin, end)
    assert [event.operation for event in found] == ["drop", "drop", "drop"]
    assert all(begin <= event.cluster_time <= end for event in found)
