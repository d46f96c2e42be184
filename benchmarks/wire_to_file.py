"""From a server's replies to files: our pipeline beside the script that one would write by hand with PyMongo.

    python -m benchmarks.wire_to_file [--events 200000] [--rounds 3] [--streams 1] [--serializer json+zstd]

Both read the same change events (about 876 bytes, 1,000 a reply) of `rigatoni_mongodb.testing.feeder`, one after
the other in processes of their own, and write files. What counts is the processor time per event of
the reading process (user and system, all threads); rounds are interleaved and medians compared. Peak memory is the
process's largest resident size; "above idle" is what it grew by since everything was imported and connected.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

import attrs
from rigatoni_mongodb.testing.feeder import feeder

BY_HAND = """
import gzip, json, resource, sys
from bson import json_util
from pymongo import MongoClient
uri, count, folder = sys.argv[1], int(sys.argv[2]), sys.argv[4]
with MongoClient(uri) as client:
    before, idle = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines, files = [], 0
    with client.bench.events.watch(batch_size=1000) as stream:
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
"""

OURS = """
import asyncio, json, resource, sys
from pathlib import Path
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.catalog import Catalog
from rigatoni_core.options import Secret
from rigatoni_core.pipeline import Pipeline
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource
uri, count, streams, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
names = sys.argv[5].split("+")
def serializer():
    catalog, made = Catalog.discover(), None
    for name in names:
        made = catalog.get("serializer", name)(**({"inner": made} if made else {}))
    return made
async def main():
    global before, after, idle
    watch = [f"bench.events{number or ''}" for number in range(streams)]
    pipeline = Pipeline(
        name="bench",
        source=MongoDBSource(uri=Secret(uri), watch=watch, start_at="2023-01-01T00:00:00Z", max_await_time=0.1),
        destination=LocalDestination(path=Path(folder), serializer=serializer()),
        state=MemoryStateStore(),
    )
    before, idle = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = await pipeline.run(once=True)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert report.ok and pipeline.statistics.total.events == count * streams, (report, pipeline.statistics.total)
asyncio.run(main())
"""

REPORT = """
used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"seconds": used, "peak": after.ru_maxrss * 1024, "grown": (after.ru_maxrss - idle) * 1024}))
"""


@attrs.frozen
class Figure:
    """What one process says of itself: processor seconds for all events, peak memory and its growth in bytes."""

    seconds: float
    peak: int
    grown: int


def measure(code: str, *arguments: object) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        uri, events, streams, *rest = map(str, arguments)
        command = [sys.executable, "-c", code + REPORT, uri, events, streams, folder, *rest]
        return Figure(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="events of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=1, help="streams of the pipeline; the script by hand reads one")
    parser.add_argument("--serializer", default="json+zstd", help="inner one first, such as json+gzip")
    options = parser.parse_args()
    hand, ours = [], []
    with feeder(options.events) as uri:
        for _ in range(options.rounds):
            hand.append(measure(BY_HAND, uri, options.events, 1))
            ours.append(measure(OURS, uri, options.events, options.streams, options.serializer))
    each = {
        "by hand": [figure.seconds / options.events * 1e6 for figure in hand],
        "rigatoni": [figure.seconds / options.events / options.streams * 1e6 for figure in ours],
    }
    for name, values in each.items():
        peak, grown = (
            max(getattr(f, k) for f in (hand if name == "by hand" else ours)) / 2**20 for k in ("peak", "grown")
        )
        print(
            f"{name:<10}{statistics.median(values):7.2f} µs/event  ({min(values):.2f} to {max(values):.2f})"
            f"  peak {peak:.0f} MiB, {grown:.0f} above idle"
        )
    print(f"ratio     {statistics.median(each['by hand']) / statistics.median(each['rigatoni']):7.1f}")


if __name__ == "__main__":
    main()
