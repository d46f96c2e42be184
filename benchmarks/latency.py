"""Measures the latency from the commit in MongoDB until an event is durable at the destination.

    python -m benchmarks.latency --rate 1000 --seconds 10 [--fed]

A writer inserts at a steady rate into a MongoDB-compatible server. Each document contains the time at which it was
sent. The pipeline runs with `batch_timeout = 0.05`. The return of `write_batch` is the end time of all events of the
batch.

No such server handles 50,000 inserts per second on this hardware. With `--fed`, the feeding server therefore provides
event number n from n / rate seconds on, and this is its commit time.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from abc import abstractmethod
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.feeder import feeder
from rigatoni_mongodb.testing.server import mongodb_server

READY = 2.0
"""Seconds until the pipeline waits for events."""


class Measured(LocalDestination):
    """Records the time at which each batch was durable."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.durable: list[tuple[float, Iterable[float]]] = []

    async def write_batch(self, events: EventBatch) -> Any:
        answer = await super().write_batch(events)
        if answer is None:
            self.durable.append((time.monotonic(), self.sent(events)))
        return answer

    @abstractmethod
    def sent(self, events: EventBatch) -> Iterable[float]:
        """Return the time at which each event was sent, by `time.monotonic()`. It is computed lazily."""


class Written(Measured):
    """Reads the time from the document."""

    def sent(self, events: EventBatch) -> Iterable[float]:
        return [event.full_document["sent"] for event in events if event.full_document]


class Fed(Measured):
    """Computes the time from the event number in the token."""

    began = rate = 0.0

    def sent(self, events: EventBatch) -> Iterable[float]:
        first = int(json.loads(events.token_and_time(0)[0])["_data"][-32:], 16)
        return (self.began + number / self.rate for number in range(first, first + len(events)))


def write(uri: str, rate: float, seconds: float) -> None:
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri) as client:
        chunk = max(1, round(rate / 200))
        began, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            if count > passed * rate:
                time.sleep(0.001)
                continue
            events: Any = [{"sent": time.monotonic(), "text": "x" * 200} for _ in range(chunk)]
            client.bench.events.insert_many(events)
            count += chunk


@contextmanager
def written(place: Path, rate: float, seconds: float) -> Any:
    destination = Written(path=place / "lake", serializer=JsonSerializer())

    def wait_and_write() -> None:
        time.sleep(READY)
        write(uri, rate, seconds)

    with mongodb_server(place / "mongodb") as uri:
        writer = threading.Thread(target=wait_and_write)
        writer.start()
        yield destination, MongoDBSource(uri=Secret(uri), watch=["bench.events"])
        writer.join()


@contextmanager
def fed(place: Path, rate: float, seconds: float) -> Any:
    destination = Fed(path=place / "lake", serializer=JsonSerializer())
    destination.rate, destination.began = rate, time.monotonic() + READY
    with feeder(round(rate * seconds), rate=rate, began=destination.began) as uri:
        yield destination, MongoDBSource(uri=Secret(uri), watch=["bench.events"], start_at="2023-01-01T00:00:00Z")


async def main(rate: float, seconds: float, *, by_feeder: bool) -> None:
    way = fed if by_feeder else written
    with tempfile.TemporaryDirectory() as place, way(Path(place), rate, seconds) as (destination, source):
        pipeline = Pipeline(
            name="bench",
            source=source,
            destination=destination,
            state=MemoryStateStore(),
            settings=Settings(batch_timeout=0.05),
        )
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(READY + seconds + 1)
        pipeline.stop()
        await running
    delays = sorted(durable - sent for durable, times in destination.durable for sent in times)
    percentiles = {"p50": statistics.median(delays), "p99": delays[int(len(delays) * 0.99)]}
    json.dump({"events": len(delays), "rate": len(delays) / seconds, **percentiles}, sys.stdout)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=1000, help="inserts a second (default 1000)")
    arguments.add_argument("--seconds", type=float, default=10, help="how long (default 10)")
    arguments.add_argument("--fed", action="store_true", help="by a server that only feeds")
    options = arguments.parse_args()
    asyncio.run(main(options.rate, options.seconds, by_feeder=options.fed))
