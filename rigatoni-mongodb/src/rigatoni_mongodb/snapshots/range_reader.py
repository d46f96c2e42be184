"""Reads one chunk of a range with a `RangeQuery`, and decides where it ends."""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import attrs
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.cursor import Reply, ReplyCursor
from rigatoni_mongodb.snapshots.bounds import id_of, is_max_key
from rigatoni_mongodb.snapshots.query import SCAN, RangeQuery

Open = Callable[[dict[str, Any]], Awaitable[ReplyCursor]]
"""Opens a cursor in the database of the range."""

Check = Callable[[Reply], None]
"""Checks the cluster time of a reply."""

DOCUMENT = 1024
"""The assumed size of a document in bytes until some were read."""


@attrs.frozen
class Reading:
    """What was read.

    Attributes:
        documents: As the server sent them.
        rows: Their rows.
        end: The `_id` of the first document left out; None if the range has ended.
        scanned: How many documents were looked at, if more than there are rows.
    """

    documents: Sequence[Segment]
    rows: Sequence[Segment]
    end: bytes | None
    scanned: int = 0


@attrs.define(kw_only=True)
class RangeReader:
    """Reads chunks of one collection.

    Attributes:
        open: Opens a cursor.
        check: Raises if the cluster time of a reply is not the one that was asked for.
        workers: Makes rows of replies, off the event loop.
        repeats_ids: Whether two documents may have equal ids: on two shards, unless `_id` is the shard key.
        size: The average size of a row in bytes, so that the server sends no more than fit into a chunk.
    """

    open: Open
    check: Check
    workers: DaemonExecutor
    repeats_ids: bool = False
    size: float = DOCUMENT

    async def read(self, query: RangeQuery, low: bytes | None, high: bytes | None, limit: int | None) -> Reading:
        """Read from `low` until the rows have `limit` bytes, or up to `high` if there is no limit.

        Raises PyMongo's errors, ValueError for damaged documents, and what `check` raises.
        """
        stop = high
        if query.leaves_out and limit is not None:
            stop = next(iter(await self.ids(query.ids(low, high, skip=SCAN, limit=1))), high)
        reading = await self._collect(query, query.between(low, stop), limit)
        if reading.end is not None:
            return reading
        if stop != high:
            return attrs.evolve(reading, end=stop, scanned=SCAN)
        return await self._with_max_key(query, reading) if high is None else reading

    async def reread(self, query: RangeQuery, low: bytes | None, high: bytes | None, ids: Sequence[bytes]) -> Reading:
        """Read the documents with these ids between two bounds, which the server compares."""
        reading = await self._collect(query, query.between(low, high, ids), None)
        wants_max_key = high is None and any(map(is_max_key, ids))
        return await self._with_max_key(query, reading) if wants_max_key else reading

    async def ids(self, command: dict[str, Any]) -> list[bytes]:
        """Return the ids of the documents that this command reads."""
        async with aclosing(self._replies(command)) as replies:
            return [id_of(raw) async for reply in replies for raw in reply.documents.copies()]

    async def _collect(self, query: RangeQuery, command: dict[str, Any], limit: int | None) -> Reading:
        documents: list[Segment] = []
        rows: list[Segment] = []
        async with aclosing(self._replies(command, limit)) as replies:
            async for reply in replies:
                documents.append(reply.documents)
                rows.append(await self.workers.run(partial(query.rows, reply.documents)))
                count, nbytes = sum(map(len, rows)), sum(segment.nbytes for segment in rows)
                self.size = max(1, nbytes / max(1, count))
                if limit is not None and nbytes > limit and count > 1:
                    size = await self._undivided(query, documents, _fitting(rows, limit))
                    if size:
                        end = query.id_of(_document(documents, size))
                        return Reading(list(_cut(documents, size)), list(_cut(rows, size)), end)
        return Reading(documents, rows, None)

    async def _undivided(self, query: RangeQuery, documents: Sequence[Segment], size: int) -> int:
        """Shorten a chunk of `size` documents so that none has the same `_id` as the document after it.

        The server compares: 1 and 1.0 are equal, and so are other texts under a collation. Returns 0 if all are equal.
        """
        if self.repeats_ids:
            equal = set(await self.ids(query.equal(query.id_of(_document(documents, size)))))
            while size and query.id_of(_document(documents, size - 1)) in equal:
                size -= 1
        return size

    async def _with_max_key(self, query: RangeQuery, reading: Reading) -> Reading:
        """Add the document whose `_id` is MaxKey, unless the server has sent it already."""
        command, count = query.max_key(), sum(map(len, reading.documents))
        if command is None or (count and is_max_key(query.id_of(_document(reading.documents, count - 1)))):
            return reading
        more = await self._collect(query, command, None)
        return Reading([*reading.documents, *more.documents], [*reading.rows, *more.rows], None, reading.scanned)

    async def _replies(self, command: dict[str, Any], limit: int | None = None) -> AsyncGenerator[Reply]:
        """Yield the replies to a command; with a limit, replies of about as many documents as are still wanted."""
        cursor = await self.open(command)
        reply, nbytes = cursor.opening, 0
        try:
            if not reply.alive:
                self.check(reply)
            while reply.alive:
                reply = await cursor.next_reply(0 if limit is None else max(1, int((limit - nbytes) / self.size)) + 1)
                self.check(reply)
                nbytes += reply.documents.nbytes
                yield reply
        finally:
            await cursor.close()


def _fitting(rows: Sequence[Segment], limit: int) -> int:
    """Return how many rows fit into `limit` bytes; at least one."""
    size = 0
    for segment in rows:
        within = bisect_right(segment.offsets, segment.offsets[0] + limit) - 1
        size += within
        if within < len(segment):
            break
        limit -= segment.nbytes
    return max(1, size)


def _cut(segments: Sequence[Segment], size: int) -> Iterator[Segment]:
    """Yield the first `size` documents."""
    for segment in segments:
        if size <= 0:
            break
        yield segment.cut(0, min(size, len(segment)))
        size -= len(segment)


def _document(segments: Sequence[Segment], index: int) -> bytes:
    """Return a document by its place."""
    for segment in segments:
        if index < len(segment):
            return bytes(segment.raw(index))
        index -= len(segment)
    raise IndexError("the segments have fewer documents")
