"""Writes the corpus: what commit 4b9dc3d left on disk and in buckets, frozen as JSON.

It ran once, with the sources of that commit, and is kept to show how the states came about. It cannot run with later
sources, and nobody has to run it again: the states below `4b9dc3d/` never change. To repeat it:

    git worktree add --detach ../old 4b9dc3d
    PYTHONPATH=$(printf %s: ../old/*/src) python tests/corpus/generate.py tests/corpus/4b9dc3d

Each stage of a case is a process of its own, which runs a pipeline of that commit with its own source of events, and
which may kill itself right after it has created a file or an object: then the state is that of a crash.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
from array import array
from itertools import accumulate
from pathlib import Path

import bson
from bson.timestamp import Timestamp as BsonTimestamp

PIPELINE = "lake"
COLLECTION, DATABASE = "shop.orders", "shop.*"
LOST_BEFORE = 14
"""The history before this event is gone when the pipeline comes back from its second position: a gap."""
DAMAGED = (6, 10, 11, 20, 27, 33)
"""Events whose bytes are not BSON, which every serializer rejects: in the middle, and a whole batch of them."""
TOTAL = 40

CASES = {
    "plain": {"stream": COLLECTION},
    "time": {"stream": COLLECTION, "partition_by": ["hour"]},
    "namespace": {"stream": DATABASE, "partition_by": ["namespace"]},
    "field": {"stream": COLLECTION, "partition_by": ["field:customer.country"], "batch_size": 12},
    "template": {"stream": DATABASE, "folder_template": "{database}/{collection}/{date}"},
    "merged": {"stream": DATABASE, "folder_template": "{database}/{field:customer.country}", "batch_size": 12},
}
SERIALIZERS = {
    "zstd": {"type": "zstd", "inner": {"type": "json", "mode": "canonical"}},
    "gzip": {"type": "gzip", "inner": {"type": "csv"}},
    "avro": {"type": "avro"},
    "parquet": {"type": "parquet"},
}
COUNTRIES = tuple(f"{name}, a name that is so long that records of batches do not fit into metadata" for name in
                  ("München", "a/b=c %", "PORTO"))  # fmt: skip


# --- the events


def raw_event(number: int) -> bytes:
    """Event `number` as a server sends it. Events 8 to 11 are one transaction: they share one cluster time."""
    place = 8 if 8 <= number <= 11 else number
    country = {4: "" if number % 20 == 4 else None, 9: f"Only {number}"}.get(number % 10, COUNTRIES[number % 3])
    document = bson.encode(
        {
            "_id": {"_data": f"82{number:012X}"},
            "operationType": "insert",
            "clusterTime": BsonTimestamp(1_700_000_000 + place * 1_300, place % 3 + 1),
            "fullDocument": {"_id": number, "customer": {"country": country}, "flag": True},
            "ns": {"db": "shop", "coll": ("orders", "users", "Ünïcode.%")[number % 3 if number % 4 else 0]},
            "documentKey": {"_id": number},
        }
    )
    return document.replace(b"\x08flag\x00\x01", b"\x08flag\x00\x07") if number in DAMAGED else document


EVENTS = [raw_event(number) for number in range(TOTAL)]


def source(name: str, visible: int, fingerprint: str, lost_before: int):
    """The events up to `visible`, of which those before `lost_before` are no longer there for a reader."""
    from rigatoni_core.batch import EventBatch
    from rigatoni_core.contracts import Source
    from rigatoni_core.errors import PositionLostError
    from rigatoni_core.events import Definition, Position, ResumeToken, Timestamp
    from rigatoni_mongodb.source import MongoDBSource

    decoder = MongoDBSource.decoder
    marks = [decoder.mark(memoryview(raw)) for raw in EVENTS[:visible]]
    tokens = [token for token, _ in marks]

    class Events(Source):
        async def streams(self):
            return [name]

        def definition(self, stream):
            return Definition("rs0", fingerprint, {"watch": [name], "version": fingerprint})

        async def read(self, stream, *, after):
            index = (
                0 if after is None else tokens.index(after.resume_token) + 1 if after.resume_token in tokens else None
            )
            if index is None:
                index = int(json.loads(after.resume_token)["_data"].removeprefix("mark"))
            if index < lost_before:
                if after is not None:
                    raise PositionLostError("the oplog rolled over")
                index = visible
            time = marks[index - 1][1].next() if index else Timestamp(1_700_000_000, 0)
            start = Position(ResumeToken(json.dumps({"_data": f"mark{index}"})), fingerprint, time, 0, "rs0")
            position = after.moved(after.resume_token, after.cluster_time, after.ordinal) if after else start
            position = Position(position.resume_token, fingerprint, position.cluster_time, position.ordinal, "rs0")
            yield EventBatch.heartbeat(stream, position, decoder=decoder, source_time=marks[-1][1])
            if raws := EVENTS[index:visible]:
                offsets = array("Q", accumulate(map(len, raws), initial=0))
                batch = EventBatch.following(
                    position, stream, memoryview(b"".join(raws)), offsets, decoder, source_time=marks[-1][1]
                )
                yield batch
                position = batch.end
            while True:
                yield EventBatch.heartbeat(stream, position, decoder=decoder, source_time=marks[-1][1], caught_up=True)
                await asyncio.sleep(0.05)

    Events.decoder = decoder
    return Events()


# --- one stage, in a process of its own


def serializer_of(options):
    from rigatoni_avro.serializer import AvroSerializer
    from rigatoni_compression.gzip import GzipSerializer
    from rigatoni_compression.zstd import ZstdSerializer
    from rigatoni_csv.serializer import CsvSerializer
    from rigatoni_json.serializer import JsonSerializer
    from rigatoni_parquet.serializer import ParquetSerializer

    kinds = {
        "json": JsonSerializer,
        "csv": CsvSerializer,
        "avro": AvroSerializer,
        "parquet": ParquetSerializer,
        "gzip": GzipSerializer,
        "zstd": ZstdSerializer,
    }
    rest = {name: value for name, value in options.items() if name not in ("type", "inner")}
    if "inner" in options:
        rest["inner"] = serializer_of(options["inner"])
    return kinds[options["type"]](**rest)


def destination_of(stage, place, **options):
    from rigatoni_core.options import Secret
    from rigatoni_local.destination import LocalDestination
    from rigatoni_s3.destination import S3Destination

    if stage["store"] == "local":
        return LocalDestination(path=Path(stage["folder"]) / place, **options)
    return S3Destination(
        bucket="corpus",
        prefix=f"{stage['case']}/{place}",
        endpoint_url=stage["endpoint"],
        region="us-east-1",
        access_key_id="rigatoni-access",
        secret_access_key=Secret("rigatoni-secret"),
        settle_time=60.0 if stage.get("settles") else 0.0,
        **options,
    )


def die_after(count: int) -> None:
    """Kill this process as soon as it has created this many things in the lake, closing marks and records included."""
    from rigatoni_local import files
    from rigatoni_s3 import bucket

    left = count

    def counting(create):
        def counted(self, *args, **kwargs):
            nonlocal left
            created = create(self, *args, **kwargs)
            if created and any("lake/lake/" in str(argument) for argument in args[:2]):
                left -= 1
                if left == 0:
                    os._exit(9)
            return created

        return counted

    files.Tree.publish = counting(files.Tree.publish)
    bucket.Bucket.create = counting(bucket.Bucket.create)


async def run_stage(stage):
    """Run the pipeline, or another thing that the stage asks for. Returns the newest end, where it asks for that."""
    from rigatoni_core.events import Stream
    from rigatoni_core.options import Secret
    from rigatoni_core.pipeline import Pipeline
    from rigatoni_core.settings import RetrySettings, Settings
    from rigatoni_file_state.store import FileStateStore
    from rigatoni_redis_state.store import RedisStateStore

    options = CASES.get(stage["case"], {"stream": COLLECTION})
    reading = source(options["stream"], stage["visible"], stage["fingerprint"], stage.get("lost_before", 0))
    layout = {name: value for name, value in options.items() if name in ("partition_by", "folder_template")}
    serializer = serializer_of(SERIALIZERS.get(stage["case"], {"type": "json"}))
    lake = destination_of(stage, "lake", serializer=serializer, **layout)
    letters = destination_of(stage, "letters", serializer=serializer_of({"type": "json"}))
    if stage.get("ask"):
        async with lake:
            return await lake.last_committed(Stream(PIPELINE, options["stream"]))
    if stage.get("replay"):
        await replay(reading.decoder, lake, letters)
        return None
    url = stage.get("redis")
    state = RedisStateStore(url=Secret(url)) if url else FileStateStore(path=Path(stage["folder"]) / "state")
    pipeline = Pipeline(
        name=PIPELINE,
        source=reading,
        destination=lake,
        dead_letters=letters,
        state=state,
        settings=Settings(
            batch_size=options.get("batch_size", 5),
            batch_timeout=1.0,
            idle_advance_interval=0.0,
            on_lost_position="restart_from_now",
            on_failure="stop",
            retry=RetrySettings(max_retries=1, retry_delay=0.1, max_retry_delay=0.2),
        ),
    )
    if count := stage.get("die_after"):
        die_after(count)
    report = await pipeline.run(once=True)
    assert report.ok, report
    return None


async def replay(decoder, lake, letters) -> None:
    """What a replay of the first dead letter leaves behind, once its event can be written."""
    from rigatoni_core.replay import kept_letters
    from rigatoni_core.sidestream import SideStream

    async with lake, letters:
        letter = next(iter([letter async for letter, _ in kept_letters(letters, PIPELINE)]))
        healed = letter.event.replace(b"\x08flag\x00\x07", b"\x08flag\x00\x01")
        await SideStream(letter.stream.beside("replayed"), lake).write(letter.position, healed, decoder)
        await SideStream(letter.stream.beside("replay-marks"), letters).write(
            letter.position, letter.mark(decoder), decoder
        )


# --- cases, and what they leave


class Case:
    """One destination in one layout: its stages one after another, and a picture of the state between them."""

    def __init__(self, store: str, name: str, server) -> None:
        self.store, self.name, self.server = store, name, server
        self.folder = Path(tempfile.mkdtemp())
        self.files: dict[str, dict] = {}
        self.snapshots: dict[str, dict] = {}

    def run(self, fingerprint: str, visible: int, *, dies: int = 0, **more) -> None:
        stage = {
            "store": self.store,
            "case": self.name,
            "folder": str(self.folder),
            "endpoint": self.server.endpoint_url,
            "fingerprint": fingerprint,
            "visible": visible,
            "die_after": dies,
            **more,
        }
        done = subprocess.run([sys.executable, __file__, "--stage", json.dumps(stage)], stdout=subprocess.PIPE)
        assert done.returncode == (9 if dies else 0), (stage, done.returncode)
        return done.stdout

    def picture(self, snapshot: str, fingerprint: str, visible: int) -> None:
        """Keep what is there now. Data never changes once it is there; the state and the lock files may."""
        asked = self.run(fingerprint, visible, ask=True)
        keys = {}
        for key, entry in sorted(self._entries()):
            name = key
            while name in self.files and self.files[name] != entry:
                assert key.startswith("state/"), f"{key} has changed"
                name += "+"
            self.files[name] = entry
            keys[key] = name
        self.snapshots[snapshot] = {
            "fingerprint": fingerprint,
            "visible": visible,
            "last_committed": json.loads(asked),
            "files": keys,
        }

    def _entries(self):
        for path in self.folder.rglob("*"):
            if path.is_file():
                yield path.relative_to(self.folder).as_posix(), written(path.read_bytes())
        if self.store == "s3":
            client = self.server.client()
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="corpus", Prefix=f"{self.name}/")
            for key in [item["Key"] for page in pages for item in page.get("Contents", ())]:
                if "_rigatoni-probe" in key:
                    continue
                got = client.get_object(Bucket="corpus", Key=key)
                about = {"metadata": got["Metadata"], "media_type": got["ContentType"]}
                yield key.removeprefix(f"{self.name}/"), about | written(got["Body"].read())

    def dump(self, folder: Path) -> None:
        text = json.dumps(
            {
                "written_by": "4b9dc3d",
                "store": self.store,
                "pipeline": PIPELINE,
                "stream": CASES.get(self.name, {"stream": COLLECTION})["stream"],
                "layout": {
                    name: value
                    for name, value in CASES.get(self.name, {}).items()
                    if name in ("partition_by", "folder_template")
                },
                "serializer": SERIALIZERS.get(self.name, {"type": "json"}),
                "lost": [12, 13],
                "damaged": list(DAMAGED),
                "snapshots": self.snapshots,
                "files": self.files,
            },
            indent=1,
            ensure_ascii=False,
        )
        (folder / f"{self.store}-{self.name}.json").write_text(text + "\n")


def written(content: bytes) -> dict:
    """A file's content as text where it is one, else in base64."""
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def generate(case: Case) -> None:
    """A stream's whole life: a start, a gap, a changed definition, crashes, and another change that is cut short."""
    case.run("one", 12)
    case.picture("first", "one", 12)
    case.run("one", LOST_BEFORE, lost_before=LOST_BEFORE)
    case.run("one", 18, lost_before=LOST_BEFORE)
    case.run("two", 26, lost_before=LOST_BEFORE)
    if case.name == "plain":
        case.run("two", 26, replay=True)
    case.picture("complete", "two", 26)
    if case.name in SERIALIZERS:
        return
    if case.store == "s3" and case.name in ("plain", "namespace"):
        case.run("three", 26, lost_before=LOST_BEFORE, settles=True, dies=1)
        case.picture("closing", "three", 26)
        return
    if not (case.store == "s3" and case.name == "time"):
        record = 1 if case.store == "s3" and case.name in ("field", "merged") else 0
        case.run("two", 36, lost_before=LOST_BEFORE, dies=1 + record)
        case.picture("lead", "two", 36)
        if case.name not in ("plain", "time"):
            case.run("two", 36, lost_before=LOST_BEFORE, dies=1)
            case.picture("object", "two", 36)


def main(target: Path, only: list[str]) -> None:
    from rigatoni_redis_state.testing.server import RedisServer
    from rigatoni_s3.testing.server import s3_server

    target.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp())
    (target / "events.json").write_text(json.dumps([base64.b64encode(raw).decode() for raw in EVENTS], indent=1) + "\n")
    with s3_server(scratch / "s3") as server:
        server.client().create_bucket(Bucket="corpus")
        for store, name in [
            *((store, name) for store in ("local", "s3") for name in CASES),
            *(("local", name) for name in SERIALIZERS),
        ]:
            if only and f"{store}-{name}" not in only:
                continue
            case = Case(store, name, server)
            generate(case)
            case.dump(target)
            print(case.store, case.name, {key: len(value["files"]) for key, value in case.snapshots.items()})
        if only and "local-redis" not in only:
            return
        with RedisServer(scratch / "redis") as redis:
            case = Case("local", "redis", server)
            case.run("one", 12, redis=redis.url)
            case.run("one", LOST_BEFORE, lost_before=LOST_BEFORE, redis=redis.url)
            case.run("two", 26, lost_before=LOST_BEFORE, redis=redis.url)
            case.picture("complete", "two", 26)
            client = redis.client()
            keys = {key: client.get(key) for key in sorted(client.keys("*")) if client.type(key) == "string"}
            case.snapshots["complete"]["redis"] = keys
            case.dump(target)
            print("redis", list(keys))


if __name__ == "__main__":
    if sys.argv[1] == "--stage":
        from rigatoni_core.records import position_record

        position = asyncio.run(run_stage(json.loads(sys.argv[2])))
        print(json.dumps(position_record(position) if position else None))
        sys.stdout.flush()
        os._exit(0)
    main(Path(sys.argv[1]), sys.argv[2:])
