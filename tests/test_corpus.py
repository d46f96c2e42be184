"""What commit 4b9dc3d left on disk and in buckets is resumed by today's code: nothing lost, nothing delivered twice.

`tests/corpus/generate.py` says how each state came about. A state is put back into a real folder or a real S3 server,
and a pipeline of today runs on it. The frozen files never change: what an old program wrote stays readable.
"""

import base64
import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import fastavro
import pyarrow.parquet
import pytest
import zstandard
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_core.api.contracts import Destination, Serializer
from rigatoni_core.api.dead_letters import kept_letters
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.events import Definition, Position, Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_file_state.store import FileStateStore
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import RedisServer
from rigatoni_s3.destination import S3Destination
from rigatoni_s3.testing.server import s3_server
from rigatoni_testing.scripted import Log, ScriptedSource

CORPUS = Path(__file__).parent / "corpus" / "4b9dc3d"
EVENTS = [base64.b64decode(raw) for raw in json.loads((CORPUS / "events.json").read_text())]
LOST_BEFORE = 14
"""The first event after the gap, which the pipelines of the corpus recorded when they came back for the second time."""


def load(name: str) -> dict[str, Any]:
    return json.loads((CORPUS / f"{name}.json").read_text())


NAMES = sorted(path.stem for path in CORPUS.glob("*-*.json"))
SNAPSHOTS = [(name, snapshot) for name in NAMES for snapshot in load(name)["snapshots"]]
TABULAR = {"local-avro", "local-gzip", "local-parquet"}
"""Formats that cannot be read back into documents."""


# --- today's components on a state of the corpus


@attrs.define(kw_only=True)
class FrozenSource(ScriptedSource):
    """Serves the frozen events as the MongoDB of that time did: under the same deployment and definition."""

    decoder: Decoder = MongoDBSource.decoder

    def definition(self, stream: Stream) -> Definition:
        return Definition(self.fingerprint, {"watch": [stream.name], "version": self.fingerprint})

    def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[Any]:
        if after is not None:
            after = attrs.evolve(after, fingerprint=self.fingerprint)
        return super().read(stream, after=after)


def log_of(raws: list[bytes]) -> Log:
    log = Log()
    for raw in raws:
        token, time = MongoDBSource.decoder.token_and_time(memoryview(raw))
        assert time is not None
        log.raws.append(raw)
        log.tokens.append(token)
        log.times.append(time)
    return log


TOKENS = log_of(EVENTS).tokens


def serializer_of(options: Mapping[str, Any]) -> Serializer:
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


@attrs.define
class State:
    """A snapshot of the corpus that was put back: its record, the folder it lies in, and the bucket's prefix."""

    record: dict[str, Any]
    snapshot: dict[str, Any]
    folder: Path
    options: dict[str, Any]
    keys: Any

    @property
    def stream(self) -> Stream:
        return Stream(self.record["pipeline"], self.record["stream"])

    @property
    def store(self) -> FileStateStore:
        return FileStateStore(path=self.folder / "state")

    def destination(self, place: str, serializer: Serializer, **layout: Any) -> Destination:
        if not self.options:
            return LocalDestination(path=self.folder / place, serializer=serializer, **layout)
        return S3Destination(
            **self.options | {"prefix": f"{self.options['prefix']}/{place}"}, serializer=serializer, **layout
        )

    def lake(self) -> Destination:
        return self.destination("lake", serializer_of(self.record["serializer"]), **self.record["layout"])

    def letters(self) -> Destination:
        return self.destination("letters", JsonSerializer())

    async def run(
        self, fingerprint: str, *, lost_before: int, visible: int = len(EVENTS), events: list[bytes] = EVENTS
    ) -> bool:
        """Run a pipeline of today on it until it has caught up, or until it stops with an error. Returns which."""
        source = FrozenSource(
            logs={self.stream.name: log_of(events[:visible])},
            fingerprint=fingerprint,
            lost_before=lost_before,
            await_time=0.05,
            start=0,
        )
        pipeline = Pipeline(
            name=self.stream.pipeline,
            source=source,
            destination=self.lake(),
            dead_letters=self.letters(),
            state=self.store,
            settings=Settings(
                batch_size=7,
                batch_timeout=0.5,
                on_failure="stop",
                retry=RetrySettings(max_retries=2, retry_delay=0.05, max_retry_delay=0.1),
            ),
        )
        return (await pipeline.run(once=True)).ok

    def delivered(self) -> dict[int, int]:
        """How often each event lies in the files of the destination."""
        below = f"lake/{self.stream.key}/"
        return Counter(
            TOKENS.index(token)
            for key, content in self.contents()
            if key.startswith(below) and "/_rigatoni/" not in key
            for token in tokens_in(key, content)
        )

    def contents(self) -> Iterator[tuple[str, bytes]]:
        if self.options:
            yield from self.keys()
        for path in self.folder.rglob("*"):
            if path.is_file():
                yield path.relative_to(self.folder).as_posix(), path.read_bytes()

    def expected(self, *, gap: bool) -> dict[int, int]:
        left_out = {*self.record["damaged"], *(self.record["lost"] if gap else ())}
        return {number: 1 for number in range(len(EVENTS)) if number not in left_out}


def tokens_in(name: str, content: bytes) -> list[str]:
    """The resume tokens of a file's events, by readers that are not ours."""
    if name.endswith(".zst"):
        content, name = zstandard.decompress(content, max_output_size=2**20), name.removesuffix(".zst")
    if name.endswith(".gz"):
        content, name = gzip.decompress(content), name.removesuffix(".gz")
    if name.endswith(".ndjson"):
        ids = [json.loads(line)["_id"] for line in content.splitlines()]
    elif name.endswith(".csv"):
        ids = [json.loads(row["resume_token"]) for row in csv.DictReader(io.StringIO(content.decode()))]
    elif name.endswith(".avro"):
        rows: Any = fastavro.reader(io.BytesIO(content))
        ids = [json.loads(row["resume_token"]) for row in rows]
    else:
        table = pyarrow.parquet.read_table(io.BytesIO(content), columns=["resume_token"])
        ids = [json.loads(token) for token in table["resume_token"].to_pylist()]
    return [token for each in ids for token in TOKENS if json.loads(token) == each]


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3") / "data") as server:
        server.client().create_bucket(Bucket="corpus")
        yield server


@pytest.fixture
def restore(tmp_path, request):
    """Puts a snapshot of the corpus back where a pipeline of today can run on it."""

    def put(name: str, snapshot: str) -> State:
        record = load(name)
        content = {key: record["files"][kept] for key, kept in record["snapshots"][snapshot]["files"].items()}
        options, keys = {}, None
        if record["store"] == "s3":
            server = request.getfixturevalue("s3")
            client, prefix = server.client(), f"{tmp_path.name}"
            options = {
                "bucket": "corpus",
                "prefix": prefix,
                "endpoint_url": server.endpoint_url,
                "region": server.region,
                "access_key_id": server.access_key,
                "secret_access_key": Secret(server.secret_key),
                "conditional_put": True,
                "settle_time": 0.0,
            }

            def get(key):
                return key.removeprefix(f"{prefix}/"), client.get_object(Bucket="corpus", Key=key)["Body"].read()

            def keys():
                pages = client.get_paginator("list_objects_v2").paginate(Bucket="corpus", Prefix=f"{prefix}/")
                return pool.map(get, [item["Key"] for page in pages for item in page.get("Contents", ())])

        def write(key, entry):
            body = entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"])
            if "metadata" in entry:
                about = {"Metadata": entry["metadata"], "ContentType": entry["media_type"]}
                client.put_object(Bucket="corpus", Key=f"{prefix}/{key}", Body=body, **about)
            else:
                path = tmp_path / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)

        list(pool.map(write, content, content.values()))
        return State(record, record["snapshots"][snapshot], tmp_path, options, keys)

    with ThreadPoolExecutor(8) as pool:
        yield put


def use(state: State, memory: str) -> None:
    """Leave the saved checkpoints as they were, lose them, or set them back to the first ones."""
    folder = state.folder / "state" / state.stream.pipeline
    saved = list(folder.glob("*.json"))
    assert saved
    first = state.record["snapshots"]["first"]["files"]
    for path in saved:
        if memory == "lost":
            path.unlink()
        elif memory == "stale":
            path.write_text(state.record["files"][first[path.relative_to(state.folder).as_posix()]]["text"])


# --- the promises


@pytest.mark.parametrize(
    ("name", "snapshot", "memory"),
    [
        (name, snapshot, memory)
        for name, snapshot in SNAPSHOTS
        if name != "local-redis"
        for memory in ("saved", "lost", "stale")
        if memory != "stale" or snapshot in ("lead", "object")
    ],
)
async def test_a_stream_resumes_without_loss_or_repeat(restore, name, snapshot, memory):
    state = restore(name, snapshot)
    use(state, memory)
    begun = snapshot == "first"
    lost_before = 0 if begun else LOST_BEFORE
    fingerprint = "one" if begun else state.snapshot["fingerprint"]
    assert await state.run(fingerprint, lost_before=lost_before)
    assert state.delivered() == state.expected(gap=not begun)
    async with state.letters() as letters:
        kept = [letter async for letter, _ in kept_letters(letters, state.stream.pipeline)]
    assert [TOKENS.index(letter.position.resume_token) for letter in kept] == state.record["damaged"]

    if memory != "saved":
        return
    before = {key: content for key, content in state.contents() if not key.startswith("state/")}
    assert await state.run(fingerprint, lost_before=lost_before)  # nothing is left to do
    assert {key: content for key, content in state.contents() if not key.startswith("state/")} == before


@pytest.mark.parametrize("name", [name for name in NAMES if name != "local-redis"])
async def test_a_definition_that_names_the_class_of_its_serializer_continues(restore, name):
    state = restore(name, "complete")

    def definitions():
        return {
            key: json.loads(content)["layout"]["serializer"]["type"]
            for key, content in state.contents()
            if key.startswith(f"lake/{state.stream.key}/") and "definition-" in key
        }

    before = definitions()
    assert all(re.fullmatch(r"rigatoni_\w+\.\w+Serializer", recorded) for recorded in before.values())
    assert await state.run(state.snapshot["fingerprint"], lost_before=LOST_BEFORE)
    assert definitions() == before
    assert await state.run("four", lost_before=LOST_BEFORE)  # another definition, in today's words
    (number,) = definitions().keys() - before.keys()
    assert definitions()[number] == state.record["serializer"]["type"]


@pytest.mark.parametrize("name", ["local-field", "local-merged", "local-namespace", "s3-field", "s3-merged"])
@pytest.mark.parametrize("snapshot", ["lead", "object"])
async def test_a_batch_begun_without_an_event_is_not_completed_with_it(restore, name, snapshot):
    if (name, snapshot) not in SNAPSHOTS:
        pytest.skip("this state was not kept")
    state = restore(name, snapshot)
    unread = state.snapshot["last_committed"]["resume_token"]
    begun = TOKENS.index(unread) + 1
    healed = [raw.replace(b"flag\x00\x07", b"flag\x00\x01") for raw in EVENTS]
    before = state.delivered()
    if not await state.run("two", lost_before=LOST_BEFORE, events=[*EVENTS[:begun], *healed[begun:]]):
        assert state.delivered() == before  # a record of format 1 does not tell which event was left out
    assert await state.run("two", lost_before=LOST_BEFORE)
    found = state.delivered()
    assert set(found.values()) == {1}
    assert state.expected(gap=True).items() <= found.items()


@pytest.mark.parametrize(
    ("name", "snapshot", "fingerprint"),
    [(name, snapshot, "four") for name, snapshot in SNAPSHOTS if snapshot in ("complete", "closing")]
    + [(name, snapshot, "two") for name, snapshot in SNAPSHOTS if snapshot == "closing"],
)
async def test_a_definition_that_changes_continues_where_the_recorded_one_ended(restore, name, snapshot, fingerprint):
    state = restore(name, snapshot)
    assert await state.run(fingerprint, lost_before=LOST_BEFORE, visible=30)
    assert await state.run("five", lost_before=LOST_BEFORE)
    assert state.delivered() == state.expected(gap=True)


@pytest.mark.parametrize(("name", "snapshot"), [pair for pair in SNAPSHOTS if pair[0] != "local-redis"])
async def test_the_newest_complete_batch_is_found(restore, name, snapshot):
    state = restore(name, snapshot)
    recorded = state.snapshot["last_committed"]
    async with state.lake() as lake:
        found = await lake.last_committed(state.stream)
    assert found is not None
    assert (found.resume_token, found.ordinal) == (recorded["resume_token"], recorded["ordinal"])
    assert [found.cluster_time.seconds, found.cluster_time.increment] == recorded["cluster_time"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TABULAR])
async def test_documents_are_read_back(restore, name):
    state = restore(name, "complete")
    async with state.lake() as lake:
        numbers = [document["fullDocument"]["_id"] async for document in lake.read_back(state.stream.pipeline)]
    assert sorted(numbers) == [number for number in state.expected(gap=True) if number < 26]


async def test_a_checkpoint_in_a_file_is_loaded(restore):
    state = restore("local-plain", "complete")
    async with state.store as store:
        checkpoint = await store.load_resume_token(state.stream)
    assert checkpoint.position.resume_token == TOKENS[25]
    assert checkpoint.position.fingerprint == "two"
    assert checkpoint.events == 24
    (gap,) = checkpoint.gaps
    assert gap.lost.resume_token == TOKENS[11]
    assert gap.resumed.resume_token == json.dumps({"_data": f"mark{LOST_BEFORE}"})


async def test_a_checkpoint_in_redis_is_loaded_and_replaced(tmp_path):
    record = load("local-redis")
    stream = Stream(record["pipeline"], record["stream"])
    with RedisServer(tmp_path / "redis") as server:
        server.client().mset(record["snapshots"]["complete"]["redis"])
        async with RedisStateStore(url=Secret(server.url)) as store:
            checkpoint = await store.load_resume_token(stream)
            assert checkpoint.position.resume_token == TOKENS[25]
            assert (checkpoint.events, len(checkpoint.gaps)) == (24, 1)
            lease = await store.acquire(stream, owner="today", ttl=30)
            assert lease.fencing_token > checkpoint.fencing_token
            renewed = attrs.evolve(checkpoint, events=25, fencing_token=lease.fencing_token)
            await store.save_resume_token(stream, renewed)
            assert await store.load_resume_token(stream) == renewed


@pytest.mark.parametrize("name", ["local-plain", "s3-plain"])
async def test_dead_letters_and_the_marks_of_a_replay_are_read_back(restore, name):
    state = restore(name, "complete")
    async with state.letters() as letters:
        kept = [(letter, replayed) async for letter, replayed in kept_letters(letters, state.stream.pipeline)]
    numbers = [number for number in state.record["damaged"] if number < 26]
    assert [letter.event for letter, _ in kept] == [EVENTS[number] for number in numbers]
    assert [letter.position.resume_token for letter, _ in kept] == [TOKENS[number] for number in numbers]
    assert [replayed for _, replayed in kept] == [True, False, False, False]
    assert {letter.error_id for letter, _ in kept} == {"malformed-event"}
