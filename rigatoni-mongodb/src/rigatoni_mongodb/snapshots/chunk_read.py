"""One read of a chunk: at a cluster time, or by the window rule."""

from collections.abc import Callable, Sequence
from functools import partial

import attrs
from rigatoni_core.api.events import Namespace, Timestamp
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.segments import Segment
from rigatoni_core.api.snapshots import Chunk

from rigatoni_mongodb.cursor import Reply, ReplyCursor
from rigatoni_mongodb.resume import at_time
from rigatoni_mongodb.snapshots import bounds
from rigatoni_mongodb.snapshots.planning import CollectionDetails
from rigatoni_mongodb.snapshots.query import RangeQuery
from rigatoni_mongodb.snapshots.range_reader import DOCUMENT, RangeReader
from rigatoni_mongodb.snapshots.server import Server
from rigatoni_mongodb.snapshots.touched import watching
from rigatoni_mongodb.snapshots.window import WindowReader

_AWAIT = 5
"""Milliseconds that a change stream of a window waits for events: a window should be short."""


class NoReadTimeError(Exception):
    """A reply has no cluster time: the server cannot read at a time, or the collection did not exist then."""


class OtherReadTimeError(Exception):
    """The server read at another time than requested."""


@attrs.frozen(kw_only=True)
class ChunkRead:
    """Reads one chunk.

    Attributes:
        server: The server.
        query: How to read documents, at a time.
        details: What the plan keeps of the collection.
        low: The first `_id`; None for no lower bound.
        high: The `_id` before which to end; None for no upper bound.
        limit: The size of the rows in bytes; None to read up to `high`.
        workers: Makes rows of replies, off the event loop.
        sizes: The average size of a row of each collection in bytes, as far as it is known.
    """

    server: Server
    query: RangeQuery
    details: CollectionDetails
    low: bytes | None
    high: bytes | None
    limit: int | None
    workers: DaemonExecutor
    sizes: dict[Namespace, float]

    async def at_time(self) -> Chunk:
        """Read at the query's cluster time.

        Raises:
            NoReadTimeError: A reply has no cluster time.
            OtherReadTimeError: A reply has another one.
            PyMongoError: The server cannot read.
            ValueError: A document is damaged.
        """
        at = self.query.shape.at
        reading = await self._reader(partial(_check, at)).read(self.query, self.low, self.high, self.limit)
        return self._chunk(reading.rows, reading.end, at=at, after=at, scanned=reading.scanned)

    async def by_window(self) -> Chunk:
        """Read by the window rule.

        Raises:
            SnapshotTimeError: The documents change too fast, or the collection was dropped or renamed.
            PyMongoError: The server cannot read.
            ValueError: A document or an event is damaged.
        """
        position = self.query.shape.at
        query = attrs.evolve(self.query, concern={"level": "majority"})
        window = WindowReader(
            reader=self._reader(lambda reply: None, primary=True),
            query=query,
            now=self.server.now,
            watching=self._watching,
            drops_events=query.drops_events,
        )
        settled = await window.read(self.low, self.high, self.limit)
        rows = await self.workers.run(partial(query.rows_at, settled.documents, settled.at))
        after = max(position, settled.last_event or position)
        return self._chunk([rows], settled.end, at=settled.at, after=after, scanned=settled.scanned)

    def _reader(self, check: Callable[[Reply], None], *, primary: bool = False) -> RangeReader:
        return RangeReader(
            open=partial(self.server.open, self.query.shape.namespace.database, primary=primary),
            check=check,
            workers=self.workers,
            repeats_ids=self.details.repeats_ids,
            size=self.sizes.get(self.query.shape.namespace, DOCUMENT),
        )

    async def _watching(self, low: bytes | None, high: bytes | None, *, filtered: bool = False) -> ReplyCursor:
        namespace = self.query.shape.namespace
        command = watching(
            str(namespace.collection),
            at_time(self.query.shape.at),
            low,
            high,
            stages=self.server.stages if filtered else (),
            options=self.server.options if filtered else None,
            collation=self.details.collation,
        )
        return await self.server.open(namespace.database, command, primary=True, max_await_time_ms=_AWAIT)

    def _chunk(
        self, rows: Sequence[Segment], end: bytes | None, *, at: Timestamp, after: Timestamp, scanned: int
    ) -> Chunk:
        count = sum(map(len, rows))
        if count:
            self.sizes[self.query.shape.namespace] = sum(segment.nbytes for segment in rows) / count
        return Chunk(
            rows=[segment for segment in rows if len(segment)],
            at=at,
            end=None if end is None else bounds.to_text(end),
            after=after,
            filtered=self.query.leaves_out,
            scanned=scanned,
        )


def _check(at: Timestamp, reply: Reply) -> None:
    if reply.read_time is None:
        raise NoReadTimeError
    if reply.read_time != at:
        raise OtherReadTimeError
