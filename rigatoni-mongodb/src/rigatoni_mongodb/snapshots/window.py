"""Reads a chunk on servers that cannot read at a cluster time: until no document in it changed meanwhile.

    1. Read the chunk with majority read concern. Then take the server's time: the mark.
    2. Read a change stream of the chunk's documents, from the position of the user's stream up to the mark.
    3. Read the documents that it names again, and take a new mark. If it names none, each row is the state at the mark.

Documents that changed are read again, not dropped: later events may be deltas, which need a base. A chunk that does not
settle within `WINDOWS` windows is read again at an eighth of its size, so that a document that changes all the time
ends up in a chunk of its own, which is read within milliseconds.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import attrs
from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.snapshots import SnapshotTimeError

from rigatoni_mongodb.cursor import ReplyCursor
from rigatoni_mongodb.snapshots.query import RangeQuery
from rigatoni_mongodb.snapshots.range_reader import RangeReader, Reading
from rigatoni_mongodb.snapshots.touched import TouchedIds

WINDOWS = 10
"""Windows after which a chunk of several documents is made smaller."""

PATIENCE = 200
"""Windows after which a chunk that cannot become smaller is abandoned, to be read at another time."""

_PER_READ = 1000
"""Documents that one command reads again."""


class Watching(Protocol):
    """Opens a change stream of the documents between two bounds."""

    async def __call__(self, low: bytes | None, high: bytes | None, *, filtered: bool = False) -> ReplyCursor:
        """Open it at the position of the user's stream; with `filtered`, with the source's pipeline."""


@attrs.frozen
class SettledChunk:
    """A chunk whose rows are the state at one cluster time, and the last event of its documents up to then, if any."""

    documents: Sequence[bytes]
    end: bytes | None
    at: Timestamp
    last_event: Timestamp | None
    scanned: int


@attrs.frozen(kw_only=True)
class WindowReader:
    """Reads chunks of one collection by the window rule.

    Attributes:
        reader: Reads the documents.
        query: How to read them.
        now: Returns the server's operation time.
        watching: Opens change streams.
        drops_events: Whether the source's pipeline may hide events from the user's stream.
    """

    reader: RangeReader
    query: RangeQuery
    now: Callable[[], Awaitable[Timestamp]]
    watching: Watching
    drops_events: bool = False

    async def read(self, low: bytes | None, high: bytes | None, limit: int | None) -> SettledChunk:
        """Read from `low` until the rows have `limit` bytes, or up to `high` if there is no limit.

        Raises:
            SnapshotTimeError: The chunk did not settle, or the collection was dropped or renamed.
            PyMongoError: The server cannot be read.
            ValueError: A document is damaged.
        """
        while True:
            reading = await self.reader.read(self.query, low, high, limit)
            nbytes, count = sum(each.nbytes for each in reading.rows), sum(map(len, reading.rows))
            shrinks = limit is not None and count > 1
            if chunk := await self._settled(reading, low, high, WINDOWS if shrinks else PATIENCE):
                return chunk
            if limit is None or not shrinks:
                raise SnapshotTimeError("documents change faster than they can be read")
            limit = max(1, min(limit, nbytes) // 8)

    async def _settled(
        self, reading: Reading, low: bytes | None, high: bytes | None, windows: int
    ) -> SettledChunk | None:
        """Read changed documents again until a window has no changes; None if that takes too many windows."""
        end = reading.end or high
        rows = _by_id(self.query, reading)
        order = dict.fromkeys(rows)
        mark = await self.now()
        async with self._watched(low, end) as touched:
            for _ in range(windows):
                ids = await touched.until(mark)
                if not ids:
                    break
                for id_ in ids:
                    rows.pop(id_, None)
                for start in range(0, len(ids), _PER_READ):
                    group = ids[start : start + _PER_READ]
                    rows |= _by_id(self.query, await self.reader.reread(self.query, low, end, group))
                if any(id_ in rows and id_ not in order for id_ in ids):
                    order = dict.fromkeys(await self.reader.ids(self.query.ids(low, end)))
                mark = await self.now()
            else:
                return None
        last = touched.last
        if last is not None and self.drops_events:
            async with self._watched(low, end, filtered=True) as passed:
                await passed.until(mark)
                last = passed.last
        # A row that the newest order lacked would have an event since then: it was read again, and looked up there.
        documents = [raw for id_ in order for raw in rows.get(id_, ())]
        return SettledChunk(documents, reading.end, mark, last, reading.scanned)

    @asynccontextmanager
    async def _watched(
        self, low: bytes | None, high: bytes | None, *, filtered: bool = False
    ) -> AsyncIterator[TouchedIds]:
        cursor = await self.watching(low, high, filtered=filtered)
        try:
            yield TouchedIds(cursor)
        finally:
            await cursor.close()


def _by_id(query: RangeQuery, reading: Reading) -> dict[bytes, list[bytes]]:
    """Return the documents by their `_id`: with equal ids on two shards, one has two documents."""
    found: dict[bytes, list[bytes]] = {}
    for segment in reading.documents:
        for raw in segment.copies():
            found.setdefault(query.id_of(raw), []).append(raw)
    return found
