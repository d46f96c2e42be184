"""Memory of a real process: bounded, whatever waits at the other end."""

import json
import subprocess
import sys

from rigatoni_mongodb.testing.feeder import feeder

EVENTS = 240_000  # of about 876 bytes each: 200 MB

STOPPED = """
import asyncio, json, resource, sys
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata
from rigatoni_core.api.options import Secret
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.api.settings import Settings
from rigatoni_mongodb.source import MongoDBSource

def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

class Stopped(Destination):
    delivery = Delivery.AT_LEAST_ONCE
    def metadata(self):
        return DestinationMetadata("never answers", self.delivery)
    async def write_batch(self, events):
        await asyncio.Event().wait()

class Counted(MongoDBSource):
    nbytes = 0
    async def read(self, stream, *, after):
        async for item in super().read(stream, after=after):
            Counted.nbytes += item.nbytes if isinstance(item, EventBatch) else 0
            yield item

async def main():
    source = Counted(uri=Secret(sys.argv[1]), watch=["bench.events"], start_at="2023-01-01T00:00:00Z")
    pipeline = Pipeline(name="p", source=source, destination=Stopped(), state=MemoryStateStore(), settings=Settings())
    before = megabytes()
    running = asyncio.create_task(pipeline.run())
    seen = -1
    while Counted.nbytes == 0 or Counted.nbytes != seen:  # until nothing more was read for two seconds
        seen = Counted.nbytes
        await asyncio.sleep(2)
    print(json.dumps({"read": seen, "grown": megabytes() - before, "limit": pipeline.settings.max_buffered_bytes}))
    pipeline.stop()
    pipeline.stop()
    await running

asyncio.run(main())
"""


def test_G5_a_stopped_destination_stops_reading_and_memory_stays_bounded():
    with feeder(EVENTS) as uri:
        answer = subprocess.run([sys.executable, "-c", STOPPED, uri], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    figures = json.loads(answer.stdout)
    reply = 1_000_000  # what one reply of the feeder holds at most
    assert 0 < figures["read"] <= figures["limit"] + 2 * reply, figures
    limit = figures["limit"] / 2**20
    assert figures["grown"] < 2 * limit + 40, figures  # each byte at most twice, and what Python itself needs
