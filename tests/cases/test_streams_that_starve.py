"""Streams that look healthy are read; whatever may pass is waited for, and harms no other stream or pipeline."""

import asyncio
import signal
import threading
import time
from urllib.parse import urlsplit

import pytest
from rigatoni_core.api.events import Definition
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_file_state import files
from rigatoni_file_state.store import FileStateStore
from rigatoni_testing.proxy import TcpProxy
from rigatoni_testing.scripted import Bucket, BucketDestination, Log, ScriptedSource

QUICK = "batch_timeout = 0.2\n[pipeline.retry]\nmax_retries = 2\nretry_delay = 0.1\nmax_retry_delay = 0.3"


@pytest.fixture
def proxy(mongodb_uri):
    """A network to the server that can be cut."""
    address = urlsplit(mongodb_uri)
    with TcpProxy(address.hostname, address.port) as between:
        yield between


def through(proxy) -> str:
    return f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true&serverSelectionTimeoutMS=700"


def test_more_streams_than_pooled_connections_are_all_read_or_refused(case, database, mongodb_uri, wait_until):
    """b01: those beyond maxPoolSize were never read, and their state was `running`."""
    names = [f"c{number}" for number in range(5)]
    many = case([f"{database.name}.{name}" for name in names], uri=f"{mongodb_uri}?maxPoolSize=2")
    with many.running(streams=len(names)) as process:
        if process.poll() is not None:
            assert "maxPoolSize" in many.log
            return
        for name in names:
            database[name].insert_one({"_id": name})
        wait_until(lambda: len(many.ids()) == len(names), 15)


@pytest.mark.parametrize(
    ("command", "code"),
    [*(("getMore", code) for code in (11601, 91, 8, 175, 999_999)), ("aggregate", 11601)],
)
def test_a_passing_server_error_stops_no_stream(case, database, fail_point, wait_until, command, code):
    """b08: killOp's 11601 without a label, codes that nobody knows."""
    passing = case([f"{database.name}.a", f"{database.name}.b"], settings=QUICK)
    with passing.running(streams=2) as process:
        if command == "aggregate":
            fail_point("getMore", 11601)
        fail_point(command, code)
        time.sleep(0.5)
        database.a.insert_one({"_id": "a"})
        database.b.insert_one({"_id": "b"})
        wait_until(lambda: passing.ids() == ["a", "b"], 20)
        assert process.poll() is None


TWO = """\
[[pipeline]]
name = "p1"
batch_timeout = 0.2
source = {{ type = "mongodb", uri = "{there}", watch = ["{name}.c1"], max_await_time = 0.1 }}
destination = {{ type = "local", path = "lake", serializer = {{ type = "json" }} }}
state = {{ type = "file", path = "state1" }}
[[pipeline]]
name = "p2"
batch_timeout = 0.2
source = {{ type = "mongodb", uri = "{away}", watch = ["{name}.c2"], max_await_time = 0.1 }}
destination = {{ type = "local", path = "lake", serializer = {{ type = "json" }} }}
state = {{ type = "file", path = "state2" }}
retry = {{ retry_delay = 0.1, max_retry_delay = 0.3 }}
"""


def test_a_source_that_is_away_at_the_start_is_waited_for(case, database, mongodb_uri, proxy, wait_until):
    """c14: one of two pipelines in a process never ran."""
    two = case([])
    (two.folder / "p.toml").write_text(TWO.format(there=mongodb_uri, away=through(proxy), name=database.name))
    (two.folder / "state").mkdir()
    proxy.cut()
    with two.running(streams=0) as process:
        wait_until(lambda: list((two.folder / "state1").rglob("*.json")))
        database.c1.insert_one({"_id": 1})
        wait_until(lambda: two.ids() == [1])
        time.sleep(2)
        proxy.restore()
        wait_until(lambda: list((two.folder / "state2").rglob("*.json")), 20)
        database.c2.insert_one({"_id": 2})
        wait_until(lambda: two.ids() == [1, 2], 20)
        assert process.poll() is None


def test_a_reload_while_the_source_is_away_keeps_the_process(case, database, proxy, wait_until):
    """c10: SIGHUP during an outage that a running pipeline survives."""
    away = case([f"{database.name}.c"], uri=through(proxy), settings=QUICK)
    with away.running() as process:
        database.c.insert_one({"_id": 1})
        wait_until(lambda: away.ids() == [1])
        proxy.cut()
        time.sleep(0.5)
        away.write(settings=QUICK.replace("0.2\n", "0.1\n"))
        process.send_signal(signal.SIGHUP)
        time.sleep(3)
        assert process.poll() is None
        database.c.insert_one({"_id": 2})
        proxy.restore()
        wait_until(lambda: away.ids() == [1, 2], 20)
        assert process.poll() is None


def test_many_hangups_at_once_do_no_harm(case, database, wait_until):
    """c10: the second one comes while the first is at work."""
    hurried = case([f"{database.name}.c"], settings=QUICK)
    with hurried.running() as process:
        for _ in range(40):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.02)
            assert process.poll() is None
        database.c.insert_one({"_id": 1})
        wait_until(lambda: hurried.ids() == [1], 20)
        assert process.poll() is None


async def test_a_state_folder_that_hangs_takes_no_more_threads_with_time(tmp_path, monkeypatch):
    """c17: each retry of each stream left another thread behind."""
    released = threading.Event()
    names = [f"shop.c{number}" for number in range(10)]

    class Hanging(ScriptedSource):
        def definition(self, stream):
            return Definition("fingerprint", {})

    pipeline = Pipeline(
        name="p",
        source=Hanging(logs={name: Log() for name in names}),
        destination=BucketDestination(bucket=Bucket()),
        state=FileStateStore(path=tmp_path / "state"),
        settings=Settings(
            write_timeout=0.1,
            shutdown_timeout=0.2,
            retry=RetrySettings(max_retries=8, retry_delay=0.02, max_retry_delay=0.05),
        ),
    )
    monkeypatch.setattr(files, "read", lambda _: released.wait())  # FAKE: a hard-mounted network folder
    task = asyncio.create_task(pipeline.run())
    try:
        await asyncio.sleep(1.0)
        early = threading.active_count()
        await asyncio.sleep(1.5)
        late = threading.active_count()
    finally:
        pipeline.stop()
        pipeline.stop()
        released.set()
        await task
    assert late <= early
    assert late <= len(names) * 2 + 10


def test_a_stopped_pipeline_reports_it_to_cron(case, database, proxy):
    """b08, c14: `run --once` with a source that stays away ends, and its exit code says so."""
    away = case([f"{database.name}.c"], uri=through(proxy), settings=QUICK)
    proxy.cut()
    done = away.once(timeout=50)
    assert done.returncode not in (0, -9)
