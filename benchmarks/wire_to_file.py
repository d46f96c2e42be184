"""From a server's replies to files: our pipeline beside the script that one would write by hand with PyMongo.

    python benchmarks/wire_to_file.py [--events 50000]

Both read the same change events of a MongoDB-compatible server (RIGATONI_TEST_MONGODB_URI, or one that is started
here), one after the other in processes of their own, and write files. What counts is the processor time per event of
the reading process (user and system), so that the server's own speed does not matter; rounds are interleaved and
medians compared.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bson import ObjectId
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server

BY_HAND = """
import gzip, json, resource, sys
from bson import json_util
from bson.timestamp import Timestamp
from pymongo import MongoClient
uri, start, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with MongoClient(uri) as client:
    before = resource.getrusage(resource.RUSAGE_SELF)
    lines, files = [], 0
    with client.bench.events.watch(start_at_operation_time=Timestamp(start, 0), batch_size=1000) as stream:
        for event in stream:
            lines.append(json_util.dumps(event))
            if len(lines) == 1000:
                with gzip.open(f"{folder}/{files:06}.ndjson.gz", "wt") as file:
                    file.write("\\n".join(lines) + "\\n")
                files, lines = files + 1, []
            count -= 1
            if not count:
                break
    after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""

OURS = """
import asyncio, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.options import Secret
from rigatoni_core.pipeline import Pipeline
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource
uri, start, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
async def main():
    pipeline = Pipeline(
        name="bench",
        source=MongoDBSource(
            uri=Secret(uri), watch=["bench.events"], start_at=datetime.fromtimestamp(start, UTC).isoformat()
        ),
        destination=LocalDestination(path=Path(folder), serializer=ZstdSerializer(inner=JsonSerializer())),
        state=MemoryStateStore(),
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    report = await pipeline.run(once=True)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert report.ok and pipeline.statistics.total.events >= count, report
    print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
asyncio.run(main())
"""


def document(number: int) -> dict[str, object]:
    """A document whose insert event is about 876 bytes long."""
    return {
        "_id": ObjectId(),
        "number": number,
        "customer": {"name": f"customer {number}", "mail": f"customer{number}@example.org", "since": 2019},
        "items": [{"sku": f"sku-{index}", "price": 9.99 + index, "count": index} for index in range(5)],
        "note": "x" * 180,
    }


def measure(code: str, *arguments: object) -> float:
    """Processor seconds that the script says it used."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, *map(str, arguments), folder]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=50_000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place, mongodb_server(Path(place) / "data") as uri:
        with MongoClient(uri) as client:
            client.drop_database("bench")
            start = client.admin.command("ping")["operationTime"].time + 1
            while client.admin.command("ping")["operationTime"].time < start:
                client.bench.clock.insert_one({})
            for first in range(0, options.events, 1000):
                client.bench.events.insert_many([document(first + number) for number in range(1000)])
        hand, ours = [], []
        for _ in range(options.rounds):
            hand.append(measure(BY_HAND, uri, start, options.events) / options.events * 1e6)
            ours.append(measure(OURS, uri, start, options.events) / options.events * 1e6)
    for name, values in (("by hand", hand), ("rigatoni", ours)):
        print(f"{name:<10}{statistics.median(values):7.1f} µs/event  ({min(values):.1f} to {max(values):.1f})")
    print(f"ratio     {statistics.median(hand) / statistics.median(ours):7.1f}")


if __name__ == "__main__":
    main()
