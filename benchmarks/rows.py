"""Documents from memory for snapshots: read in chunks by Rigatoni, or decoded and written by a hand-written script.

    python -m benchmarks.rows DOCUMENTS FOLDER        (the script: json_util and gzip; prints its figures as JSON)

The script gets its documents decoded from prepared replies, as `find()` does, without a server or a driver. So the
comparison favors the script.
"""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import bson
from bson import json_util
from rigatoni_bson.elements import documents_of
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import Source
from rigatoni_core.api.events import Definition, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.segments import Segment
from rigatoni_core.api.snapshots import Bound, Chunk, SnapshotPlan, SnapshotRange, SnapshotRequest, Snapshotter
from rigatoni_mongodb.change_stream import DECODER
from rigatoni_mongodb.snapshots.rows import RowShape, rows_of
from rigatoni_mongodb.testing.feeder import PAGES, START, document

from benchmarks.figures import Meter

REPLY = 1000
RANGES = 4
TIME = Timestamp(START, 1)
NAMES = Namespace("bench", "events")


def replies() -> list[bytes]:
    """Return the arrays of a few replies, of documents of 630 bytes, whose event has about 876 bytes."""
    return [
        bson.encode({str(number): document(page * REPLY + number, 580) for number in range(REPLY)})
        for page in range(PAGES)
    ]


def rows_in(reply: bytes, shape: RowShape) -> Segment:
    """Return the rows of a reply, as the source makes them."""
    return rows_of(documents_of(memoryview(reply)), shape)


class RowSource(Source, Snapshotter):
    """A stream without changes, and a collection that repeats the same documents.

    A bound is the number of documents before it.
    """

    decoder: ClassVar[Any] = DECODER

    def __init__(self, documents: int) -> None:
        self._per_range = documents // RANGES
        self._replies = replies()
        self._workers = DaemonExecutor("rows")

    async def streams(self) -> Sequence[str]:
        return ["bench.events"]

    def definition(self, stream: Stream) -> Definition:
        return Definition("bench", {})

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        while True:
            position = Position(ResumeToken('{"_data":"begin"}'), "bench", TIME)
            yield Heartbeat(position, source_time=TIME, caught_up=after is not None)
            after = position
            await asyncio.sleep(0.01)

    def check_snapshot(self, stream: Stream, request: SnapshotRequest) -> None:
        """Accept every request."""

    async def plan_snapshot(self, stream: Stream, request: SnapshotRequest, *, ranges: int) -> SnapshotPlan:
        bounds = [Bound(str(number * self._per_range)) for number in range(RANGES + 1)]
        parts = (SnapshotRange(namespace=NAMES, low=low, high=high) for low, high in pairwise(bounds))
        return SnapshotPlan(ranges=tuple(parts), at=TIME)

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
        start, stop = int(low or 0), int(high or plan.ranges[index].high or 0)
        shape = RowShape(name, NAMES, TIME)
        rows: list[Segment] = []
        while start < stop and sum(segment.nbytes for segment in rows) < limit:
            reply = self._replies[start // REPLY % PAGES]
            rows.append(await self._workers.run(partial(rows_in, reply, shape)))
            start += REPLY
        return Chunk(rows=rows, at=TIME, after=TIME, end=Bound(str(start)) if start < stop else None)


def by_hand(count: int, folder: Path) -> None:
    pages = [documents_of(memoryview(reply)).documents for reply in replies()]
    meter = Meter()
    for number in range(count // REPLY):
        found: list[dict[str, Any]] = bson.decode_all(pages[number % PAGES])
        with gzip.open(folder / f"{number:06}.ndjson.gz", "wt") as file:
            file.writelines(json_util.dumps(each) + "\n" for each in found)
    meter.report()


if __name__ == "__main__":
    by_hand(int(sys.argv[1]), Path(sys.argv[2]))
