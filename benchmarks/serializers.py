"""Measures each serializer on one thread, compared with hand-written code with the same libraries (by_hand.py).

    python -m benchmarks.serializers [--events 20000] [--only json]

There are two streams of events of about 876 bytes: *alike* (inserts of one kind of document, updates of a few kinds)
and *diverse* (every document has its own fields, so caches do not help). Each figure is the lowest CPU time of several
rounds. A busy machine increases all of them, so compare figures of one run.
"""

# mypy: disable-error-code="misc"
# `lambda raws=raws: ...` in a loop has no type that it could infer

import argparse
import gzip
import random
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import get_args

from bson import Int64, ObjectId, Timestamp, decode, encode
from rigatoni_avro.serializer import AvroSerializer, Codec
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Serializer
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_json.serializer import JsonSerializer
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of

from benchmarks import by_hand

ROUNDS = 5
BATCH = 5000
RANDOM = random.Random(20_240_501)
WORDS = ["".join(RANDOM.choices(string.ascii_lowercase, k=RANDOM.randint(3, 9))) for _ in range(3000)]


def text(words: int) -> str:
    return " ".join(RANDOM.choices(WORDS, k=words))


def order(number: int) -> dict[str, object]:
    created = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(milliseconds=RANDOM.randrange(10**10))
    return {
        "_id": ObjectId(RANDOM.randbytes(12)),
        "order": f"2024-{number:08d}",
        "customer": Int64(RANDOM.randrange(2**40)),
        "status": RANDOM.choice(["new", "paid", "shipped"]),
        "quantity": RANDOM.randrange(100),
        "price": round(RANDOM.random() * 1000, 2),
        "weight": RANDOM.random(),
        "currency": "EUR",
        "created": created,
        "updated": created + timedelta(hours=1),
        "express": RANDOM.random() < 0.5,
        "coupon": None,
        "email": f"{text(1)}@example.com",
        "address": {
            "street": text(2),
            "city": text(1),
            "country": "IT",
            "lat": RANDOM.random(),
            "lon": RANDOM.random(),
        },
        "tags": RANDOM.choices(WORDS, k=3),
        "note": text(27),
        "warehouse": RANDOM.randrange(1000),
        "version": 1,
    }


def event(number: int, operation: str, **fields: object) -> bytes:
    document = order(number)
    return encode(
        {
            "_id": {"_data": f"82{RANDOM.getrandbits(400):0100X}"},
            "operationType": operation,
            "clusterTime": Timestamp(1_714_521_600 + number // 1000, number % 1000 + 1),
            "fullDocument": {**document, **fields},
            "ns": {"db": "shop", "coll": "orders"},
            "documentKey": {"_id": document["_id"]},
        }
    )


def alike(count: int) -> list[bytes]:
    return [
        event(number, "insert") if number % 3 else event(number, "update", **{f"field {number % 4}": number})
        for number in range(count)
    ]


def diverse(count: int) -> list[bytes]:
    return [event(number, "insert", **{f"field {number}": number}) for number in range(count)]


def best(work: Callable[[], int], rounds: int = ROUNDS) -> tuple[float, int]:
    """Return the lowest CPU time of several rounds in seconds, and the output size that `work` returns in bytes."""
    seconds, size = float("inf"), 0
    for _ in range(rounds):
        start = time.process_time()
        size = work()
        seconds = min(seconds, time.process_time() - start)
    return seconds, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="events per stream")
    parser.add_argument("--only", default="", help="only the lines whose name contains this")
    arguments = parser.parse_args()
    serializers: dict[str, Serializer] = {
        f"json {mode}": JsonSerializer(mode=mode) for mode in ("relaxed", "canonical", "plain")
    }
    serializers |= {f"json + zstd {n}": ZstdSerializer(inner=JsonSerializer(), level=n) for n in (1, 2, 3)}
    serializers |= {f"json + gzip {n}": GzipSerializer(inner=JsonSerializer(), level=n) for n in (1, 2)}
    serializers |= {"csv": CsvSerializer(), "csv + zstd 2": ZstdSerializer(inner=CsvSerializer(), level=2)}
    serializers |= {f"avro {codec}": AvroSerializer(codec=codec) for codec in get_args(Codec)}
    serializers |= {f"avro bson {codec}": AvroSerializer(mode="bson", codec=codec) for codec in ("null", "zstandard")}
    serializers |= {"parquet": ParquetSerializer(), "parquet nested": ParquetSerializer(documents="nested")}
    print(f"{'stream':9} {'serializer':32} {'µs/event':>9} {'events/s':>10} {'bytes/event':>12}")
    for stream, raws in (("alike", alike(arguments.events)), ("diverse", diverse(arguments.events))):
        batches = [batch_of(raws[start : start + BATCH]) for start in range(0, len(raws), BATCH)]

        def all_of(serialize: Callable[[EventBatch], bytes], batches: list[EventBatch] = batches) -> int:
            return sum(len(serialize(batch)) for batch in batches)

        works: dict[str, Callable[[], int]] = {
            "PyMongo decode alone": lambda raws=raws: sum(len(decode(raw)) for raw in raws) and 0,
            "hand-written: json_util.dumps": lambda raws=raws: len(by_hand.json_lines(raws)),
            "hand-written: json_util.dumps + gzip": lambda raws=raws: len(
                gzip.compress(by_hand.json_lines(raws), mtime=0)
            ),
            "hand-written: csv module": lambda raws=raws: len(by_hand.csv_module(raws)),
            "hand-written: fastavro null": lambda raws=raws: len(by_hand.fastavro_writer(raws, "null")),
            "hand-written: fastavro zstandard": lambda raws=raws: len(by_hand.fastavro_writer(raws, "zstandard")),
            "hand-written: parquet, pyarrow": lambda raws=raws: len(by_hand.parquet(raws)),
        }
        if stream == "alike":  # a column for each of thousands of names would take pyarrow minutes
            works["hand-written: parquet nested, pyarrow"] = lambda raws=raws: len(by_hand.parquet_nested(raws))
        works |= {name: lambda s=serializer: all_of(s.serialize) for name, serializer in serializers.items()}
        mean = sum(map(len, raws)) / len(raws)
        print(f"{stream:9} {'(the events as BSON)':32} {'':9} {'':10} {mean:12.0f}")
        for name, work in works.items():
            if arguments.only in name:
                seconds, size = best(work, 2 if name.startswith("hand-written") else ROUNDS)
                each = seconds / len(raws)
                print(f"{stream:9} {name:32} {each * 1e6:9.2f} {1 / each:10,.0f} {size / len(raws):12.0f}")


if __name__ == "__main__":
    main()
