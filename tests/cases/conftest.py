"""What the cases share: a pipeline file in a folder of its own, run by the command, and servers that fail on demand."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_s3 import FakeS3
from pymongo import MongoClient
from rigatoni_redis_state.testing.server import RedisServer
from rigatoni_s3.testing.server import s3_server

COMMAND = [sys.executable, "-m", "rigatoni_core.cli"]

FILE = """\
[pipeline]
name = "{name}"
{settings}
[pipeline.source]
type = "mongodb"
uri = {uri}
watch = {watch}
max_await_time = 0.1
{source}
[pipeline.destination]
{destination}
serializer = {serializer}
[pipeline.state]
type = "file"
path = "state"
"""


class Case:
    """A pipeline's folder: its file, and the command that runs it as a user does."""

    def __init__(self, folder: Path, uri: str, **options: Any) -> None:
        self.folder = folder
        self.options: dict[str, Any] = {
            "name": "p",
            "uri": uri,
            "watch": [],
            "serializer": '{ type = "json" }',
            "destination": 'type = "local"\npath = "lake"',
            "source": "",
            "settings": "batch_timeout = 0.2",
        }
        self.write(**options)

    def write(self, **options: Any) -> None:
        """Write the pipeline's file with these options changed. `partition` adds a line to a local destination."""
        partition = options.pop("partition", None)
        self.options |= options
        if partition:
            self.options["destination"] += f"\n{partition}"
        values = self.options | {name: json.dumps(self.options[name]) for name in ("uri", "watch")}
        (self.folder / "p.toml").write_text(FILE.format(**values))

    def command(self, *words: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        """The command with these words, to its end."""
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def once(self, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run until the stream has caught up."""
        return self.command("run", "p.toml", "--once", timeout=timeout)

    def must_run_once(self) -> str:
        """The same; whatever else than success fails the test. Returns what it wrote to stderr."""
        done = self.once()
        assert done.returncode == 0, done.stderr
        return done.stderr

    @contextmanager
    def running(self, streams: int = 1) -> Iterator["subprocess.Popen[bytes]"]:
        """The command in the background, from when its streams have begun; stopped at the end."""
        with (self.folder / "run.log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, "run", "p.toml", "--log-format", "json"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=_hear_of_hangups,
            )
        try:
            eventually(
                lambda: len(list((self.folder / "state").rglob("*.json"))) >= streams or process.poll() is not None
            )
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "run.log").read_text()

    def files(self, suffix: str) -> Sequence[Path]:
        """The data files below the lake, in the order of their paths."""
        found = (Path(folder, name) for folder, _, names in os.walk(self.folder / "lake") for name in names)
        return sorted(path for path in found if path.suffix == suffix and "_rigatoni" not in path.parts)

    def events(self) -> list[dict[str, Any]]:
        """What was delivered, as the lines of JSON files say it."""
        return [json.loads(line) for path in self.files(".ndjson") for line in path.read_text().splitlines()]

    def ids(self) -> list[Any]:
        """The `_id` of each document that was delivered."""
        return sorted(event["documentKey"]["_id"] for event in self.events() if "documentKey" in event)


def _hear_of_hangups() -> None:
    """Also where these tests run under nohup, whose children ignore the signal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def eventually(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until a condition holds, and return what it says."""
    deadline = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return said


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Status sockets of this test alone; a path to a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="rig-") as folder:
        monkeypatch.setenv("RIGATONI_RUNTIME_DIR", f"{folder}/run")
        yield


@pytest.fixture
def database(mongodb_uri: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A database of this test alone."""
    name = f"case{abs(hash(request.node.name)) % 10**8}"
    with MongoClient[Mapping[str, Any]](mongodb_uri) as client:
        client.drop_database(name)
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def case(tmp_path: Path, mongodb_uri: str) -> Callable[..., Case]:
    """Makes a pipeline's folder."""

    def make(watch: Sequence[str], *, uri: str = mongodb_uri, **options: Any) -> Case:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return Case(folder, uri, watch=list(watch), **options)

    return make


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def fail_point(mongodb_uri: str) -> Iterator[Callable[..., None]]:
    """Lets the server refuse the next commands of a kind with an error code of its own."""
    with MongoClient[Mapping[str, Any]](mongodb_uri) as client:

        def fail(command: str, code: int, *, times: int = 1) -> None:
            data = {"failCommands": [command], "errorCode": code}
            client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})

        yield fail
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real S3 server with the bucket `cases`."""
    with s3_server(tmp_path_factory.mktemp("s3") / "data") as server:
        server.client().create_bucket(Bucket="cases")
        yield server


@pytest.fixture
def fake_s3() -> Iterator[FakeS3]:
    """A fake of S3, for faults that no server makes on demand."""
    with FakeS3() as fake:
        yield fake


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
