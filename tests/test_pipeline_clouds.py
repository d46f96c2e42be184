"""The command with the destinations `gcs` and `azure`, in processes of its own, killed around uploads."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import pytest
from pymongo import MongoClient
from rigatoni_azure.testing.server import azure_server
from rigatoni_gcs.testing.server import gcs_server
from rigatoni_mongodb.testing.server import mongodb_server

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
{options}
serializer = {{ type = "json" }}

[pipeline.state]
type = "file"
path = "state"
"""

DIE = """
import os, sys
import requests.adapters
real = requests.adapters.HTTPAdapter.send
count = []
def send(self, request, **options):
    names = request.url.encode() + (request.body if isinstance(request.body, bytes) else b"")[:1000]
    watched = request.method in ("PUT", "POST") and b".ndjson" in names
    if watched and {before}:
        count.append(1)
        len(count) > {number} and os.kill(os.getpid(), 9)
    response = real(self, request, **options)
    if watched and not {before}:
        count.append(1)
        len(count) > {number} and os.kill(os.getpid(), 9)
    return response
requests.adapters.HTTPAdapter.send = send
from rigatoni_core.cli import main
sys.argv = ["rigatoni", "run", "pipeline.toml", "--once"]
main()
"""
EVENTS = 100
KILLS = [(True, 0), (False, 1)]


@attrs.frozen
class Cloud:
    """A store: the options of its destination, and its events by key in listing order."""

    options: str
    secret: str
    contents: Callable[[], Iterator[bytes]]


@contextmanager
def gcs(folder):
    with gcs_server(folder) as server:
        bucket = server.client().create_bucket("lake")
        options = f'type = "gcs"\nbucket = "lake"\nendpoint_url = "{server.endpoint_url}"\nanonymous = true'

        def contents():
            names = sorted(blob.name for blob in bucket.list_blobs() if blob.name.endswith(".ndjson"))
            return (bucket.blob(name).download_as_bytes() for name in names)

        yield Cloud(options, "", contents)


@contextmanager
def azure(folder):
    with azure_server(folder) as server:
        container = server.client().create_container("lake")
        options = f'type = "azure"\ncontainer = "lake"\nendpoint_url = "{server.endpoint_url}"\n'
        options += f'account = "{server.account}"\naccount_key = {{ env = "SECRET" }}'

        def contents():
            names = sorted(name for name in container.list_blob_names() if name.endswith(".ndjson"))
            return (container.download_blob(name).readall() for name in names)

        yield Cloud(options, server.key, contents)


@pytest.mark.parametrize("cloud", [gcs, azure])
def test_killed_around_uploads_nothing_is_lost_or_repeated(cloud, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = f"e2e_{cloud.__name__}"
    with mongodb_server(tmp_path / "mongodb") as uri, cloud(tmp_path / "store") as store:
        monkeypatch.setenv("MONGODB_URI", uri)
        monkeypatch.setenv("SECRET", store.secret)
        (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(database=database, options=store.options))

        def run():
            command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"]
            return subprocess.run(command, capture_output=True, text=True, timeout=60)

        started = run()
        assert started.returncode == 0, started.stderr
        with MongoClient(uri) as client:
            for n in range(EVENTS):
                client[database]["c"].insert_one({"n": n})
        for before, number in KILLS:
            code = DIE.replace("{before}", str(before)).replace("{number}", str(number))
            died = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
            assert died.returncode == -9, died.stderr.decode()[-2000:]
        finished = run()
        assert finished.returncode == 0, finished.stderr
        assert "guarantee: exactly once in effect" in finished.stderr
        events = [json.loads(line) for content in store.contents() for line in content.splitlines()]
    assert [event["fullDocument"]["n"] for event in events if event["operationType"] == "insert"] == list(range(EVENTS))
