"""What the tests of the whole have in common: a real server, and a folder with a pipeline's file."""

import subprocess
import sys
import time

import pytest
from hypothesis import settings
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server

settings.register_profile("fuzz", max_examples=5_000, deadline=None)

CONFIGURATION = """\
[pipeline]
name = "p"
batch_size = 20
batch_timeout = 0.2
shutdown_timeout = 3.0
write_timeout = 20.0

[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["{database}.orders"]
max_await_time = 0.1

[pipeline.destination]
type = "local"
path = "lake"
serializer = {{ type = "zstd", inner = {{ type = "json" }} }}

[pipeline.state]
type = "file"
path = "state"
"""


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory):
    with mongodb_server(tmp_path_factory.mktemp("mongodb") / "data") as uri:
        yield uri


@pytest.fixture
def place(tmp_path, mongodb_uri, monkeypatch, request):
    """A folder with a pipeline file, in which the test runs, and the database that it watches."""
    database = f"e2e{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(database=database))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    with MongoClient(mongodb_uri) as client:
        client.drop_database(database)
        yield client[database]
        client.drop_database(database)


@pytest.fixture
def rigatoni():
    """Calls the command as a user types it, with nobody to ask."""

    def call(*arguments):
        command = [sys.executable, "-m", "rigatoni_core.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    return call


@pytest.fixture
def wait_for():
    """Waits until a condition holds."""

    def wait(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    return wait
