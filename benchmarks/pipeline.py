"""Runs a pipeline in its own process, and prints its figures as JSON.

    python -m benchmarks.pipeline --uri URI --events N [--streams 4] [--serializer json+zstd] [--s3 ENDPOINT]
        [--slow SECONDS] [--rows] [--pure] [--transforms]

Without a URI the source is memory: a few prepared replies, in which only the first and the last event get new numbers,
so feeding costs almost nothing. A batch consists of whole replies, so nothing reads the events between.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from unittest import mock

NESTED = "parquet, nested"

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--uri")
arguments.add_argument("--events", type=int, required=True, help="of each stream")
arguments.add_argument("--streams", type=int, default=1)
arguments.add_argument("--serializer", default="json+zstd", help=f"inner one first; or {NESTED!r}")
arguments.add_argument("--s3", help="where an S3 store listens; else files")
arguments.add_argument("--slow", type=float, default=0.0, help="seconds that the destination takes longer for a batch")
arguments.add_argument("--rows", action="store_true", help="a snapshot of as many documents from memory, no changes")
arguments.add_argument("--pure", action="store_true", help="without the accelerator, though it is installed")
arguments.add_argument("--transforms", action="store_true", help="select and mask, with five paths together")
options = arguments.parse_args()
if options.pure:
    sys.modules["rigatoni_native"] = None  # type: ignore[assignment]

from rigatoni_bson.elements import documents_of  # noqa: E402
from rigatoni_core.api.batch import EventBatch, Heartbeat  # noqa: E402
from rigatoni_core.api.contracts import Source  # noqa: E402
from rigatoni_core.api.events import Definition, Position, ResumeToken, Stream, Timestamp  # noqa: E402
from rigatoni_core.api.options import Secret  # noqa: E402
from rigatoni_core.api.settings import Settings, SnapshotSettings  # noqa: E402
from rigatoni_core.builtin.memory import MemoryStateStore  # noqa: E402
from rigatoni_core.engine.pipeline import Pipeline  # noqa: E402
from rigatoni_core.plugins.catalog import Catalog  # noqa: E402
from rigatoni_local.destination import LocalDestination  # noqa: E402
from rigatoni_mongodb.change_stream import DECODER  # noqa: E402
from rigatoni_mongodb.source import MongoDBSource  # noqa: E402
from rigatoni_mongodb.testing.feeder import PAGES, START, Page  # noqa: E402

from benchmarks.figures import Meter  # noqa: E402
from benchmarks.rows import RowSource  # noqa: E402

REPLY = 1000


class MemorySource(Source):
    """Each stream repeats the same events with increasing cluster times."""

    decoder: ClassVar[Any] = DECODER

    def __init__(self, streams: int, events: int) -> None:
        self._streams, self._events = streams, events
        names = {"db": "bench", "coll": "events"}
        self._pages = [Page.of(number * REPLY, REPLY, names, 580) for number in range(PAGES)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing, because nothing is open."""

    async def streams(self) -> Sequence[str]:
        return [f"bench.events{number or ''}" for number in range(self._streams)]

    def definition(self, stream: Stream) -> Definition:
        return Definition("bench", {})

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        position = Position(ResumeToken('{"_data":"begin"}'), "bench", Timestamp(START, 0))
        yield Heartbeat(position, source_time=Timestamp(START * 2, 0))
        for number in range(self._events // REPLY):
            page = self._pages[number % PAGES]
            page.number(number * REPLY, (0, REPLY - 1))
            documents = documents_of(memoryview(page.array))
            batch = EventBatch.from_reply(position, stream, documents.buffer, documents.offsets, DECODER)
            position = batch.end
            yield batch
        while True:
            yield Heartbeat(position, source_time=position.cluster_time, caught_up=True)
            await asyncio.sleep(0.01)


def serializer() -> Any:
    catalog, made = Catalog.discover(), None
    if options.serializer == NESTED:
        return catalog.get("serializer", "parquet")(documents="nested")
    for name in options.serializer.split("+"):
        made = catalog.get("serializer", name)(**({"inner": made} if made else {}))
    return made


class SlowDestination(LocalDestination):
    async def write_batch(self, events: EventBatch) -> Position | None:
        await asyncio.sleep(options.slow)
        return await super().write_batch(events)


def destination(folder: str) -> Any:
    if not options.s3:
        kind = SlowDestination if options.slow else LocalDestination
        return kind(path=Path(folder), serializer=serializer())
    from rigatoni_s3.destination import S3Destination

    return S3Destination(
        bucket="lake",
        endpoint_url=options.s3,
        region="us-east-1",
        access_key_id="a",
        secret_access_key=Secret("s"),
        serializer=serializer(),
    )


def source() -> Source:
    if options.rows:
        return RowSource(options.events)
    if not options.uri:
        return MemorySource(options.streams, options.events)
    watch = [f"bench.events{number or ''}" for number in range(options.streams)]
    return MongoDBSource(uri=Secret(options.uri), watch=watch, start_at="2023-01-01T00:00:00Z", max_await_time=0.1)


def transforms() -> list[Any]:
    """What benchmarks/by_hand_stream.py does to dicts."""
    if not options.transforms:
        return []
    catalog = Catalog.discover()
    fields = {"customer.mail": "hash", "created": "date_to_year", "items.sku": "redact"}
    return [
        catalog.get("transform", "select")(exclude=["customer.name", "note"]),
        catalog.get("transform", "mask")(fields=fields, key=Secret("a key for benchmarks"), key_id="1"),
    ]


async def main(folder: str) -> None:
    pipeline = Pipeline(
        name="bench",
        source=source(),
        destination=destination(folder),
        state=MemoryStateStore(),
        transforms=transforms(),
        settings=Settings(snapshot=SnapshotSettings(mode="only" if options.rows else "never")),
    )
    meter, events = Meter(), 0 if options.rows else options.events * options.streams
    looking = asyncio.create_task(look(pipeline, meter, events // 10))
    report = await pipeline.run(once=True)
    meter.report()
    looking.cancel()
    assert report.ok, report
    assert pipeline.statistics.total.events == events, pipeline.statistics.total


async def look(pipeline: Pipeline, meter: Meter, events: int) -> None:
    """Records the memory once this many events are delivered."""
    while pipeline.statistics.total.events < events:
        await asyncio.sleep(0.1)
    meter.look()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        if options.s3:  # a sink would not pass the probe
            with mock.patch.multiple("rigatoni_s3.destination", probe=lambda *_: None, is_atomic=lambda *_: True):
                asyncio.run(main(place))
        else:
            asyncio.run(main(place))
