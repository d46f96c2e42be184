"""`rigatoni run --instances`: several processes share the streams, and a supervisor keeps them running."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

RUN = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
COLLECTIONS = ("one", "two", "three")
MEMORY = 'state={ type = "memory" }'
LEASES = "lease_ttl = 3.0\nlease_renew_interval = 0.5\nlease_retry_interval = 0.3"


@pytest.fixture
def shared(place, monkeypatch):
    """A database of which three collections are watched, with leases of a few seconds."""
    watched = ", ".join(f'"{place.name}.{name}"' for name in COLLECTIONS)
    text = Path("pipeline.toml").read_text()
    text = text.replace(f'"{place.name}.orders"', watched).replace("batch_size", f"{LEASES}\nbatch_size")
    Path("pipeline.toml").write_text(text)
    with tempfile.TemporaryDirectory(prefix="rig-") as folder:  # a path to a socket must be short
        monkeypatch.setenv("RIGATONI_RUNTIME_DIR", f"{folder}/run")
        yield place


def _hear_of_hangups():
    """Also where these tests run under nohup, whose children ignore the signal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def running(*options):
    """The supervisor in the background, its log and those of its instances in run.log; killed at the end."""
    with Path("run.log").open("wb") as log:
        process = subprocess.Popen([*RUN, *options], stderr=log, stdout=log, preexec_fn=_hear_of_hangups)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def log():
    """The lines of all processes. The last one may be incomplete."""
    return [json.loads(line) for line in Path("run.log").read_text().split("\n")[:-1] if line.startswith("{")]


def pids():
    """The process of each instance that was started last."""
    return {line["instance"]: line["pid"] for line in log() if line["event"] == "instance started"}


def holders(rigatoni, database):
    """The instance that runs each stream, by collection."""
    found = {}
    for status in json.loads(rigatoni("status", "pipeline.toml", "--json").stdout):
        for stream in status["pipelines"][0]["streams"] if status["pipelines"] else ():
            if stream["state"] == "running":
                assert stream["name"] not in found, "two instances run one stream"
                found[stream["name"].removeprefix(f"{database.name}.")] = status["instance"]
    return found


def spread(rigatoni, database):
    """Whether each of the three streams runs in an instance of its own."""
    return sorted(holders(rigatoni, database).values()) == ["1/3", "2/3", "3/3"]


def insert(database, numbers):
    for name in COLLECTIONS:
        database[name].insert_many([{"n": n} for n in numbers])


def delivered():
    """The numbers of each collection, in the order of the files."""
    found = {name: [] for name in COLLECTIONS}
    for path in sorted(Path("lake").rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            for event in map(json.loads, lines):
                found[event["ns"]["coll"]].append(event["fullDocument"]["n"])
    return found


def expected(count):
    return {name: list(range(count)) for name in COLLECTIONS}


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_streams_are_shared_and_survive_the_death_of_an_instance(shared, rigatoni, wait_for):
    with running("--instances", "3") as supervisor:
        wait_for(lambda: spread(rigatoni, shared), 60)
        insert(shared, range(100))
        wait_for(lambda: delivered() == expected(100))
        before = pids()
        assert {line["instance"] for line in log() if line["event"] == "lease acquired"} == set(before)
        shown = rigatoni("status", "pipeline.toml").stdout
        assert all(f"instance {number}/3, process {before[f'{number}/3']}" in shown for number in (1, 2, 3))
        os.kill(before["2/3"], signal.SIGKILL)
        insert(shared, range(100, 200))
        wait_for(lambda: delivered() == expected(200))  # another instance has taken over
        wait_for(lambda: pids()["2/3"] != before["2/3"] and spread(rigatoni, shared), 60)
        (crash,) = [line for line in log() if line["event"] == "instance crashed"]
        assert (crash["instance"], crash["exit_code"]) == ("2/3", 128 + signal.SIGKILL)
        insert(shared, range(200, 250))
        wait_for(lambda: delivered() == expected(250))
        supervisor.terminate()
        assert supervisor.wait(timeout=40) == 0
    assert not any(is_alive(pid) for pid in pids().values())
    assert {line["exit_code"] for line in log() if line["event"] == "instance ended"} == {0}
    assert delivered() == expected(250)


def test_instances_end_gracefully_when_their_supervisor_is_killed(shared, rigatoni, wait_for):
    with running("--instances", "2") as supervisor:
        wait_for(lambda: len(holders(rigatoni, shared)) == 3, 60)
        insert(shared, range(10))
        wait_for(lambda: delivered() == expected(10))
        supervisor.kill()
        wait_for(lambda: not any(is_alive(pid) for pid in pids().values()))
    insert(shared, range(10, 20))
    with running("--instances", "2", "--once") as supervisor:
        assert supervisor.wait(timeout=60) == 0
    assert delivered() == expected(20)


def test_a_hangup_reaches_every_instance(shared, rigatoni, wait_for):
    def rejected():
        return {line["instance"] for line in log() if line["event"].startswith("reload rejected")}

    with running("--instances", "2") as supervisor:
        wait_for(lambda: set(holders(rigatoni, shared).values()) == {"1/2", "2/2"}, 60)
        text = Path("pipeline.toml").read_text()
        Path("pipeline.toml").write_text(text.replace("batch_size = 20", "batch_size = 0"))
        supervisor.send_signal(signal.SIGHUP)
        wait_for(lambda: rejected() == {"1/2", "2/2"})
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(timeout=40) == 0


def test_what_keeps_all_instances_from_starting_is_reported_once(shared, rigatoni):
    Path("lake").write_text("a file where a folder should be")
    ended = rigatoni("run", "pipeline.toml", "--instances", "3", "--log-format", "json")
    assert ended.returncode == 3
    assert ended.stderr.count("error: ") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--instances", "0"), "0 is neither a number of instances from 1 on nor auto"),
        (("--instances", "many"), "many is neither a number of instances from 1 on nor auto"),
        (("--set", "instances=0"), "pipeline.instances: "),
        (
            ("--instances", "2", "--set", MEMORY),
            "p cannot run in 2 instances: the state store memory",
        ),
    ],
)
def test_wrong_numbers_and_stores_without_leases_are_refused(shared, rigatoni, options, message):
    ended = rigatoni("run", "pipeline.toml", *options)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "instance started" not in ended.stderr


def test_one_instance_is_an_ordinary_run(shared, rigatoni):
    ended = rigatoni("run", "pipeline.toml", "--once", "--instances", "1", "--set", MEMORY)
    assert ended.returncode == 0
    assert '"instance"' not in ended.stderr
