"""Snapshots through the shipping loop and chain, under a virtual clock: every row once, true at its time."""

import asyncio

import attrs
import pytest
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.batch import Heartbeat
from rigatoni_core.api.contracts import ANY_FORMAT, Transform
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.errors import ConfigurationError, SourceError, Transient
from rigatoni_core.api.events import Gap, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import WorkerFailing
from rigatoni_core.api.settings import Settings, SnapshotSettings
from rigatoni_core.api.snapshot_ledger import KeptLedger
from rigatoni_core.api.snapshot_notices import (
    ChunkWritten,
    SnapshotDone,
    SnapshotEnded,
    SnapshotNotRequested,
    SnapshotPaused,
    SnapshotPlanned,
)
from rigatoni_core.api.snapshot_records import EndRecord
from rigatoni_core.api.snapshots import SnapshotRequest, SnapshotTimeError
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.model_objects import ModelBucket, ModelDestination, ModelProcess, RawDocuments
from rigatoni_testing.scripted import (
    Bucket,
    BucketDestination,
    FlakyStateStore,
    Log,
    RecordingDestination,
    ScriptedSource,
)
from rigatoni_testing.serializers import TokenLines
from rigatoni_testing.versioned import VersionedCollection, VersionedSource, row_token

STREAM = Stream("p", "shop.orders")


class DownError(SourceError, Transient):
    pass


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)

    def of(self, kind):
        return [notice for notice in self.notices if isinstance(notice, kind)]


async def soon(_what):
    await asyncio.sleep(0.001)


def destination_of(bucket, **options):
    return ModelDestination(bucket=bucket, process=ModelProcess(soon), serializer=RawDocuments(), **options)


def pipeline(source, destination, state, *, heard=None, snapshot=None, **settings):
    return Pipeline(
        name="p",
        source=source,
        destination=destination,
        state=state,
        settings=Settings(
            **{"batch_bytes": 2000, "max_buffered_bytes": 8000, **settings},
            snapshot=SnapshotSettings(**{"mode": "initial", **(snapshot or {})}),
        ),
        listeners=[heard] if heard else [],
    )


def rows_of(bucket):
    """Every row of every range, in order."""
    return [row for folder in bucket.ranges() for row in bucket.documents(Stream(*folder.split("/")))]


def time_of(document):
    time = document["clusterTime"]
    assert isinstance(time, BsonTimestamp)
    return Timestamp(time.time, time.inc)


def check(bucket, collection, *, filtered=False):
    """Each document once; each row true at its time; replay by time is the collection at every moment since."""
    rows = rows_of(bucket)
    keys = [row["documentKey"]["_id"] for row in rows]
    assert len(keys) == len(set(keys)), "a document is there twice"
    for row in rows:
        expected = collection.state(time_of(row)).get(row["documentKey"]["_id"])
        assert expected == {key: value for key, value in row["fullDocument"].items() if key != "_id"}
    changes = bucket.documents(STREAM)
    last = max(map(time_of, rows), default=collection.now)
    for moment in {last, *(time_of(change) for change in changes if time_of(change) > last)}:
        assert replayed(rows, changes, moment) == collection.state(moment)
    return rows


def replayed(rows, changes, moment):
    """The collection as a reader of the destination sees it: rows after the events of their time."""
    state, times = {}, {}
    for row in rows:
        key = row["documentKey"]["_id"]
        state[key] = {name: value for name, value in row["fullDocument"].items() if name != "_id"}
        times[key] = time_of(row)
    for change in changes:
        key, time = change["documentKey"]["_id"], time_of(change)
        if time > moment or (key in times and time <= times[key]):
            continue
        match change["operationType"]:
            case "delete":
                state.pop(key, None)
            case "update":
                if key in state:
                    state[key] = {**state[key], **change["updateDescription"]["updatedFields"]}
            case _:
                state[key] = {name: value for name, value in change["fullDocument"].items() if name != "_id"}
    return state


DOCUMENTS = {key: {"value": key, "padding": "x" * 100} for key in range(40)}


@pytest.mark.parametrize("at_a_time", [True, False])
def test_S1_what_exists_is_read_once_then_the_stream_goes_on(at_a_time):
    async def main():
        collection, bucket, heard = VersionedCollection(DOCUMENTS), ModelBucket(), Heard()
        source = VersionedSource(collection=collection, reads_at_a_time=at_a_time, borders=(10, 20))
        report = await pipeline(source, destination_of(bucket), FlakyStateStore(), heard=heard).run(once=True)
        assert report.ok, report
        rows = check(bucket, collection)
        assert len(rows) == 40
        assert {row["operationType"] for row in rows} == {"read"}
        assert rows[0]["_id"] == {"snapshot": "shop.orders#1", "document": 0}
        assert [done.rows for done in heard.of(SnapshotDone)] == [40]
        assert [(it.ranges, it.resumed) for it in heard.of(SnapshotPlanned)] == [(3, False)]
        assert "p.snapshots/shop.orders" in bucket.folders

    run_virtual(main())


@pytest.mark.parametrize("at_a_time", [True, False])
def test_S2_documents_that_change_meanwhile(at_a_time):
    async def main():
        collection, bucket = VersionedCollection(DOCUMENTS), ModelBucket()
        source = VersionedSource(collection=collection, reads_at_a_time=at_a_time, borders=(10, 20), reply_events=3)

        async def change(what):
            await asyncio.sleep(0.001)
            if what in ("read", "read more") and len(collection.changes) < 60:
                key = (len(collection.changes) * 7) % 45
                if key not in collection.state():
                    collection.put(key, {"value": "new"})
                elif len(collection.changes) % 3 == 0:
                    collection.remove(key)
                else:
                    collection.update(key, {"value": len(collection.changes)})

        source.pause = change
        pipe = pipeline(source, destination_of(bucket), FlakyStateStore(), batch_timeout=0.05)
        report = await pipe.run(once=True)
        assert report.ok, report
        check(bucket, collection)
        assert len(collection.changes) >= 10

    run_virtual(main())


def test_a_chunk_that_was_proved_by_later_changes_is_written_after_them():
    after, there = {}, []  # after which time a chunk may be written, and how much of the stream was there then

    class Dated(VersionedSource):
        async def read_chunk(self, *args, **options):
            chunk = await super().read_chunk(*args, **options)
            after[chunk.at] = chunk.after
            return chunk

    class Dating(ModelDestination):
        async def write_batch(self, events):
            if events.stream.of_snapshot:
                there.append((events.source_time, len(self.bucket.documents(STREAM))))
            return await super().write_batch(events)

    async def main():
        collection, bucket = VersionedCollection(DOCUMENTS), ModelBucket()

        async def change(what):
            await asyncio.sleep(0.001)
            if what in ("read", "read more") and len(collection.changes) < 60:
                collection.update((len(collection.changes) * 7) % 40, {"value": len(collection.changes)})

        source = Dated(collection=collection, reads_at_a_time=False, borders=(10, 20), reply_events=3, pause=change)
        destination = Dating(bucket=bucket, process=ModelProcess(soon), serializer=RawDocuments())
        report = await pipeline(source, destination, FlakyStateStore(), batch_timeout=0.05).run(once=True)
        assert report.ok, report
        check(bucket, collection)
        changes = [time_of(document) for document in bucket.documents(STREAM)]
        needed = [(sum(time <= after[at] for time in changes), count) for at, count in there]
        assert all(count >= least for least, count in needed)
        assert any(least > 0 for least, _ in needed), "no chunk had to wait"

    run_virtual(main())


class Mortal:
    """Lives for so many requests; `then` happens with each one."""

    def __init__(self, lives=None, then=None):
        self.lives, self.then, self.requests, self.died = lives, then, [], asyncio.Event()

    async def __call__(self, what):
        await asyncio.sleep(0.001)
        self.requests.append(what)
        if self.then:
            self.then(what)
        if len(self.requests) == self.lives:
            self.died.set()
        if self.died.is_set():
            await asyncio.Event().wait()


async def live(collection, bucket, state, mortal, *, limit=1900, **options):
    """One process: runs until everything is read, or until it dies. Returns whether it ended by itself."""
    process = ModelProcess(mortal)
    source = VersionedSource(collection=collection, borders=(10, 20), pause=mortal)
    layout = options.pop("layout", {})
    destination = ModelDestination(
        bucket=bucket, process=process, serializer=RawDocuments(), metadata_limit=limit, **layout
    )
    pipe = pipeline(source, destination, state, batch_timeout=0.05, **options)
    running = asyncio.create_task(pipe.run(once=True))
    died = asyncio.create_task(mortal.died.wait())
    await asyncio.wait([running, died], return_when=asyncio.FIRST_COMPLETED)
    ended = running.done()
    process.dead = True
    for task in (running, died):
        task.cancel()
    await asyncio.wait([running, died])
    if ended:
        assert running.result().ok, running.result()
    return ended


def changing(collection):
    """Changes a document with every third request."""
    count = 0

    def change(_what):
        nonlocal count
        count += 1
        if count % 3 == 0 and len(collection.changes) < 400:
            key = (count * 7) % 45
            if key not in collection.state():
                collection.put(key, {"value": "new", "country": "it"})
            elif count % 4 == 0:
                collection.remove(key)
            else:
                collection.update(key, {"value": count, "country": "ab"[count % 2]})

    return change


STORES = [
    pytest.param(1900, {}, id="own lead"),
    pytest.param(0, {}, id="record before file"),
    pytest.param(1900, {"partition_by": ("field:country",)}, id="several objects"),
    pytest.param(0, {"partition_by": ("field:country",)}, id="record before several files"),
]


@pytest.mark.parametrize(("limit", "layout"), STORES)
@pytest.mark.parametrize("keeps_state", [True, False])
def test_S5_S6_S9_killed_at_each_request_in_turn(limit, layout, keeps_state):
    async def main():
        lives, ended = 5, False
        while not ended:
            collection = VersionedCollection({key: {"country": "it", **DOCUMENTS[key]} for key in DOCUMENTS})
            bucket, state, change = ModelBucket(), FlakyStateStore(), changing(collection)
            ended = await live(collection, bucket, state, Mortal(lives, change), limit=limit, layout=layout)
            state = state if keeps_state else FlakyStateStore()
            assert await live(collection, bucket, state, Mortal(None, change), limit=limit, layout=layout)
            check(bucket, collection)
            lives += 23
        assert lives > 60

    run_virtual(main())


@pytest.mark.parametrize(("limit", "layout"), STORES)
def test_S7_two_owners_without_a_lease_make_one_chain(limit, layout):
    async def main():
        for delay in (0, 3, 20, 40):
            collection = VersionedCollection({key: {"country": "it", **DOCUMENTS[key]} for key in DOCUMENTS})
            bucket, change = ModelBucket(), changing(collection)

            async def owner(delay, collection=collection, bucket=bucket, change=change):
                await asyncio.sleep(delay / 1000)
                return await live(
                    collection, bucket, FlakyStateStore(), Mortal(None, change), limit=limit, layout=layout
                )

            assert await asyncio.gather(owner(0), owner(delay)) == [True, True]
            check(bucket, collection)

    run_virtual(main())


def test_S11_a_stream_that_exists_is_never_surprised_by_a_snapshot():
    async def main():
        collection, bucket, state = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore()
        source = VersionedSource(collection=collection)
        never = pipeline(source, destination_of(bucket), state, snapshot={"mode": "never"})
        assert (await never.run(once=True)).ok
        collection.put(50, {"value": 1})
        assert (await pipeline(source, destination_of(bucket), state).run(once=True)).ok
        lost = FlakyStateStore()  # nor if its checkpoint is lost
        assert (await pipeline(source, destination_of(bucket), lost).run(once=True)).ok
        assert rows_of(bucket) == []
        assert source.planned == 0

    run_virtual(main())


def test_a_snapshot_that_is_done_is_not_taken_again():
    async def main():
        collection, bucket, state = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore()
        source = VersionedSource(collection=collection)
        for kept in (state, state, FlakyStateStore()):
            assert (await pipeline(source, destination_of(bucket), kept).run(once=True)).ok
        check(bucket, collection)
        assert source.planned == 1

    run_virtual(main())


def test_S12_a_time_that_the_server_refuses_is_followed_by_a_later_one():
    async def main():
        collection, bucket = VersionedCollection(DOCUMENTS), ModelBucket()
        refused = []

        async def pause(what):
            await asyncio.sleep(0.001)
            if what == "read more" and len(refused) < 7:
                refused.append(collection.now)
                raise SnapshotTimeError("the history is gone")

        source = VersionedSource(collection=collection, pause=pause)
        heard = Heard()
        assert (await pipeline(source, destination_of(bucket), FlakyStateStore(), heard=heard).run(once=True)).ok
        check(bucket, collection)
        assert len(set(refused)) == 7
        assert [it.reason for it in heard.of(SnapshotPaused)] == ["the history is gone"]

    run_virtual(main())


def test_a_source_that_fails_pauses_the_snapshot_and_not_the_stream():
    async def main():
        collection, bucket = VersionedCollection(DOCUMENTS), ModelBucket()

        async def pause(what):
            await asyncio.sleep(0.001)
            if what == "read" and len(collection.changes) < 20:
                collection.put(len(collection.changes), {"value": "changed"})
                raise DownError("the server is busy")

        source = VersionedSource(collection=collection, pause=pause)
        heard = Heard()
        pipe = pipeline(
            source, destination_of(bucket), FlakyStateStore(), heard=heard, on_failure="restart", batch_timeout=0.1
        )
        assert (await pipe.run(once=True)).ok
        check(bucket, collection)
        assert len(heard.of(SnapshotPaused)) == 20
        assert not heard.of(WorkerFailing)

    run_virtual(main())


def test_a_destination_without_records_gets_every_row_at_least_once_and_the_checkpoint_knows_how_far():
    async def main():
        collection, state = VersionedCollection(DOCUMENTS), FlakyStateStore()
        source, destination = VersionedSource(collection=collection, borders=(10, 20)), RecordingDestination()
        mortal = Mortal(12)
        source.pause = mortal
        running = asyncio.create_task(pipeline(source, destination, state).run(once=True))
        await mortal.died.wait()
        running.cancel()
        source.pause = None
        assert (await pipeline(source, destination, state).run(once=True)).ok
        assert set(destination.tokens) >= {row_token("shop.orders#1", key) for key in DOCUMENTS}
        assert source.planned <= 2
        written = len(destination.tokens)
        assert (await pipeline(source, destination, state).run(once=True)).ok
        assert len(destination.tokens) == written
        assert state.saves[-1].snapshot.state == "done"

    run_virtual(main())


def test_mode_only_ends_when_the_snapshot_is_done():
    async def main():
        collection, bucket = VersionedCollection(DOCUMENTS), ModelBucket()
        source = VersionedSource(collection=collection)
        pipe = pipeline(source, destination_of(bucket), FlakyStateStore(), snapshot={"mode": "only"})
        assert (await pipe.run()).ok
        check(bucket, collection)
        assert len(rows_of(bucket)) == 40

    run_virtual(main())


def test_mode_only_reports_that_no_snapshot_is_left():
    async def main():
        collection, bucket, state = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore()
        reported = []
        for _ in range(2):
            heard, source = Heard(), VersionedSource(collection=collection)
            assert (
                await pipeline(source, destination_of(bucket), state, heard=heard, snapshot={"mode": "only"}).run()
            ).ok
            reported.append((len(heard.of(SnapshotDone)), len(heard.of(SnapshotNotRequested)) > 0))
        assert reported == [(1, False), (0, True)]

    run_virtual(main())


def test_a_chunk_holds_no_more_than_max_rate_reads_in_a_second():
    async def main():
        documents = {key: {"padding": "x" * 20_000} for key in range(40)}
        bucket, heard = ModelBucket(), Heard()
        source = VersionedSource(collection=VersionedCollection(documents))
        limits = {"batch_bytes": 2**22, "max_buffered_bytes": 2**24}
        snapshot = {"max_rate": 100_000}
        pipe = pipeline(source, destination_of(bucket), FlakyStateStore(), heard=heard, snapshot=snapshot, **limits)
        assert (await pipe.run(once=True)).ok
        sizes = [chunk.bytes for chunk in heard.of(ChunkWritten)]
        assert max(sizes) < 100_000 + 21_000  # at least one document, and the one that exceeds the limit
        assert len(sizes) >= 7

    run_virtual(main())


def test_max_rate_bounds_the_bytes_of_a_second():
    async def main():
        collection, bucket = VersionedCollection(DOCUMENTS), ModelBucket()
        source = VersionedSource(collection=collection, borders=(10, 20))
        pipe = pipeline(source, destination_of(bucket), FlakyStateStore(), snapshot={"max_rate": 500})
        started = asyncio.get_running_loop().time()
        assert (await pipe.run(once=True)).ok
        nbytes = sum(
            len(collection.row("shop.orders#1", key, DOCUMENTS[key], collection.now, "read")) for key in range(40)
        )
        assert asyncio.get_running_loop().time() - started >= (nbytes - 3 * 2500) / 500
        check(bucket, collection)

    run_virtual(main())


def test_a_source_without_snapshots_is_refused_before_anything_runs():
    async def main():
        source = ScriptedSource(logs={"shop.orders": Log()})
        with pytest.raises(ConfigurationError, match="reads no snapshots"):
            await pipeline(source, RecordingDestination(), FlakyStateStore()).run(once=True)
        source = VersionedSource(collection=VersionedCollection())
        with pytest.raises(ConfigurationError, match="this destination takes none yet"):
            await pipeline(source, BucketDestination(bucket=Bucket()), FlakyStateStore()).run(once=True)
        pipe = pipeline(source, RecordingDestination(), FlakyStateStore(), snapshot={"collections": ("shop.nothing",)})
        with pytest.raises(ConfigurationError, match="no stream of the pipeline watches"):
            await pipe.run(once=True)

    run_virtual(main())


def test_S24_a_position_that_is_lost_meanwhile_ends_the_snapshot():
    async def main():
        collection, bucket, state, heard = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore(), Heard()
        source = VersionedSource(collection=collection, borders=(10, 20))
        mortal = Mortal(12)
        source.pause = mortal
        destination = destination_of(bucket)
        running = asyncio.create_task(pipeline(source, destination, state).run(once=True))
        await mortal.died.wait()
        running.cancel()
        source.pause = None
        collection.put(1, {"value": "lost"})
        source.lost_before = len(collection.changes)
        pipe = pipeline(source, destination_of(bucket), state, heard=heard, on_lost_position="restart_from_now")
        assert (await pipe.run(once=True)).ok
        assert len(heard.of(SnapshotEnded)) == 1
        assert not heard.of(SnapshotDone)

    run_virtual(main())


def ledger_of(destination):
    async def ask(question, *args):
        return await question(*args)

    return KeptLedger(STREAM, destination, ask)


def newest(rows):
    """The rows of the newest snapshot."""
    last = max(row["_id"]["snapshot"] for row in rows)
    return [row for row in rows if row["_id"]["snapshot"] == last]


def test_S22_S23_a_lost_position_is_followed_by_a_snapshot_that_gives_the_collection():
    async def main():
        for lives in range(3, 60, 7):
            collection, bucket, state = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore()
            source = VersionedSource(collection=collection, borders=(10, 20))
            assert (await pipeline(source, destination_of(bucket), state).run(once=True)).ok
            collection.put(1, {"value": "lost"})
            collection.remove(2)
            source.lost_before = len(collection.changes)
            mortal = Mortal(lives)
            process = ModelProcess(mortal)
            dying = ModelDestination(bucket=bucket, process=process, serializer=RawDocuments())
            options = {"on_lost_position": "snapshot"}
            running = asyncio.create_task(pipeline(source, dying, state, **options).run(once=True))
            died = asyncio.create_task(mortal.died.wait())
            await asyncio.wait([running, died], return_when=asyncio.FIRST_COMPLETED)
            process.dead = True
            for task in (running, died):
                task.cancel()
            heard = Heard()
            assert (await pipeline(source, destination_of(bucket), state, heard=heard, **options).run(once=True)).ok
            collection.put(3, {"value": "later"})
            assert (await pipeline(source, destination_of(bucket), state, **options).run(once=True)).ok
            rows = newest(rows_of(bucket))
            assert {row["_id"]["snapshot"] for row in rows} == {"shop.orders#2"}
            since = min(map(time_of, rows))
            changes = [change for change in bucket.documents(STREAM) if time_of(change) >= since]
            assert replayed(rows, changes, collection.now) == collection.state()
            ends = [await ledger_of(destination_of(bucket)).ended(number) for number in (1, 2)]
            assert [end.state for end in ends] == ["done", "done"]

    run_virtual(main())


def test_S25_requests_are_carried_out_one_after_another_each_once():
    async def main():
        collection, bucket, state, heard = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore(), Heard()
        source = VersionedSource(collection=collection)
        mode = {"mode": "on_request"}
        assert (await pipeline(source, destination_of(bucket), state, snapshot=mode).run(once=True)).ok
        assert rows_of(bucket) == []
        ledger = ledger_of(destination_of(bucket))
        assert [await ledger.request(SnapshotRequest(id=id_)) for id_ in ("a", "b", "a")] == [1, 2, 1]
        assert (await pipeline(source, destination_of(bucket), state, heard=heard, snapshot=mode).run(once=True)).ok
        rows = rows_of(bucket)
        assert len(rows) == 80
        assert len(newest(rows)) == 40
        assert [done.number for done in heard.of(SnapshotDone)] == [1, 2]

    run_virtual(main())


@pytest.mark.parametrize("refusing", ["plan", "read"])
def test_a_request_that_the_source_refuses_fails_and_the_stream_and_the_next_request_go_on(refusing):
    async def main():
        collection, bucket, heard = VersionedCollection(DOCUMENTS), ModelBucket(), Heard()
        source = VersionedSource(collection=collection)
        refusals = iter([ConfigurationError("the filter is refused", remedy="Correct it.")])

        async def refuse(what):
            if what == refusing and (error := next(refusals, None)):
                raise error

        source.pause = refuse
        ledger = ledger_of(destination_of(bucket))
        for id_ in ("a", "b"):
            await ledger.request(SnapshotRequest(id=id_))
        pipe = pipeline(source, destination_of(bucket), FlakyStateStore(), heard=heard, snapshot={"mode": "on_request"})
        assert (await pipe.run(once=True)).ok
        ends = [await ledger.ended(number) for number in (1, 2)]
        assert [(end.state, end.reason) for end in ends] == [("failed", "the filter is refused"), ("done", "")]
        assert [ended.reason for ended in heard.of(SnapshotEnded)] == ["the filter is refused"]
        assert heard.of(WorkerFailing) == []
        assert len(rows_of(bucket)) == 40

    run_virtual(main())


def test_S26_a_pause_lasts_over_a_restart_and_a_cancelled_snapshot_ends():
    async def main():
        collection, bucket, state = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore()
        source = VersionedSource(collection=collection)
        ledger = ledger_of(destination_of(bucket))
        assert await ledger.request(SnapshotRequest()) == 1
        assert await ledger.set_paused(1, paused=True)
        assert not await ledger.set_paused(1, paused=True)
        for _ in range(2):
            heard = Heard()
            pipe = pipeline(source, destination_of(bucket), state, heard=heard, idle_advance_interval=1.0)
            running = asyncio.create_task(pipe.run())
            await asyncio.sleep(20)
            assert rows_of(bucket) == []
            assert [paused.reason for paused in heard.of(SnapshotPaused)] == ["a command paused it"]
            pipe.stop()
            assert (await running).ok
        assert await ledger.set_paused(1, paused=False)
        source.pause = slowly
        heard = Heard()
        pipe = pipeline(source, destination_of(bucket), state, heard=heard, idle_advance_interval=1.0)
        running = asyncio.create_task(pipe.run())
        await asyncio.sleep(10)
        assert 0 < len(rows_of(bucket)) < 40
        await ledger.end(1, EndRecord(state="cancelled", reason="a command cancelled it"))
        await asyncio.sleep(5)
        written = len(rows_of(bucket))
        collection.put(50, {"value": 1})
        await asyncio.sleep(60)
        assert len(rows_of(bucket)) == written
        assert len(bucket.documents(STREAM)) == 1
        assert [ended.reason for ended in heard.of(SnapshotEnded)] == ["a command cancelled it"]
        pipe.stop()
        assert (await running).ok

    run_virtual(main())


async def slowly(what):
    await asyncio.sleep(3.0 if what == "read" else 0.001)


def test_S15_a_stream_that_is_behind_pauses_the_snapshot_until_it_has_caught_up():
    async def main():
        collection, bucket, heard = VersionedCollection(DOCUMENTS), ModelBucket(), Heard()
        source = VersionedSource(collection=collection, reply_events=1)
        state = FlakyStateStore()
        assert (await pipeline(source, destination_of(bucket), state, snapshot={"mode": "never"}).run(once=True)).ok
        for value in range(100):
            collection.tick(2)
            collection.put(value % 40, {"value": value})
        await ledger_of(destination_of(bucket)).request(SnapshotRequest())
        pipe = pipeline(source, destination_of(bucket), state, heard=heard, snapshot={"mode": "on_request"})
        assert (await pipe.run(once=True)).ok
        check(bucket, collection)
        assert len(rows_of(bucket)) == 40
        (paused,) = heard.of(SnapshotPaused)
        assert paused.reason.endswith(" s of changes to read")

    run_virtual(main())


class OpaqueSource(VersionedSource):
    """The tokens hide their time, so the position of an idle stream keeps the time of its last event."""

    def _mark(self, index):
        position = super()._mark(index)
        return attrs.evolve(position, cluster_time=self.collection.changes[-1].time.next(), ordinal=0)


def test_an_idle_stream_with_an_old_time_begins_a_snapshot_with_the_next_reply():
    async def main():
        collection, bucket, state = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore()
        collection.put(1, {"value": "changed"})
        replies = []

        async def count(what):
            await asyncio.sleep(0.001)
            if what == "getMore":
                replies.append(what)
                if len(replies) > 20:
                    raise ConfigurationError("the snapshot does not begin")

        source = OpaqueSource(collection=collection, reads_at_a_time=False, pause=count)
        assert (await pipeline(source, destination_of(bucket), state, snapshot={"mode": "never"}).run(once=True)).ok
        collection.tick(3600)
        await ledger_of(destination_of(bucket)).request(SnapshotRequest(id="a"))
        replies.clear()
        pipe = pipeline(source, destination_of(bucket), state, snapshot={"mode": "on_request"})
        report = await pipe.run(once=True)
        assert report.ok, report
        assert len(rows_of(bucket)) == 40
        assert len(replies) < 10

    run_virtual(main())


class Masking(Transform):
    """Hides the field `secret`, and drops documents that are `internal`."""

    accepts = frozenset({ANY_FORMAT})
    streams = ("shop.orders",)

    def transform(self, events):
        documents = [events.decoder.document(events.raw(index)) for index in range(len(events))]
        for document in documents:
            document["fullDocument"].pop("secret", None)
        replaced = events.replaced({index: events.decoder.encode(document) for index, document in enumerate(documents)})
        return replaced.without({i for i, document in enumerate(documents) if document["fullDocument"].get("internal")})


@pytest.mark.parametrize(("limit", "layout"), STORES)
def test_rows_pass_the_transforms_before_anything_of_them_is_stored(limit, layout):
    async def main():
        documents = {key: {"secret": "SECRET", "internal": key % 2, "country": "ab"[key % 3 % 2]} for key in range(20)}
        collection, bucket = VersionedCollection(documents), ModelBucket()
        stored = []

        async def note(what):
            await asyncio.sleep(0)
            stored.extend(content for objects in bucket.folders.values() for content, _ in objects.contents.values())

        destination = ModelDestination(
            bucket=bucket, process=ModelProcess(note), serializer=RawDocuments(), metadata_limit=limit, **layout
        )
        pipe = Pipeline(
            name="p",
            source=VersionedSource(collection=collection),
            destination=destination,
            state=FlakyStateStore(),
            transforms=[Masking()],
            settings=Settings(batch_bytes=700, max_buffered_bytes=2000, snapshot=SnapshotSettings(mode="initial")),
        )
        assert (await pipe.run(once=True)).ok
        rows = rows_of(bucket)
        assert sorted(row["documentKey"]["_id"] for row in rows) == list(range(0, 20, 2))
        assert stored
        assert not any(b"SECRET" in content for content in stored)
        end = await ledger_of(destination_of(bucket)).ended(1)
        assert (end.rows, end.filtered) == (20, True)

    asyncio.run(main())


def test_S20_a_row_that_is_rejected_is_a_dead_letter_of_its_stream_named_by_snapshot_and_document():
    async def main():
        documents = {key: {"value": TokenLines.POISON if key == 7 else key} for key in range(20)}
        collection, bucket, letters = VersionedCollection(documents), ModelBucket(), ModelBucket()
        pipe = Pipeline(
            name="p",
            source=VersionedSource(collection=collection, borders=(5,)),
            destination=ModelDestination(bucket=bucket, process=ModelProcess(soon), serializer=TokenLines()),
            dead_letters=destination_of(letters),
            state=FlakyStateStore(),
            settings=Settings(batch_bytes=700, max_buffered_bytes=2000, snapshot=SnapshotSettings(mode="initial")),
        )
        assert (await pipe.run(once=True)).ok
        (letter,) = map(DeadLetter.read, letters.documents(STREAM.beside("dead-letters")))
        assert letter.stream == STREAM
        assert letter.position.resume_token == row_token("shop.orders#1", 7)
        written = [
            token
            for folder in bucket.ranges()
            for key, (content, _) in bucket.folder(folder).contents.items()
            if key.endswith(".txt")
            for token in TokenLines.tokens_in(content)
        ]
        expected = (row_token("shop.orders1", key) for key in range(20) if key != 7)  # TokenLines takes # for padding
        assert sorted(written) == sorted(expected)


@attrs.define(kw_only=True)
class RenamedInto(VersionedSource):
    """Its documents arrived by no event: the collection was renamed to the watched name."""

    async def read(self, stream, *, after):
        async for item in VersionedSource.read(self, stream, after=after):
            if isinstance(item, Heartbeat):
                place = Position(ResumeToken("rename"), self.fingerprint, Timestamp(1, 1), 1)
                item = attrs.evolve(item, gaps=(Gap("it was renamed", None, place, Namespace("shop", "orders")),))
            yield item


@pytest.mark.parametrize(("mode", "rows"), [("on_request", 40), ("never", 0)])
def test_a_collection_that_is_renamed_into_the_stream_is_read_once(mode, rows):
    async def main():
        collection, bucket, state = VersionedCollection(DOCUMENTS), ModelBucket(), FlakyStateStore()
        for _ in range(3):
            source, heard = RenamedInto(collection=collection), Heard()
            running = pipeline(source, destination_of(bucket), state, heard=heard, snapshot={"mode": mode})
            task = asyncio.create_task(running.run())
            await asyncio.sleep(60)
            running.stop()
            await task
        assert len(rows_of(bucket)) == rows
        assert len(heard.of(SnapshotPlanned)) == 0

    run_virtual(main())


def test_S29_memory_stays_within_the_budget():
    async def main():
        documents = {key: {"padding": "x" * 3000} for key in range(60)}
        collection, bucket = VersionedCollection(documents), ModelBucket()
        most = 0

        async def measure(what):
            nonlocal most
            await asyncio.sleep(0.01 if what.startswith("put") else 0.001)
            most = max(most, pipe._budget.held)

        destination = ModelDestination(bucket=bucket, process=ModelProcess(measure), serializer=RawDocuments())
        source = VersionedSource(collection=collection, borders=(15, 30, 45))
        pipe = pipeline(source, destination, FlakyStateStore(), batch_bytes=20_000, max_buffered_bytes=40_000)
        assert (await pipe.run(once=True)).ok
        check(bucket, collection)
        assert 0 < most <= 40_000


def test_a_collection_that_is_renamed_in_replaces_no_snapshot_that_a_checkpoint_records():
    async def main():
        collection, state, heard = VersionedCollection(DOCUMENTS), FlakyStateStore(), Heard()
        source = RenamedInto(collection=collection)
        assert (await pipeline(source, RecordingDestination(), state, heard=heard).run(once=True)).ok
        assert [notice.number for notice in heard.of(SnapshotDone)] == [1]
        assert state._checkpoints[STREAM.key].snapshot.number == 1

    run_virtual(main())
