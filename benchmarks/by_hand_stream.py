"""A hand-written script with PyMongo: `watch()`, json_util, gzip, files. Prints its figures as JSON.

python -m benchmarks.by_hand_stream URI EVENTS FOLDER [mask]

With `mask`, it also does to each event what `select` and `mask` do in benchmarks/pipeline.py: two fields are removed,
and three are masked.
"""

import gzip
import hmac
import sys
from typing import Any

from bson import json_util
from pymongo import MongoClient
from pymongo.change_stream import ChangeStream

from benchmarks.figures import Meter


def masked(event: dict[str, Any]) -> dict[str, Any]:
    """Inserts only: the feeding server sends nothing else."""
    document = event["fullDocument"]
    del document["customer"]["name"], document["note"]
    mail = document["customer"]["mail"].encode()
    document["customer"]["mail"] = hmac.digest(b"a key for benchmarks", mail, "sha256").hex()
    document["created"] = document["created"].replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    for item in document["items"]:
        item["sku"] = "***"
    return event


def main(uri: str, count: int, folder: str, *, mask: bool) -> None:
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri) as client:
        meter = Meter()
        lines, files = [], 0
        stream: ChangeStream[dict[str, Any]]
        with client.bench.events.watch(batch_size=1000) as stream:
            event: dict[str, Any]
            for event in stream:
                lines.append(json_util.dumps(masked(event) if mask else event))
                if len(lines) == 1000:
                    with gzip.open(f"{folder}/{files:06}.ndjson.gz", "wt") as file:
                        file.write("\n".join(lines) + "\n")
                    files, lines = files + 1, []
                count -= 1
                if not count:
                    break
        meter.report()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], mask="mask" in sys.argv[4:])
