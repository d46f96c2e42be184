"""`rigatoni state` where the store grants leases: nothing that runs is repaired, no late owner undoes a repair."""

import json
from pathlib import Path

import pytest
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.options import Secret
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import redis_url

STREAM = Stream("p", "shop.orders")
CONFIGURATION = """\
[pipeline]
name = "p"
[pipeline.source]
type = "mongodb"
uri = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"
watch = ["shop.orders"]
[pipeline.destination]
type = "stdout"
serializer = { type = "json" }
[pipeline.state]
type = "redis"
url = { env = "REDIS_URL" }
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with redis_url(tmp_path_factory.mktemp("redis") / "data") as url:
        yield url


@pytest.fixture
def file(tmp_path, url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.chdir(tmp_path)
    Path("pipeline.toml").write_text(CONFIGURATION)
    return "pipeline.toml"


def checkpoint(token, fencing_token):
    return Checkpoint(Position(ResumeToken(token), "f", Timestamp(1_700_000_000, 1), 1), 5, fencing_token)


async def test_Z8_I3_a_held_stream_is_shown_and_not_repaired_and_a_late_owner_undoes_no_repair(file, url, rigatoni):
    async with RedisStateStore(url=Secret(url)) as store:
        lease = await store.acquire(STREAM, owner="the-instance", ttl=60)
        await store.save_resume_token(STREAM, checkpoint("token", lease.fencing_token))
        (shown,) = json.loads(rigatoni("state", "show", file, "--offline", "--json").stdout)
        assert shown["holder"] == "the-instance"
        refused = rigatoni("state", "clear", file, STREAM.name, "--yes")
        assert refused.returncode == 3
        assert "the-instance" in refused.stderr
        assert (await store.load_resume_token(STREAM)).events == 5
        await store.release(lease)
        cleared = rigatoni("state", "clear", file, STREAM.name, "--yes")
        assert cleared.returncode == 0, cleared.stderr
        assert await store.load_resume_token(STREAM) is None
        with pytest.raises(LeaseLostError):  # the instance comes back, and would save what it had in mind
            await store.save_resume_token(STREAM, checkpoint("late", lease.fencing_token))
        assert await store.acquire(STREAM, owner="the next one", ttl=60)  # the repair holds no lease any more


async def test_an_export_of_one_store_is_imported_into_another(file, url, rigatoni):
    async with RedisStateStore(url=Secret(url), prefix="other:") as store:
        lease = await store.acquire(STREAM, owner="somebody", ttl=60)
        await store.save_resume_token(STREAM, checkpoint("token", lease.fencing_token))
        await store.release(lease)
    export = rigatoni("state", "export", file, "--set", "state.prefix=other:")
    Path("export.json").write_text(export.stdout)
    moved = ["--set", 'state={ type = "file", path = "state" }']
    answer = rigatoni("state", "import", file, "export.json", "--yes", *moved)
    assert answer.returncode == 0, answer.stderr
    (shown,) = json.loads(rigatoni("state", "show", file, "--offline", "--tokens", "--json", *moved).stdout)
    assert (shown["resume_token"], shown["events"]) == ("token", 5)
