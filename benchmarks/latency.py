"""From the commit in MongoDB to durable at the destination: what a reader of the files waits for.

    python -m benchmarks.latency --rate 1000 --seconds 10

A writer inserts at a steady rate into a MongoDB-compatible server; each document holds the time when its insert was
acknowledged as durable would at the earliest be known: right before it was sent. The pipeline runs with
`batch_timeout = 0.05`; after every batch the time when `write_batch` returned counts for each of its events.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rigatoni_core.batch import EventBatch
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.options import Secret
from rigatoni_core.pipeline import Pipeline
from rigatoni_core.settings import Settings
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.server import mongodb_server


class Measured(LocalDestination):
    """Notes for each event how long it took to be durable."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.delays: list[float] = []

    async def write_batch(self, events: EventBatch) -> Any:
        answer = await super().write_batch(events)
        if answer is None:
            now = time.time()
            self.delays += [now - event.full_document["sent"] for event in events]
        return answer


def write(uri: str, rate: float, seconds: float) -> None:
    with MongoClient(uri) as client:
        chunk = max(1, round(rate / 200))
        began, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            if count > passed * rate:
                time.sleep(0.001)
                continue
            client.bench.latency.insert_many([{"sent": time.time(), "text": "x" * 200} for _ in range(chunk)])
            count += chunk


async def main(rate: float, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as place, mongodb_server(Path(place) / "mongodb") as uri:
        destination = Measured(path=Path(place) / "lake", serializer=JsonSerializer())
        pipeline = Pipeline(
            name="bench",
            source=MongoDBSource(uri=Secret(uri), watch=["bench.latency"]),
            destination=destination,
            state=MemoryStateStore(),
            settings=Settings(batch_timeout=0.05),
        )
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(1)
        writer = threading.Thread(target=write, args=(uri, rate, seconds))
        writer.start()
        while writer.is_alive():
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        pipeline.stop()
        await running
    delays = sorted(destination.delays)
    percentiles = {"p50": statistics.median(delays), "p99": delays[int(len(delays) * 0.99)]}
    json.dump({"events": len(delays), "rate": len(delays) / seconds, **percentiles}, sys.stdout)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=1000, help="inserts a second (default 1000)")
    arguments.add_argument("--seconds", type=float, default=10, help="how long (default 10)")
    options = arguments.parse_args()
    asyncio.run(main(options.rate, options.seconds))
