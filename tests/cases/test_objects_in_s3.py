"""Objects in S3: one arbiter a batch, a vanished definition, a million objects, many files, and errors' remedies."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_s3 import FakeS3, VirtualBucket
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Definition, Position, ResumeToken, Stream, Timestamp, token_hash
from rigatoni_core.api.options import Secret
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_s3.destination import S3Destination
from rigatoni_s3.testing.proxy import FaultProxy
from rigatoni_testing.batches import START, STREAM, batch_of, event_document
from rigatoni_testing.serializers import TokenLines

MIB = 2**20
RETRY = "[pipeline.retry]\nmax_retries = 1\nretry_delay = 0.1\nmax_retry_delay = 0.2"
DEFINITION = Definition("fingerprint", {"watch": "shop.orders"})


@pytest.fixture
def destination(s3: Any) -> Callable[..., S3Destination]:
    """Makes a destination in a real bucket, below a prefix of the test's own."""
    prefix = uuid.uuid4().hex

    def make(**options: Any) -> S3Destination:
        place = {
            "bucket": "cases",
            "prefix": prefix,
            "endpoint_url": s3.endpoint_url,
            "region": s3.region,
            "access_key_id": s3.access_key,
            "secret_access_key": Secret(s3.secret_key),
        }
        return S3Destination(**{"serializer": TokenLines(), **place, **options})

    return make


# --- c04, c07: one arbiter


async def test_a_large_batch_is_one_conditional_put(s3, destination):
    """c04, c07: CompleteMultipartUpload ignores the condition on some stores, so it decides nothing."""
    with FaultProxy(s3.endpoint_url) as proxy:
        large = destination(serializer=TokenLines(padding=6 * MIB), endpoint_url=proxy.endpoint_url)
        async with large:
            await large.begin(STREAM, DEFINITION, START)
            assert await large.write_batch(batch_of([event_document(0)])) is None
        assert not proxy.seen("POST")
        (put,) = [seen for seen in proxy.seen("PUT", ".txt") if "_rigatoni" not in seen.path]
        assert put.headers["if-none-match"] == "*"
        assert len(put.body) > 6 * MIB


async def test_the_options_of_multipart_uploads_are_read_and_change_nothing(s3, destination):
    """c04: files of older versions may name them."""
    with FaultProxy(s3.endpoint_url) as proxy:
        old = {"multipart_threshold": 5 * MIB, "multipart_part_size": 5 * MIB, "endpoint_url": proxy.endpoint_url}
        async with destination(serializer=TokenLines(padding=6 * MIB), **old) as large:
            await large.begin(STREAM, DEFINITION, START)
            assert await large.write_batch(batch_of([event_document(0)])) is None
        assert not proxy.seen("POST")


async def test_two_owners_of_a_large_batch_agree_on_its_end(destination):
    """c07: a takeover while the former owner's put is under way."""
    events = [event_document(number) for number in range(10)]
    async with (
        destination(serializer=TokenLines(padding=6 * MIB)) as one,
        destination(serializer=TokenLines(padding=6 * MIB)) as other,
    ):
        for number in range(4):
            stream = Stream("p", f"shop.round{number}")
            long, short = batch_of(events, stream=stream), batch_of(events[:5], stream=stream)
            for owner in (one, other):
                await owner.begin(stream, DEFINITION, START)
            ends = await asyncio.gather(one.write_batch(long), other.write_batch(short))
            committed = await one.last_committed(stream)
            assert [end.order if end else batch.end.order for end, batch in zip(ends, (long, short), strict=True)] == [
                committed.order,
                committed.order,
            ]


# --- c08: a definition that vanished


@pytest.fixture(params=["local", "s3"])
def chain(request: pytest.FixtureRequest, tmp_path: Path, s3: Any) -> tuple[Callable[..., Any], Callable[[str], None]]:
    """Makes a destination, and removes whatever of it has a certain name."""
    if request.param == "local":
        folder = tmp_path / "lake"

        def remove_files(name: str) -> None:
            for path in list(folder.rglob(name)):
                path.unlink()

        return lambda **options: LocalDestination(path=folder, serializer=TokenLines(), **options), remove_files
    make, client = request.getfixturevalue("destination"), s3.client()

    def remove_objects(name: str) -> None:
        for item in client.list_objects_v2(Bucket="cases", Prefix=f"{make().prefix}/").get("Contents", ()):
            if item["Key"].endswith(f"/{name}"):
                client.delete_object(Bucket="cases", Key=item["Key"])

    return make, remove_objects


async def resumed(destination: Any, now: Position) -> Position:
    """Where a worker without a checkpoint would begin."""
    position = await destination.last_committed(STREAM)
    return await destination.begin(STREAM, DEFINITION, position or now)


@pytest.mark.parametrize("layout", [{}, {"partition_by": ("hour",)}, {"partition_by": ("field:value",)}])
async def test_objects_without_their_definition_are_an_error_and_not_a_fresh_stream(chain, layout):
    """c08: a lifecycle rule removed `definition-0.json`, and the state store is lost."""
    make, remove = chain
    async with make(**layout) as before:
        await before.begin(STREAM, DEFINITION, START)
        assert await before.write_batch(batch_of([event_document(number) for number in range(3)])) is None
    remove("definition-0.json")
    now = START.moved(ResumeToken('{"_data":"now"}'), Timestamp(1_800_000_000, 1), 0)
    async with make(**layout) as after:
        with pytest.raises(RigatoniError) as refused:
            await resumed(after, now)
    assert "definition" in str(refused.value)
    assert refused.value.remedy
    assert not refused.value.transient


async def test_a_stream_without_objects_is_fresh(chain):
    """c08: the other side."""
    make, _ = chain
    async with make() as fresh:
        assert await fresh.last_committed(STREAM) is None
        assert await fresh.begin(STREAM, DEFINITION, START) == START


# --- c01: a million objects

FIRST = 1_700_000_000
LAYOUTS = {"s3-plain": {}, "s3-time": {"partition_by": ("hour",)}, "s3-namespace": {"partition_by": ("namespace",)}}


def lake_of(count: int, corpus: str) -> tuple[FakeS3, Stream, Callable[[int], Position]]:
    """A bucket with a stream of `count` batches of one event each, a minute after each other, as 4b9dc3d wrote them."""
    record = json.loads((Path(__file__).parents[1] / "corpus" / "4b9dc3d" / f"{corpus}.json").read_text())
    stream = Stream(record["pipeline"], record["stream"])
    folder = f"{stream.key}/"
    definition = record["files"][f"lake/{folder}_rigatoni/definition-0.json"]["text"].encode()

    def position(number: int, *, after: bool) -> Position:
        token = json.dumps({"_data": f"82{number:012X}"})
        return Position(ResumeToken(token), "one", Timestamp(FIRST + number * 60, 1), int(after))

    def key(number: int) -> str:
        first = position(number, after=False)
        name = f"{first.cluster_time.seconds:010}.{1:010}-{0:08}-{token_hash(first.resume_token)}"
        if corpus == "s3-namespace":
            return f"{folder}_rigatoni/leads/0/{name}"
        if corpus == "s3-plain":
            return f"{folder}{name}.ndjson"
        hour = time_of(first.cluster_time.seconds)
        return f"{folder}date={hour[:10]}/hour={hour[11:13]}/{name}.ndjson"

    def headers(number: int) -> Mapping[str, str]:
        path = key(number).removeprefix(folder)
        whole = corpus != "s3-namespace"
        lead = {
            "format": 1,
            "definition": 0,
            "deployment": "rs0",
            "pipeline": stream.pipeline,
            "stream": stream.name,
            "first": plain(position(number, after=False)),
            "end": plain(position(number, after=True)),
            "events": int(whole),
            "read": 1,
            "parts": [{"path": path, "events": 1}] if whole else [],
        }
        text = json.dumps(lead, sort_keys=True, separators=(",", ":"))
        sealed = lead | {"checksum": "sha256:" + hashlib.sha256(text.encode()).hexdigest()}
        return {"x-amz-meta-rigatoni-record": json.dumps(sealed, separators=(",", ":"))}

    bucket = VirtualBucket(count, key, headers)
    bucket.put(f"{folder}_rigatoni/definition-0.json", definition, {}, only_if_absent=False)
    fake = FakeS3(bucket)
    fake.delays["List"] = 0.01
    fake.most_lists = 200
    return fake, stream, lambda number: position(number, after=True)


def time_of(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def plain(position: Position) -> dict[str, Any]:
    """A position as records of format 1 have it."""
    return {
        "resume_token": position.resume_token,
        "cluster_time": [position.cluster_time.seconds, position.cluster_time.increment],
        "utc": time_of(position.cluster_time.seconds),
        "ordinal": position.ordinal,
        "fingerprint": position.fingerprint,
        "deployment": "rs0",
    }


@pytest.mark.parametrize("count", [1, 999, 1001, 1_000_000])
@pytest.mark.parametrize("corpus", LAYOUTS)
async def test_the_newest_of_a_million_objects_is_found_with_few_requests(corpus, count):
    """c01: the state store is lost; at 80 ms a page a linear listing takes minutes."""
    fake, stream, after = lake_of(count, corpus)
    with fake:
        lake = S3Destination(
            **fake.options,
            access_key_id="x",
            secret_access_key=Secret("y"),
            serializer=JsonSerializer(),
            conditional_put=False,
            **LAYOUTS[corpus],
        )
        async with lake:
            fake.requests.clear()
            found = await lake.last_committed(stream)
    assert found.resume_token == after(count - 1).resume_token
    assert fake.count("List") <= 100  # 8 s at 80 ms a page


# --- b10: many values


def test_a_batch_of_many_files_may_take_longer_than_the_time_without_progress(fake_s3, case, database):
    """b10: one file a value; an attempt took longer than write_timeout, and each retry began again."""
    fake_s3.delays["Put"] = 0.2
    many = case(
        [f"{database.name}.c"],
        destination=f'{fake_s3.toml}\npartition_by = ["field:user"]\nsettle_time = 0.0',
        settings="batch_timeout = 0.2\nwrite_timeout = 2.0\n" + RETRY.replace("= 1\n", "= 0\n"),
    )
    many.must_run_once()
    database.c.insert_many([{"user": f"u{number}"} for number in range(300)])
    done = many.command("run", "p.toml", "--once", timeout=60)
    assert done.returncode == 0, done.stderr
    written = [key for key in fake_s3.objects.keys() if key.endswith(".ndjson")]  # noqa: SIM118 (it is no mapping)
    assert len(written) == 300


# --- b11, b12: what the store says


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "KMS.ThrottlingException"),
        (400, "ThrottlingException"),
        (400, "RequestLimitExceeded"),
        (429, "TooManyRequests"),
        (503, "SlowDown"),
        (400, "RequestTimeout"),
    ],
)
async def test_throttling_is_transient_however_the_store_spells_it(fake_s3, status, code):
    """b11: KMS throttles within a put."""
    async with _fake(fake_s3) as lake:
        await lake.begin(STREAM, DEFINITION, START)
        fake_s3.fail("Put", ".txt", status, code)
        with pytest.raises(RigatoniError) as refused:
            await lake.write_batch(batch_of([event_document(0)]))
        assert refused.value.transient
        assert await lake.write_batch(batch_of([event_document(0)])) is None


def test_a_throttled_pipeline_goes_on(fake_s3, case, database):
    """b11: the same for a whole pipeline."""
    throttled = case([f"{database.name}.c"], destination=fake_s3.toml, settings="batch_timeout = 0.2\n" + RETRY)
    throttled.must_run_once()
    database.c.insert_one({"_id": 1})
    fake_s3.fail("Put", ".ndjson", 400, "KMS.ThrottlingException")
    throttled.must_run_once()
    assert len([key for key in fake_s3.objects.keys() if key.endswith(".ndjson")]) == 1  # noqa: SIM118
    assert not fake_s3.faults


def _fake(fake_s3: FakeS3) -> S3Destination:
    return S3Destination(**fake_s3.options, access_key_id="x", secret_access_key=Secret("y"), serializer=TokenLines())


async def test_an_archived_object_is_called_that(fake_s3):
    """b12: it said that a right is missing."""
    async with _fake(fake_s3) as lake:
        await lake.begin(STREAM, DEFINITION, START)
        fake_s3.fail("Get", "definition-", 403, "InvalidObjectState", times=9)
        with pytest.raises(RigatoniError) as refused:
            await lake.last_committed(STREAM)
    assert "s3:GetObject" not in f"{refused.value} {refused.value.remedy}"
    assert "archive" in f"{refused.value} {refused.value.remedy}".lower()
    assert not refused.value.transient
