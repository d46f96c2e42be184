"""Several `rigatoni run` of one configuration on one state folder: they divide the streams, and succeed each other."""

import json
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zstandard

WATCHED = ("one", "two")


@pytest.fixture
def shared(place, tmp_path, monkeypatch):
    """Configures the leases of a pipeline with two streams."""
    monkeypatch.setenv("RIGATONI_RUNTIME_DIR", str(tmp_path / "run"))

    def configure(lease_ttl, renew_interval):
        path = Path("pipeline.toml")
        watched = ", ".join(f'"{place.name}.{name}"' for name in WATCHED)
        text = path.read_text().replace(f'["{place.name}.orders"]', f"[{watched}]")
        leases = f"lease_ttl = {lease_ttl}\nlease_renew_interval = {renew_interval}\nlease_retry_interval = 0.2\n"
        path.write_text(text.replace("batch_size = 20\n", f"batch_size = 20\n{leases}"))

    return configure


@contextmanager
def running(name):
    """A process with its log in `<name>.log`."""
    command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
    with Path(f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=40)


def holders(database):
    """The process that holds each stream's lease; None if it is free."""
    found = []
    for name in WATCHED:
        path = Path(f"state/p/{database}.{name}.lease")
        text = path.read_text().strip() if path.exists() else ""
        lease = json.loads(text)["lease"] if text else None
        found.append(int(lease["instance"].partition("-")[0]) if lease else None)
    return found


def delivered():
    numbers = Counter()
    for path in sorted(Path("lake").rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            numbers.update(json.loads(line)["fullDocument"]["n"] for line in lines)
    return numbers


def divided(processes, database):
    return sorted(holders(database), key=str) == sorted((process.pid for process in processes), key=str)


def insert(place, numbers):
    for name in WATCHED:
        place[name].insert_many([{"n": f"{name} {n}"} for n in numbers])


def has_everything(until):
    return delivered() == Counter(f"{name} {n}" for name in WATCHED for n in range(until))


def test_processes_divide_the_streams_and_those_of_a_killed_one_are_taken_over_at_once(
    shared, place, wait_for, rigatoni
):
    shared(lease_ttl=900, renew_interval=0.3)  # the test would end long before a lease does
    with ExitStack() as stack:
        processes = [stack.enter_context(running(name)) for name in ("first", "second")]
        wait_for(lambda: divided(processes, place.name))
        insert(place, range(30))
        wait_for(lambda: has_everything(30))
        (stream,) = [
            name for name, holder in zip(WATCHED, holders(place.name), strict=True) if holder == processes[0].pid
        ]
        refused = rigatoni("state", "clear", "pipeline.toml", f"{place.name}.{stream}", "--yes")
        assert f"process {processes[0].pid} on " in refused.stderr
        assert "its lease expires in" in refused.stderr
        processes[0].kill()
        insert(place, range(30, 60))
        wait_for(lambda: has_everything(60))
        assert holders(place.name) == [processes[1].pid] * 2


def test_the_streams_of_a_frozen_process_are_taken_over_and_it_stops_them_when_it_continues(shared, place, wait_for):
    shared(lease_ttl=2, renew_interval=0.3)
    with ExitStack() as stack:
        processes = [stack.enter_context(running(name)) for name in ("first", "second")]
        wait_for(lambda: divided(processes, place.name))
        insert(place, range(30))
        wait_for(lambda: has_everything(30))
        processes[0].send_signal(signal.SIGSTOP)
        insert(place, range(30, 60))
        wait_for(lambda: has_everything(60))
        assert holders(place.name) == [processes[1].pid] * 2
        processes[0].send_signal(signal.SIGCONT)
        wait_for(lambda: '"event": "lease lost"' in Path("first.log").read_text())
        wait_for(lambda: divided(processes, place.name))  # it asks again, and gets its share back
        insert(place, range(60, 90))
        wait_for(lambda: has_everything(90))
