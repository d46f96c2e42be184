"""Random schedules of snapshots, run with the shipping engine and chain, and their verdict.

A collection changes while one or two processes read it and deliver its changes. They are killed, stand still, lose
their state or start from an old one. At the end one process without faults finishes the work. Then the objects must
give the collection at every moment, by time. Where never two processes ran at once, chunks were read at a time, and
each is one object, they must give it in the order of arrival, too.
"""

import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from bson import decode_all
from rigatoni_core.api.contracts import Destination
from rigatoni_core.api.events import Position, Stream, Timestamp
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import RetrySettings, Settings, SnapshotSettings
from rigatoni_core.api.snapshots import SnapshotTimeError
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_objects.listing import RECORD
from rigatoni_objects.paths import OWN
from rigatoni_objects.records import BatchRecord

from rigatoni_testing.clock import EverythingWaitsError, NothingAdvancesError, run_virtual
from rigatoni_testing.model_objects import ModelBucket, ModelDestination, ModelProcess, RawDocuments
from rigatoni_testing.versioned import VersionedCollection, VersionedSource

KEYS = range(9)
STREAM = Stream("p", "shop.orders")
FOLDERS: Sequence[tuple[str, ...]] = ((), (), ("field:b",))


@attrs.frozen
class SnapshotSchedule:
    """What happens, as far as it is not left to the seed.

    Attributes:
        seed: Decides everything else.
        at_a_time: Whether chunks are read at a time, or in windows.
        alone: Whether never two processes run at once.
        metadata_limit: 0 for a store whose objects carry no records.
        partition_by: The folders of rows and events.
    """

    seed: int
    at_a_time: bool
    alone: bool
    metadata_limit: int
    partition_by: tuple[str, ...]

    @classmethod
    def of(cls, seed: int) -> "SnapshotSchedule":
        """Return the schedule of a seed."""
        chance = random.Random(f"schedule {seed}")  # noqa: S311 (no secret)
        return cls(
            seed,
            at_a_time=chance.random() < 0.7,
            alone=chance.random() < 0.5,
            metadata_limit=chance.choice((1900, 1900, 0)),
            partition_by=chance.choice(FOLDERS),
        )


class _World:
    def __init__(self, schedule: SnapshotSchedule) -> None:
        self.schedule = schedule
        self.chance = random.Random(schedule.seed)  # noqa: S311 (no secret)
        first = {key: {"a": -1, "b": key % 3} for key in KEYS if self.chance.random() < 0.7}
        self.collection = VersionedCollection(first)
        self.bucket = ModelBucket()
        self.borders = tuple(sorted(self.chance.sample(KEYS[1:], self.chance.randrange(3))))
        self.store = MemoryStateStore()
        self.old: list[dict[str, Any]] = []
        self.calm = False

    async def run(self) -> None:
        writer = asyncio.create_task(self._write())
        running: set[asyncio.Task[None]] = set()
        for _ in range(self.chance.randrange(1, 5)):
            running.add(asyncio.create_task(self._live(self.chance.uniform(0.05, 6.0))))
            if self.schedule.alone:
                await asyncio.wait(running)
            await asyncio.sleep(self.chance.uniform(0.0, self.chance.choice((0.05, 2.0))))
            self._mistreat()
        self.calm = True
        await self._live(None)
        writer.cancel()
        if running:
            await asyncio.wait(running)
        await self._live(None)  # delivers what was written last

    def _mistreat(self) -> None:
        """Lose the state, or restore an old one."""
        self.old.append(dict(self.store._checkpoints))
        if self.chance.random() < 0.3:
            kept = {} if self.chance.random() < 0.5 else self.chance.choice(self.old)
            self.store = MemoryStateStore()
            self.store._checkpoints.update(kept)

    async def _write(self) -> None:
        chance, collection = self.chance, self.collection
        while True:
            await asyncio.sleep(chance.uniform(0.0, 0.3 if not self.calm else 1.5))
            if len(collection.changes) > 60:
                return
            self.old.append(dict(self.store._checkpoints))
            for _ in range(chance.choice((1, 1, 1, 3))):
                key, serial = chance.choice(KEYS), len(collection.changes)
                together = chance.random() < 0.4
                if key not in collection.state():
                    collection.put(key, {"a": serial, "b": chance.randrange(3)}, same_time=together)
                elif chance.random() < 0.35:
                    collection.remove(key, same_time=together)
                else:
                    field, value = chance.choice((("a", serial), ("b", chance.randrange(3))))
                    collection.update(key, {field: value}, same_time=together)

    async def _live(self, lasts: float | None) -> None:
        """One process, killed after some seconds unless it may end by itself."""
        chance = self.chance
        faulty = lasts is not None

        async def pause(what: str) -> None:
            stands_still = faulty and chance.random() < 0.01
            await asyncio.sleep(chance.uniform(0.5, 5.0) if stands_still else chance.uniform(0.0, 0.03))
            if faulty and what == "read more" and chance.random() < 0.05:
                raise SnapshotTimeError("the history of that time is gone")

        process = ModelProcess(pause)
        schedule = self.schedule
        source = VersionedSource(
            collection=self.collection,
            reads_at_a_time=schedule.at_a_time,
            borders=self.borders,
            pause=pause,
            reply_events=chance.randrange(1, 4),
            await_time=0.3,
        )
        destination = ModelDestination(
            bucket=self.bucket,
            process=process,
            serializer=RawDocuments(),
            metadata_limit=schedule.metadata_limit,
            partition_by=schedule.partition_by,
        )
        running = asyncio.create_task(self._pipeline(source, destination).run(once=True))
        await asyncio.wait([running], timeout=lasts if lasts is not None else 500.0)
        process.dead = True
        ended = running.done()
        running.cancel()
        await asyncio.wait([running])
        if lasts is None:
            assert ended, "the last run does not end despite the absence of faults"
            report = running.result()
            assert report.ok, f"the last run fails: {report.workers}"

    def _pipeline(self, source: VersionedSource, destination: Destination) -> Pipeline:
        settings = Settings(
            batch_timeout=self.chance.choice((0.05, 0.5)),
            batch_bytes=ByteSize(self.chance.choice((170, 330, 700))),  # so chunks of two processes end elsewhere
            max_buffered_bytes=ByteSize(2000),
            idle_advance_interval=0.2,
            lease_ttl=1.0,
            lease_renew_interval=0.3,
            lease_retry_interval=0.3,
            retry=RetrySettings(retry_delay=0.05, max_retry_delay=0.5),
            snapshot=SnapshotSettings(mode="initial", concurrency=self.chance.choice((1, 2, 3))),
        )
        leased = self.schedule.alone or self.calm or self.chance.random() < 0.4
        state = self.store if leased else MemoryStateStore()  # nothing keeps this process from working next to another
        return Pipeline(name="p", source=source, destination=destination, state=state, settings=settings)


def simulate_snapshot(schedule: SnapshotSchedule) -> str:
    """Run one schedule; return what is wrong with its outcome, empty if nothing is."""
    before = random.getstate()
    random.seed(schedule.seed)

    async def main() -> str:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # futures without a reader
        world = _World(schedule)
        await world.run()
        return next(verdict(world.bucket, world.collection, schedule), "")

    try:
        return run_virtual(main())
    except (AssertionError, EverythingWaitsError, NothingAdvancesError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        random.setstate(before)


# --- the verdict


@attrs.frozen
class _Object:
    """One object in the order of arrival: events, or rows with their chunk's interval and time."""

    documents: list[dict[str, Any]]
    interval: tuple[int, int] | None = None
    at: Timestamp | None = None


def verdict(bucket: ModelBucket, collection: VersionedCollection, schedule: SnapshotSchedule) -> Iterator[str]:
    """Yield what is wrong with the objects of a bucket."""
    records = bucket.folder(STREAM.beside("snapshots").key).contents
    if f"{OWN}snapshots/1/end.json" not in records:
        yield "the snapshot was never done"
        return
    anchor = json.loads(records[f"{OWN}snapshots/1/plan.json"][0])["anchor"]
    changes, rows = bucket.documents(STREAM), rows_of(bucket)
    raws = [collection.raw(index) for index in range(len(collection.changes))]
    expected = [document for raw in raws for document in decode_all(raw)]
    by_order = sorted(changes, key=lambda change: change["_id"]["_data"])
    missed = expected[: len(expected) - len(by_order)]
    if by_order != expected[len(missed) :] or any(time_of(it) > Timestamp(*anchor["cluster_time"]) for it in missed):
        yield "the chain of changes is not the stream"
    keys = [row["documentKey"]["_id"] for row in rows]
    if len(keys) != len(set(keys)):
        yield "a document exists twice"
    for row in rows:
        if collection.state(time_of(row)).get(row["documentKey"]["_id"]) != _content(row):
            yield "a row that was never true at its time"
    yield from _intervals(bucket)
    last = max([*map(time_of, rows), *(time for time in _times(bucket))], default=collection.now)
    for moment in sorted({last, *(time_of(change) for change in by_order if time_of(change) > last)}):
        if replayed(rows, by_order, moment) != collection.state(moment):
            yield "replay by time differs from the collection"
    if schedule.alone and schedule.at_a_time and not schedule.partition_by and schedule.metadata_limit:
        yield from _by_arrival(bucket, collection, by_order)


def rows_of(bucket: ModelBucket) -> list[dict[str, Any]]:
    """Return the rows of all ranges."""
    return [row for folder in bucket.ranges() for row in bucket.documents(Stream(*folder.split("/")))]


def time_of(document: Mapping[str, Any]) -> Timestamp:
    """Return the cluster time of an event or a row."""
    time = document["clusterTime"]
    return Timestamp(time.time, time.inc)


def replayed(
    rows: Sequence[Mapping[str, Any]],
    changes: Sequence[Mapping[str, Any]],
    moment: Timestamp,
) -> dict[int, dict[str, Any]]:
    """Return the collection as a reader of the destination has it, with rows after the events of their time.

    Args:
        rows: The rows.
        changes: The events, in order.
        moment: Later events are ignored.
    """
    state, times = dict[int, dict[str, Any]](), dict[int, Timestamp]()
    for row in rows:
        state[row["documentKey"]["_id"]], times[row["documentKey"]["_id"]] = _content(row), time_of(row)
    for change in changes:
        key, time = change["documentKey"]["_id"], time_of(change)
        if time <= moment and (key not in times or time > times[key]):
            apply(state, change)
    return state


def apply(state: dict[int, dict[str, Any]], change: Mapping[str, Any]) -> None:
    """Apply an event to a collection."""
    key = change["documentKey"]["_id"]
    match change["operationType"]:
        case "delete":
            state.pop(key, None)
        case "update":
            if key in state:
                state[key] = {**state[key], **change["updateDescription"]["updatedFields"]}
        case _:
            state[key] = _content(change)


def _content(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document["fullDocument"].items() if name != "_id"}


def _chunks(bucket: ModelBucket) -> Iterator[tuple[str, BatchRecord]]:
    """Yield the records of all chunks, by the folder of their range, in order."""
    for folder in bucket.ranges():
        found = []
        for key, (content, carried) in bucket.folder(folder).contents.items():
            if RECORD in carried:
                found.append(BatchRecord.parse(carried[RECORD], key))
            elif key.startswith(f"{OWN}batches/"):
                found.append(BatchRecord.parse(content, key))
        yield from ((folder, record) for record in sorted(found, key=lambda record: record.first.ordinal))


def _place(position: Position) -> dict[str, Any]:
    place: dict[str, Any] = json.loads(position.resume_token)["snapshot"]
    return place


def _bounds(bucket: ModelBucket) -> Iterator[tuple[str, BatchRecord, int, int]]:
    """Yield each chunk with the interval of keys that it covers."""
    records = bucket.folder(STREAM.beside("snapshots").key).contents
    plan = json.loads(records[f"{OWN}snapshots/1/plan.json"][0])["ranges"]
    low = dict[str, int]()
    for folder, record in _chunks(bucket):
        place = _place(record.end)
        each = plan[place["index"]]
        start = low.get(folder, -1 if each["low"] is None else int(each["low"]))
        last = 99 if each["high"] is None else int(each["high"])
        end = last if place["complete"] else int(place["low"])
        yield folder, record, start, end
        low[folder] = end


def _intervals(bucket: ModelBucket) -> Iterator[str]:
    """Yield ranges that are not covered, and chunks out of their place."""
    numbers, covered = dict[str, int](), set[int]()
    for folder, record, start, end in _bounds(bucket):
        if record.first.ordinal != numbers.get(folder, 0):
            yield "a hole in a chain of chunks"
        numbers[folder] = record.first.ordinal + 1
        keys = {key for key in KEYS if start <= key < end}
        if keys & covered:
            yield "chunks overlap"
        covered |= keys
    if covered != set(KEYS):
        yield "chunks leave a hole"


def _times(bucket: ModelBucket) -> Iterator[Timestamp]:
    for _, record in _chunks(bucket):
        yield Timestamp(*_place(record.end)["latest"])


def _by_arrival(
    bucket: ModelBucket, collection: VersionedCollection, expected: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield where a reader in the order of arrival is wrong about a key whose chunk has come."""
    chunks = {(folder, record.parts[0].path): (start, end) for folder, record, start, end in _bounds(bucket)}
    times = {(folder, record.parts[0].path): _chunk_time(bucket, folder, record) for folder, record in _chunks(bucket)}
    state, known, reached, last = dict[int, dict[str, Any]](), set[int](), Timestamp(0, 0), ""
    for folder, key in bucket.arrivals:
        if key.startswith(OWN) or not key.endswith(RawDocuments.suffix):
            continue
        documents = decode_all(bucket.folder(folder).contents[key][0])
        if (folder, key) in chunks:
            start, end = chunks[folder, key]
            for row in documents:
                state[row["documentKey"]["_id"]] = _content(row)
            known |= {each for each in KEYS if start <= each < end}
            reached = max([reached, *([times[folder, key]] if times[folder, key] else ())])
        elif folder == STREAM.key:
            for change in documents:
                apply(state, change)
                reached = max(reached, time_of(change))
            last = documents[-1]["_id"]["_data"]
        following = [change for change in expected if change["_id"]["_data"] > last]
        if following and time_of(following[0]) <= reached:
            continue  # a transaction is half there
        true = collection.state(reached)
        if any(state.get(each) != true.get(each) for each in known):
            yield "replay by arrival differs from the collection"


def _chunk_time(bucket: ModelBucket, folder: str, record: BatchRecord) -> Timestamp | None:
    rows = decode_all(bucket.folder(folder).contents[record.parts[0].path][0])
    return time_of(rows[0]) if rows else None
