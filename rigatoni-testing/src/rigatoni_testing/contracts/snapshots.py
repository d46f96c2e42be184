"""Contract tests for transactional destinations that take the rows of snapshots (`RecordKeeper`)."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs
from bson import json_util
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Destination, RecordKeeper, TransactionalKeeper
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Definition, ResumeToken, Stream, Timestamp
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import Settings, SnapshotSettings
from rigatoni_core.api.snapshot_records import Place as RangePlace
from rigatoni_core.api.snapshots import Bound, Chunk
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.engine.snapshots.rows import row_batch

from rigatoni_testing.batches import START, STREAM, event_format
from rigatoni_testing.contracts.destination import Place
from rigatoni_testing.contracts.obligations import Obligations, asynchronous, bounded, promised
from rigatoni_testing.versioned import VersionedCollection, VersionedSource

RANGE = STREAM.snapshot_range(1, 0)
_REQUEST = "snapshots/1/request"


@attrs.frozen
class CurrentPlace:
    """The place of a destination that keeps documents as they are now; empty when the test begins.

    Attributes:
        make: Returns a new destination that is not entered yet; all destinations of one test write to the same place.
        documents: Returns the documents of the table of `STREAM` by their `_id`, which is a whole number.
    """

    make: Callable[[], Destination]
    documents: Callable[[], Awaitable[Mapping[int, Mapping[str, Any]]]]


def chunk_of(
    collection: VersionedCollection, place: RangePlace, at: Timestamp, *, end: int | None = None
) -> tuple[EventBatch, RangePlace]:
    """Return the chunk that begins at a place, read at a time, and the place after it.

    Args:
        collection: What is read.
        place: Where the chunk begins.
        at: The time.
        end: The key before which it ends; None for the last chunk.
    """
    low = int(place.low) if place.low is not None else 0
    documents = {
        key: document
        for key, document in sorted(collection.state(at).items())
        if key >= low and (end is None or key < end)
    }
    source = VersionedSource(collection=collection)
    rows = source._rows(f"{STREAM.name}#1", documents, at, "read")
    chunk = Chunk(rows=rows, at=at, end=None if end is None else Bound(str(end)), after=at)
    after = place.after(chunk, filtered=False)
    return row_batch(RANGE, place, after, chunk, event_format(), fingerprint="plan", anchor=START.cluster_time), after


async def begin_range(destination: Destination) -> RangePlace:
    """Begin the range, with the request of its snapshot on record, and return where it stands.

    Args:
        destination: The destination.
    """
    assert isinstance(destination, RecordKeeper)
    assert isinstance(destination, TransactionalKeeper)
    await bounded(destination.settle(STREAM.beside("snapshots"), _REQUEST, b"request"), "settle")
    await bounded(destination.begin(STREAM, _DEFINITION, START), "begin")
    start = RangePlace(number=1, index=0).position("plan", START.cluster_time)
    details = {"full_document": "updateLookup", "snapshot": {"number": 1, "range": 0}}
    held = await bounded(destination.begin(RANGE, Definition("range", details), start), "begin")
    return RangePlace.read(RANGE, held, "plan")


_DEFINITION = Definition("stream", {"watch": STREAM.name, "full_document": "updateLookup"})


class _Changing:
    """A collection that changes with the requests of the source, by whole documents only."""

    def __init__(self, seed: int, changes: int) -> None:
        self.collection = VersionedCollection({key: {"value": key, "padding": "x" * 50} for key in range(30)})
        self._chance = random.Random(seed)  # noqa: S311 (no secret)
        self._changes = changes

    async def __call__(self, what: str) -> None:
        """Change something, then let others run."""
        await asyncio.sleep(0)
        if what.startswith("read") and len(self.collection.changes) < self._changes:
            key = self._chance.randrange(35)
            if self._chance.random() < 0.5 and key in self.collection.state():
                self.collection.remove(key)
            else:
                self.collection.put(key, {"value": len(self.collection.changes)})


async def _run(destination: Destination, changing: _Changing, *, at_a_time: bool) -> None:
    """Run the engine over the collection, with an initial snapshot, until it has caught up."""
    source = VersionedSource(
        collection=changing.collection,
        reads_at_a_time=at_a_time,
        borders=(10, 20),
        pause=changing,
        reply_events=3,
        await_time=0.02,
    )
    pipeline = Pipeline(
        name=STREAM.pipeline,
        source=source,
        destination=destination,
        state=MemoryStateStore(),
        settings=Settings(
            batch_bytes=ByteSize(2000),
            max_buffered_bytes=ByteSize(8000),
            batch_timeout=0.02,
            snapshot=SnapshotSettings(mode="initial"),
        ),
    )
    report = await bounded(pipeline.run(once=True), "a run of the engine")
    promised(report.ok, f"the engine takes a snapshot, but it ended with {report!r}")


@asynchronous
class SnapshotContract(Obligations):
    """The fixture `place` is that of `DestinationContract`; rows are in the table of their stream."""

    async def test_a_record_is_created_once(self, place: Place) -> None:
        home = STREAM.beside("snapshots")
        async with place.make() as one, place.make() as other:
            assert isinstance(one, RecordKeeper)
            assert isinstance(other, RecordKeeper)
            promised(await one.settle(home, _REQUEST) is None, "what does not exist is not made by looking")
            found = await asyncio.gather(one.settle(home, _REQUEST, b"one\n"), other.settle(home, _REQUEST, b"other\n"))
            promised(found[0] == found[1] and found[0] in (b"one\n", b"other\n"), "exactly one of two callers wins")
            promised(await one.settle(home, _REQUEST) == found[0], "the record stays as it is")
            promised(await one.settle(home, "snapshots/1/plan") is None, "each record has a name")
            promised(
                await one.settle(Stream("another", STREAM.name).beside("snapshots"), _REQUEST) is None,
                "each stream has records of its own",
            )
        async with place.make() as later:
            assert isinstance(later, RecordKeeper)
            promised(await later.settle(home, _REQUEST, b"later\n") == found[0], "the record stays as it is")

    async def test_the_first_reading_of_a_chunk_fixes_it(self, place: Place) -> None:
        collection = VersionedCollection({key: {"value": key} for key in range(6)})
        at = collection.now
        async with place.make() as one, place.make() as other:
            begun = await begin_range(one)
            await begin_range(other)
            first, after = chunk_of(collection, begun, at, end=3)
            collection.put(0, {"value": "new"})
            another, _ = chunk_of(collection, begun, collection.now, end=5)
            promised(await bounded(one.write_batch(first), "write_batch") is None, "a new chunk is written")
            promised(await bounded(other.write_batch(first), "write_batch") is None, "the same chunk counts as written")
            end = await bounded(other.write_batch(another), "write_batch")
            promised(end == first.end, "another reading of the chunk takes the end of the first one")
            rest, _ = chunk_of(collection, after, collection.now)
            promised(await bounded(other.write_batch(rest), "write_batch") is None, "the next chunk is written")
            assert isinstance(one, TransactionalKeeper)
            promised(await one.last_committed(RANGE) == rest.end, "the position of the range is kept")
            promised(await one.last_committed(STREAM) == START, "and that of the stream is another one")
        keys = sorted(json_util.loads(token)["document"] for token in await place.written(STREAM))
        promised(keys == list(range(6)), "each row is in the table of the stream once")

    async def test_rows_and_changes_of_a_run_are_there_once(self, place: Place) -> None:
        changing = _Changing(1, 20)
        await asyncio.gather(*(_run(place.make(), changing, at_a_time=True) for _ in range(2)))
        tokens = [json_util.loads(token) for token in await place.written(STREAM)]
        rows = [token["document"] for token in tokens if "snapshot" in token]
        promised(len(set(rows)) == len(rows), "no document is a row twice")
        changes = [token["_data"] for token in tokens if "_data" in token]
        promised(len(set(changes)) == len(changes), "no change is written twice")
        last = changing.collection.raw(len(changing.collection.changes) - 1)
        promised(rows and any(each.encode() in last for each in changes), "rows and changes are all there")


@asynchronous
class CurrentSnapshotContract(Obligations):
    """The fixture `current` is a `CurrentPlace`."""

    async def test_the_table_equals_the_collection_after_a_run(self, current: CurrentPlace) -> None:
        changing = _Changing(2, 40)
        await _run(current.make(), changing, at_a_time=True)
        await self._equals(current, changing.collection)

    async def test_the_table_equals_the_collection_after_a_run_with_windows(self, current: CurrentPlace) -> None:
        changing = _Changing(3, 40)
        await _run(current.make(), changing, at_a_time=False)
        await self._equals(current, changing.collection)

    async def test_two_owners_at_once(self, current: CurrentPlace) -> None:
        changing = _Changing(4, 30)
        await asyncio.gather(*(_run(current.make(), changing, at_a_time=True) for _ in range(2)))
        await self._equals(current, changing.collection)

    async def test_a_late_chunk_changes_nothing_that_is_newer(self, current: CurrentPlace) -> None:
        collection = VersionedCollection({key: {"value": key} for key in range(8)})
        at = collection.now
        async with current.make() as destination:
            begun = await begin_range(destination)
            late, _ = chunk_of(collection, begun, at)
            collection.put(1, {"value": "replaced"})
            collection.remove(2)
            collection.remove(3)
            collection.put(3, {"value": "back"})
            collection.put(9, {"value": "new"})
            collection.put(4, {"value": "short"})
            collection.remove(4)
            await self._write(destination, collection)
            await bounded(destination.write_batch(late), "write_batch")
        await self._equals(current, collection)

    async def test_a_late_chunk_of_another_owner_changes_nothing_that_is_newer(self, current: CurrentPlace) -> None:
        collection = VersionedCollection({key: {"value": key} for key in range(4)})
        async with current.make() as before, current.make() as destination:
            begun = await begin_range(before)
            late, _ = chunk_of(collection, begun, collection.now)
            collection.remove(1)
            collection.put(2, {"value": "replaced"})
            await begin_range(destination)
            await self._write(destination, collection)
            with suppress(LeaseLostError):
                await bounded(before.write_batch(late), "write_batch")
            again, _ = chunk_of(collection, begun, collection.now)
            await bounded(destination.write_batch(again), "write_batch")
        await self._equals(current, collection)

    async def test_a_row_replaces_what_is_older(self, current: CurrentPlace) -> None:
        collection = VersionedCollection({1: {"value": 1}})
        collection.put(2, {"value": 2})
        collection.remove(1)
        async with current.make() as destination:
            begun = await begin_range(destination)
            await self._write(destination, collection)
            collection.put(1, {"value": "later than the stream"})  # as when events were filtered, or lost
            collection.put(2, {"value": "later than the stream"})
            chunk, _ = chunk_of(collection, begun, collection.now)
            await bounded(destination.write_batch(chunk), "write_batch")
        await self._equals(current, collection)

    async def _write(self, destination: Destination, collection: VersionedCollection) -> None:
        """Write all changes of the collection as the worker does."""
        batches = [
            item
            async for item in _until_caught_up(VersionedSource(collection=collection, await_time=0.01, reply_events=99))
        ]
        for batch in batches:
            promised(await bounded(destination.write_batch(batch), "write_batch") is None, "changes are written")

    async def _equals(self, current: CurrentPlace, collection: VersionedCollection) -> None:
        expected = {key: {"_id": key, **document} for key, document in collection.state().items()}
        promised(dict(await current.documents()) == expected, "the table equals the collection")


async def _until_caught_up(source: VersionedSource) -> Any:
    """Yield all changes of the collection as batches."""
    start = START.moved(ResumeToken("mark:0"), START.cluster_time, 0)
    async for item in source.read(STREAM, after=start):
        if isinstance(item, EventBatch):
            yield item
        elif item.caught_up:
            return
