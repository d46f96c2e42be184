"""The command with the destination `s3`, in processes of its own, against real servers, killed at every step."""

import json
import subprocess
import sys

import pytest
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_s3.testing.server import s3_server

CONFIGURATION = """\
[pipeline]
name = "p"
batch_size = 20
batch_timeout = 0.2

[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["{database}.*"]
max_await_time = 0.1

[pipeline.destination]
type = "s3"
bucket = "lake"
prefix = "{database}"
region = "us-east-1"
endpoint_url = "{endpoint}"
access_key_id = "{key}"
secret_access_key = {{ env = "S3_SECRET" }}
partition_by = {partitions}
serializer = {{ type = "json" }}

[pipeline.state]
type = "file"
path = "state"
"""

DIE = """
import os, sys
import botocore.client
real = botocore.client.BaseClient._make_api_call
count = []
def call(self, name, arguments):
    watched = name == "PutObject" and arguments["Key"].endswith(".ndjson")
    if watched and {before}:
        count.append(1)
        len(count) > {number} and os.kill(os.getpid(), 9)
    answer = real(self, name, arguments)
    if watched and not {before}:
        count.append(1)
        len(count) > {number} and os.kill(os.getpid(), 9)
    return answer
botocore.client.BaseClient._make_api_call = call
{patch}
from rigatoni_core.cli import main
sys.argv = ["rigatoni", "run", "pipeline.toml", "--once"]
main()
"""
EVENTS = 160  # eight batches: enough that no run comes to the end before it is killed
CHECKPOINT = (
    "import rigatoni_core.engine.checkpoint as c; c.CheckpointKeeper.advance = lambda *_, **__: os.kill(os.getpid(), 9)"
)
KILLS = [(True, 0, ""), (False, 0, ""), (True, 1, ""), (False, 99, CHECKPOINT)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servers")
    with mongodb_server(folder / "mongodb") as uri, s3_server(folder / "s3") as store:
        store.client().create_bucket(Bucket="lake")
        yield uri, store


@pytest.mark.parametrize("partitions", ["[]", '["namespace"]'])
def test_G7_killed_around_each_put_nothing_is_lost_or_repeated(servers, tmp_path, monkeypatch, partitions):
    uri, store = servers
    database = f"e2e{len(partitions)}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", uri)
    monkeypatch.setenv("S3_SECRET", store.secret_key)
    configuration = CONFIGURATION.format(
        database=database, endpoint=store.endpoint_url, key=store.access_key, partitions=partitions
    )
    (tmp_path / "pipeline.toml").write_text(configuration)

    def run():
        command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    answer = run()
    assert answer.returncode == 0, answer.stderr
    with MongoClient(uri) as client:
        for n in range(EVENTS):
            client[database][f"c{n % 2}"].insert_one({"n": n})
    for before, number, patch in KILLS:
        code = DIE.replace("{before}", str(before)).replace("{number}", str(number)).replace("{patch}", patch)
        died = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
        assert died.returncode == -9, died.stderr.decode()[-2000:]
    answer = run()
    assert answer.returncode == 0, answer.stderr
    assert "guarantee: exactly once in effect" in answer.stderr

    client = store.client()
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="lake", Prefix=f"{database}/")["Contents"]]
    numbers = [
        json.loads(line)["fullDocument"]["n"]
        for key in sorted(keys)
        if key.endswith(".ndjson")
        for line in client.get_object(Bucket="lake", Key=key)["Body"].read().splitlines()
        if b'"insert"' in line
    ]
    assert sorted(numbers) == list(range(EVENTS))
    if partitions == "[]":
        assert numbers == list(range(EVENTS))
