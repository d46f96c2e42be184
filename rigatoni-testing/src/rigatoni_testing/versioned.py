"""A collection that can be read at any time of its history, and a source that reads it: for tests of snapshots.

The source reads chunks by either rule: at the cluster time that it is given (`reads_at_a_time`), or as a window that it
proves with its own reading of the changes.
"""

import asyncio
import json
from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal

import attrs
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import Source
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import ConfigurationError, PositionLostError
from rigatoni_core.api.events import Definition, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.segments import Segment
from rigatoni_core.api.snapshots import (
    Bound,
    Chunk,
    SnapshotPlan,
    SnapshotRange,
    SnapshotRequest,
    Snapshotter,
    SnapshotTimeError,
)

from rigatoni_testing.batches import event_format, token_of

BEGINNING = 1_700_000_000


@attrs.define
class Change:
    """One change: its time, its key, its operation, what the event holds, and the document afterwards."""

    time: Timestamp
    key: int
    operation: str
    payload: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class VersionedCollection:
    """Documents with whole numbers as keys, their changes, and their state at every time.

    Args:
        documents: What exists before the first change.
        name: The collection's full name.
    """

    def __init__(self, documents: Mapping[int, Mapping[str, Any]] = {}, name: str = "shop.orders") -> None:
        self.name = name
        self.changes: list[Change] = []
        self.now = Timestamp(BEGINNING, 1)
        self.closed = Timestamp(0, 0)
        """No later change has this time or an earlier one."""
        self.incarnation = 1
        self._first = dict(documents)
        self.grown = asyncio.Event()

    def tick(self, seconds: int = 1) -> None:
        """Let time pass without a change."""
        self.now = Timestamp(self.now.seconds + seconds, 1)
        self.grown.set()

    def put(self, key: int, document: Mapping[str, Any], *, same_time: bool = False) -> None:
        """Insert or replace a document."""
        operation = "replace" if key in self.state() else "insert"
        self._add(key, operation, document, document, same_time)

    def update(self, key: int, changes: Mapping[str, Any], *, same_time: bool = False) -> None:
        """Change fields of a document. The event holds only the changed fields."""
        self._add(key, "update", changes, {**self.state()[key], **changes}, same_time)

    def remove(self, key: int, *, same_time: bool = False) -> None:
        """Delete a document."""
        self._add(key, "delete", None, None, same_time)

    def _add(
        self,
        key: int,
        operation: str,
        payload: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        same_time: bool,
    ) -> None:
        if not same_time or self.now <= self.closed or not self.changes:
            self.now = self.now.next()
        self.changes.append(Change(self.now, key, operation, payload, after))
        self.grown.set()

    def state(self, at: Timestamp | None = None) -> dict[int, Mapping[str, Any]]:
        """Return the documents after all changes up to this time; now, unless given."""
        documents = dict(self._first)
        for change in self.changes:
            if at is not None and change.time > at:
                break
            if change.after is None:
                documents.pop(change.key, None)
            else:
                documents[change.key] = change.after
        return documents

    def close(self, at: Timestamp) -> None:
        """Let no later change have this time."""
        self.closed = max(self.closed, at)
        if self.now <= at:
            self.now = at.next()

    def raw(self, index: int) -> bytes:
        """Return the change event of a change."""
        change = self.changes[index]
        database, _, collection = self.name.partition(".")
        document: dict[str, Any] = {
            "_id": {"_data": f"82{index:012X}"},
            "operationType": change.operation,
            "clusterTime": BsonTimestamp(change.time.seconds, change.time.increment),
            "ns": {"db": database, "coll": collection},
            "documentKey": {"_id": change.key},
        }
        if change.operation == "update":
            document["updateDescription"] = {"updatedFields": dict(change.payload or {}), "removedFields": []}
        elif change.payload is not None:
            document["fullDocument"] = {"_id": change.key, **change.payload}
        return event_format().encode(document)

    def row(self, name: str, key: int, document: Mapping[str, Any], at: Timestamp, operation: str) -> bytes:
        """Return a row."""
        database, _, collection = self.name.partition(".")
        return event_format().encode(
            {
                "_id": {"snapshot": name, "document": key},
                "operationType": operation,
                "clusterTime": BsonTimestamp(at.seconds, at.increment),
                "ns": {"db": database, "coll": collection},
                "documentKey": {"_id": key},
                "fullDocument": {"_id": key, **document},
            }
        )


@attrs.define(kw_only=True)
class VersionedSource(Source, Snapshotter):
    """Reads one collection: its changes, and its documents.

    Attributes:
        collection: The collection.
        reads_at_a_time: Whether chunks are read at a time, or in a window.
        borders: The keys at which ranges begin.
        pause: Called before each request; tests wait or raise in it.
        history: Seconds of history that chunks can be read at.
        lost_before: Positions before this change cannot be resumed from.
    """

    collection: VersionedCollection
    reads_at_a_time: bool = True
    borders: Sequence[int] = ()
    pause: Callable[[str], Any] | None = None
    await_time: float = 1.0
    reply_events: int = 10
    history: int = 10**9
    lost_before: int = 0
    fingerprint: str = "fingerprint"
    planned: int = attrs.field(default=0, init=False)
    chunks: int = attrs.field(default=0, init=False)
    decoder: Decoder = attrs.field(factory=event_format)  # type: ignore[misc]

    async def _pause(self, what: str) -> None:
        if self.pause is not None:
            await self.pause(what)

    # --- the stream

    async def streams(self) -> Sequence[str]:
        """See `Source`."""
        return [self.collection.name]

    def definition(self, stream: Stream) -> Definition:
        """See `Source`."""
        return Definition(self.fingerprint, {"watch": stream.name})

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        await self._pause("open")
        changes = self.collection.changes
        index = len(changes) if after is None else self._index(after)
        if index < self.lost_before:
            raise PositionLostError("the history is gone")
        position = after or self._mark(index)
        yield Heartbeat(position, self.collection.now, caught_up=False)
        while True:
            await self._pause("getMore")
            stop = min(index + self.reply_events, len(changes))
            if stop == index:
                position = self._mark(index)
                yield Heartbeat(position, self.collection.now, caught_up=True)
                self.collection.grown.clear()
                try:
                    async with asyncio.timeout(self.await_time):
                        await self.collection.grown.wait()
                except TimeoutError:
                    self.collection.tick()
                continue
            raws = [self.collection.raw(each) for each in range(index, stop)]
            offsets = array("Q", accumulate(map(len, raws), initial=0))
            batch = EventBatch.from_reply(
                position,
                stream,
                memoryview(b"".join(raws)),
                offsets,
                self.decoder,
                source_time=self.collection.now,
            )
            index, position = stop, batch.end
            yield batch

    def _index(self, position: Position) -> int:
        if position.resume_token.startswith("mark:"):
            return int(position.resume_token[5:])
        return int(json.loads(position.resume_token)["_data"].removeprefix("82"), base=16) + 1

    def _mark(self, index: int) -> Position:
        """A position between events. No later change has an earlier time than it says."""
        changes = self.collection.changes
        time = self.collection.now if index == len(changes) else changes[index].time
        self.collection.close(time) if index == len(changes) else None
        return Position(ResumeToken(f"mark:{index}"), self.fingerprint, time, self._before(index, time))

    def _before(self, index: int, time: Timestamp) -> int:
        """How many changes of this time lie before the change."""
        return sum(change.time == time for change in self.collection.changes[max(0, index - 50) : index])

    # --- snapshots

    def check_snapshot(self, stream: Stream, request: SnapshotRequest) -> None:
        """See `Snapshotter`."""
        for name in request.collections:
            if name != self.collection.name:
                raise ConfigurationError(f"{name} is not watched")

    async def plan_snapshot(self, stream: Stream, request: SnapshotRequest, *, ranges: int) -> SnapshotPlan:
        """See `Snapshotter`."""
        await self._pause("plan")
        self.planned += 1
        bounds = [None, *(Bound(str(border)) for border in self.borders), None]
        namespace = Namespace(*self.collection.name.split(".", 1))
        found = tuple(
            SnapshotRange(namespace=namespace, collection="uuid", low=low, high=high, nbytes=1000)
            for low, high in pairwise(bounds)
        )
        return SnapshotPlan(ranges=found, at=self.collection.now if self.reads_at_a_time else None)

    async def read_chunk(
        self,
        stream: Stream,
        request: SnapshotRequest,
        plan: SnapshotPlan,
        index: int,
        *,
        name: str,
        low: Bound | None,
        at: Position,
        limit: int,
        high: Bound | None = None,
    ) -> Chunk:
        """See `Snapshotter`."""
        await self._pause("read")
        high = high or plan.ranges[index].high
        read = self._at_a_time if self.reads_at_a_time else self._in_a_window
        self.chunks += 1
        return await read(request, name, low, high, at, limit)

    async def _at_a_time(
        self, request: SnapshotRequest, name: str, low: Bound | None, high: Bound | None, at: Position, limit: int
    ) -> Chunk:
        time = at.cluster_time
        assert time is not None
        assert time <= self.collection.now, "the server refuses a time after its own"
        if self.collection.now.seconds - time.seconds > self.history:
            raise SnapshotTimeError("the history of that time is gone")
        self.collection.close(time)
        documents = _between(self.collection.state(time), low, high)
        keys, end = self._fitting(documents, limit)
        await self._pause("read more")
        rows = self._rows(name, {key: documents[key] for key in keys}, time, request.operation)
        return Chunk(rows=rows, at=time, end=end, after=time)

    async def _in_a_window(
        self, request: SnapshotRequest, name: str, low: Bound | None, high: Bound | None, at: Position, limit: int
    ) -> Chunk:
        start = self._index(at)
        end = self._fitting(_between(self.collection.state(), low, high), limit)[1]
        wanted = set(_between(dict.fromkeys(range(100)), low, end or high))
        found: dict[int, Mapping[str, Any]] = {}
        after = at.cluster_time
        for _ in range(50):
            for key in sorted(wanted):
                await self._pause("read more")
                found.pop(key, None)
                if key in (state := self.collection.state()):
                    found[key] = state[key]
            mark = self.collection.now
            self.collection.close(mark)
            met = [change for change in self.collection.changes[start:] if change.time <= mark]
            start += len(met)
            after = met[-1].time if met else after
            wanted = {change.key for change in met} & set(_between(dict.fromkeys(range(100)), low, end or high))
            if not wanted:
                assert after is not None
                rows = self._rows(name, dict(sorted(found.items())), mark, request.operation)
                return Chunk(rows=rows, at=mark, end=end, after=after)
        raise SnapshotTimeError("keys change too often")

    def _fitting(self, documents: Mapping[int, Mapping[str, Any]], limit: int) -> tuple[list[int], Bound | None]:
        """The first keys whose documents fit, at least one, and where the next chunk begins."""
        keys, size = list[int](), 0
        for key in sorted(documents):
            if keys and size >= limit:
                return keys, Bound(str(key))
            keys.append(key)
            size += len(self.collection.row("", key, documents[key], self.collection.now, "read"))
        return keys, None

    def _rows(
        self, name: str, documents: Mapping[int, Mapping[str, Any]], at: Timestamp, operation: Literal["read", "insert"]
    ) -> tuple[Segment, ...]:
        rows = [self.collection.row(name, key, document, at, operation) for key, document in documents.items()]
        return (Segment.of(rows),) if rows else ()


def _between(documents: Mapping[int, Any], low: Bound | None, high: Bound | None) -> dict[int, Any]:
    """The documents of a range."""
    return {
        key: document
        for key, document in documents.items()
        if (low is None or key >= int(low)) and (high is None or key < int(high))
    }


def row_token(name: str, key: int) -> ResumeToken:
    """Return the token of a row."""
    return token_of({"snapshot": name, "document": key})
