"""CPU time per event of the S3 path, beside the plain way of using the same libraries.

    python benchmarks/s3.py [--events 100000] [--rounds 5]

Both write the same events as compressed JSON lines, 10,000 an object, through boto3 into a sink that takes everything
(a proxy of the testing kit without an upstream, in a process of its own). Plain is the script that one would write by
hand: PyMongo's decoder, `bson.json_util`, `gzip`, `put_object`. Figures are ratios within one run: the machine's speed
cancels out. Rounds alternate; the best of each counts.
"""

import argparse
import asyncio
import gzip
import importlib.util
import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from unittest import mock

import boto3
from bson import ObjectId, decode, encode, json_util
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_core.batch import EventBatch
from rigatoni_core.events import Definition
from rigatoni_core.options import Secret
from rigatoni_core.testing.batches import START, STREAM, batch_of, event_document
from rigatoni_json.serializer import JsonSerializer
from rigatoni_s3.destination import S3Destination
from rigatoni_s3.testing.proxy import FaultProxy

BATCH = 10_000


def sink(pipe: Connection) -> None:
    with FaultProxy() as proxy:
        pipe.send(proxy.endpoint_url)
        while pipe.recv():
            proxy.requests.clear()


def documents(count: int) -> list[bytes]:
    chance = random.Random(7)
    raws = []
    for number in range(count):
        document = {"_id": ObjectId(), "name": f"name {number}", "total": number * 1.25}
        document["text"] = chance.randbytes(150).hex()  # compresses to half, as texts do
        time = BsonTimestamp(1_700_000_000 + number // 1000, number % 1000 + 1)
        raws.append(encode(event_document(number, clusterTime=time, fullDocument=document)))
    return raws


def plain(client: object, raws: list[bytes]) -> None:
    for start in range(0, len(raws), BATCH):
        lines = "".join(f"{json_util.dumps(decode(raw))}\n" for raw in raws[start : start + BATCH])
        client.put_object(Bucket="lake", Key=f"plain/{start}.ndjson.gz", Body=gzip.compress(lines.encode()))  # type: ignore[attr-defined]


def batches(raws: list[bytes]) -> list[EventBatch]:
    after, made = START, []
    for start in range(0, len(raws), BATCH):
        made.append(batch_of(raws[start : start + BATCH], stream=STREAM, after=after))
        after = made[-1].end
    return made


def cpu(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


async def ours(destination: S3Destination, made: list[EventBatch]) -> float:
    started = time.process_time()
    for batch in made:
        assert await destination.write_batch(batch) is None
    return time.process_time() - started


async def main(count: int, rounds: int) -> None:
    raws = documents(count)
    made = batches(raws)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=sink, args=(there,), daemon=True)
    process.start()
    endpoint = here.recv()
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **keys)
    destination = S3Destination(
        bucket="lake",
        endpoint_url=endpoint,
        region="us-east-1",
        access_key_id="a",
        secret_access_key=Secret("s"),
        serializer=GzipSerializer(inner=JsonSerializer()),
    )
    with mock.patch.multiple("rigatoni_s3.destination", probe=lambda *_: None, is_atomic=lambda *_: True):
        await destination.__aenter__()  # a sink would not pass the probe
    await destination.begin(STREAM, Definition("", "f", {}), START)
    figures: dict[str, list[float]] = {"plain": [], "rigatoni": []}
    for _ in range(rounds):
        figures["plain"].append(cpu(lambda: plain(client, raws)))
        here.send(True)
        figures["rigatoni"].append(await ours(destination, made))
        here.send(True)
    here.send(False)
    await destination.close()
    best = {name: min(times) / count * 1e6 for name, times in figures.items()}
    for name, microseconds in best.items():
        print(f"{name:10} {microseconds:7.2f} µs of CPU an event")
    native = "with" if importlib.util.find_spec("rigatoni_native") else "without"
    print(f"{'ratio':10} {best['plain'] / best['rigatoni']:7.1f} times less ({native} rigatoni-native)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.events, arguments.rounds))
