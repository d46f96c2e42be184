"""Several instances of one pipeline on one Redis: killed, paused and stopped at random, and not one change is lost.

    python examples/standby.py --instances 5 --seconds 300        (or: python -m nox -s standby -- --seconds 300)

Uses RIGATONI_MONGODB_URI and RIGATONI_REDIS_URL if they are set, else starts a MongoDB-compatible server and a Redis.
A writer changes six collections. Meanwhile, at random moments, the instance that holds most streams, or any other, is
killed (SIGKILL), paused for longer than its leases last and resumed (SIGSTOP, SIGCONT), or stopped cleanly (SIGTERM);
a Redis of its own is killed and restarted, too.
Then the files alone must tell every change of the writer's log exactly once and in order. How long each takeover took
is seen in Redis from outside.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from redis import Redis, exceptions
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_mongodb.testing.workload import Proof, Writer
from rigatoni_redis_state.testing.server import RedisServer

DATABASE = "rigatoni_standby"
COLLECTIONS = ("orders", "users", "carts", "items", "views", "notes")
TTL, RENEW, RETRY = 3.0, 1.0, 0.5
CAN_NOT_START = 3  # the exit code

CONFIGURATION = f"""\
[pipeline]
name = "standby"
batch_size = 200
batch_timeout = 0.2
lease_ttl = {TTL}
lease_renew_interval = {RENEW}
lease_retry_interval = {RETRY}

[pipeline.source]
type = "mongodb"
uri = {{ env = "RIGATONI_MONGODB_URI" }}
watch = {json.dumps([f"{DATABASE}.{name}" for name in COLLECTIONS])}
max_await_time = 0.2

[pipeline.destination]
type = "local"
path = "lake"
serializer = {{ type = "json" }}

[pipeline.state]
type = "redis"
url = {{ env = "RIGATONI_REDIS_URL" }}
prefix = "rigatoni-standby:"
"""


class Instance:
    """One `rigatoni run` as a user types it, restarted under the same name."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.resume_at: float | None = None
        self.start_at: float | None = None
        self.log = folder / f"{name}.log"
        self._started_at = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
        with self.log.open("ab") as log:
            self._started_at = log.tell()
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        self.start_at = None

    def suffer(self, what: str, moments: random.Random) -> None:
        if what == "paused":
            os.killpg(self.process.pid, signal.SIGSTOP)
            self.resume_at = time.monotonic() + TTL * moments.uniform(1.2, 2.0)
            return
        if what == "killed":
            self.kill()
        else:
            self.process.terminate()
            self.ended()
        self.start_at = time.monotonic() + moments.uniform(0.0, TTL)

    def tend(self) -> None:
        """Resume or restart it when its time has come, as a supervisor does."""
        now = time.monotonic()
        if self.start_at is None and (code := self.process.poll()) is not None:
            if code != CAN_NOT_START:
                raise RuntimeError(f"{self.name} ended with {code}: see {self.log}")
            self.start_at = now + RETRY  # Redis was away when it started
        if self.resume_at is not None and now >= self.resume_at:
            os.killpg(self.process.pid, signal.SIGCONT)
            self.resume_at = None
        if self.start_at is not None and now >= self.start_at:
            self.start()

    @property
    def works(self) -> bool:
        """Whether it runs and has come so far as to hold a lease or wait for one."""
        if self.resume_at is not None or self.start_at is not None:
            return False
        with self.log.open("rb") as log:
            log.seek(self._started_at)
            return b'"lease a' in log.read()

    def ended(self) -> None:
        """Wait until it has ended as it was asked to; a second signal would end it at once."""
        code = self.process.wait(timeout=60)
        if code not in (0, -signal.SIGTERM):  # the signal, where it had not begun to listen for it yet
            raise RuntimeError(f"{self.name} ended with {code}: see {self.log}")

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Watch(threading.Thread):
    """Looks from outside who holds each stream, and how long each was held by nobody who works."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.redis = Redis.from_url(url, decode_responses=True, protocol=2)
        self.keys = [f"rigatoni-standby:{{standby/{DATABASE}.{name}}}:lease" for name in COLLECTIONS]
        self.holders: dict[str, int] = {}  # key -> process
        self.takeovers: dict[str, list[float]] = collections.defaultdict(list)
        self._fallen: dict[str, tuple[float, int, str]] = {}  # key -> since when, process, what happened
        self._lock = threading.Lock()
        self.finish = threading.Event()

    def fell(self, process: int, what: str) -> None:
        """This process was killed, paused or stopped just now."""
        with self._lock:
            for key, holder in self.holders.items():
                if holder == process:
                    self._fallen[key] = (time.monotonic(), process, what)

    def forget(self) -> None:
        with self._lock:
            self.holders = {}
            self._fallen = {}

    def run(self) -> None:
        while not self.finish.is_set():
            try:
                leases = self.redis.mget(self.keys)
            except (exceptions.ConnectionError, exceptions.TimeoutError):
                self.forget()  # what the outage of Redis costs is no measure of a takeover
                continue
            with self._lock:
                self.holders = {
                    key: int(lease.split(":")[1]) for key, lease in zip(self.keys, leases, strict=True) if lease
                }
                for key, holder in self.holders.items():
                    if key in self._fallen and holder != self._fallen[key][1]:
                        since, _, what = self._fallen.pop(key)
                        self.takeovers[what].append(time.monotonic() - since)
            time.sleep(0.01)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--instances", type=int, default=3, help="how many run at once (default 3)")
    arguments.add_argument("--seconds", type=float, default=30.0, help="how long the writer writes (default 30)")
    arguments.add_argument("--seed", type=int, default=2026, help="what the random moments come from")
    arguments.add_argument("--folder", type=Path, default=Path("standby-output"), help="where the files go")
    options = arguments.parse_args()
    folder = options.folder
    for name in ("mongodb", "redis", "lake"):  # of an earlier run; whatever else is in the folder stays
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.toml").write_text(CONFIGURATION)
    with (
        mongodb_server(folder / "mongodb", variable="RIGATONI_MONGODB_URI") as uri,
        redis_server(folder / "redis") as (url, server),
    ):
        os.environ |= {"RIGATONI_MONGODB_URI": uri, "RIGATONI_REDIS_URL": url}
        instances = [Instance(f"instance-{number + 1}", folder.absolute()) for number in range(options.instances)]
        try:
            return run(uri, url, server, instances, options)
        finally:
            for instance in instances:
                instance.kill()


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, RedisServer | None]]:
    """The URL of a Redis, and the server where it is ours to restart."""
    if url := os.environ.get("RIGATONI_REDIS_URL"):
        yield url, None
        return
    with RedisServer(folder) as server:
        yield server.url, server


def run(uri: str, url: str, server: RedisServer | None, instances: list[Instance], options: argparse.Namespace) -> int:
    with MongoClient(uri) as client:
        client.drop_database(DATABASE)
    watch, moments = Watch(url), random.Random(options.seed)
    for key in watch.redis.scan_iter("rigatoni-standby:*"):
        watch.redis.delete(key)
    watch.start()
    for instance in instances:
        instance.start()
    pattern = "rigatoni-standby:*:checkpoint"
    wait_until(lambda: len(list(watch.redis.scan_iter(pattern))) == len(COLLECTIONS), "the streams begin")
    writer = Writer(uri, DATABASE, COLLECTIONS, seed=options.seed, pause=0.002)
    writer.start()
    happened = torture(instances, server, watch, moments, options.seconds)
    writer.finish.set()
    writer.join()
    say(f"the writer is done with {len(writer.log)} changes; all instances go on, stop, and one catches up")
    wait_until(lambda: all_work(instances), "all instances work")
    wait_until(lambda: len(watch.holders) == len(COLLECTIONS), "every stream is held")
    watch.finish.set()
    for instance in instances:
        instance.process.terminate()
    for instance in instances:
        instance.ended()
    command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"]
    subprocess.run(command, cwd=options.folder, check=True, timeout=120, capture_output=True)
    return report(options.folder, writer, watch, happened)


def torture(
    instances: list[Instance], server: RedisServer | None, watch: Watch, moments: random.Random, seconds: float
) -> "collections.Counter[str]":
    """Until the time is over, let something happen to one instance at a time; one at least always works."""
    happened: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds
    next_at = time.monotonic() + 1.0
    while time.monotonic() < end:
        for instance in instances:
            instance.tend()
        working = [instance for instance in instances if instance.works]
        if time.monotonic() >= next_at and len(working) > 1 and len(watch.holders) == len(COLLECTIONS):
            if server and moments.random() < 0.1:
                restart(server, moments)
                happened["redis"] += 1
                continue
            held = collections.Counter(watch.holders.values())
            busiest = max(working, key=lambda instance: held[instance.process.pid])
            victim = busiest if moments.random() < 0.7 else moments.choice(working)
            what = moments.choice(["killed", "killed", "paused", "paused", "stopped"])
            watch.fell(victim.process.pid, what)
            say(f"{victim.name}, which holds {held[victim.process.pid]} streams, is {what}")
            victim.suffer(what, moments)
            happened[what] += 1
            next_at = time.monotonic() + moments.uniform(0.3, 1.5 * TTL)
        time.sleep(0.02)
    return happened


def all_work(instances: list[Instance]) -> bool:
    for instance in instances:
        instance.tend()
    return all(instance.works for instance in instances)


def restart(server: RedisServer, moments: random.Random) -> None:
    seconds = moments.uniform(0.0, 1.5 * TTL)  # at times for longer than any lease lasts
    say(f"Redis is killed, and started again after {seconds:.1f} s")
    server.kill()
    time.sleep(seconds)
    server.start()


def report(folder: Path, writer: Writer, watch: Watch, happened: "collections.Counter[str]") -> int:
    """Compare the files with the writer's log and the collections; never with the pipeline's own counters."""
    proof = Proof.of(events_in(folder), writer)
    say("")
    for label, value in (
        ("changes written", proof.written),
        ("events in the files", proof.delivered),
        *((f"instances {what}", happened[what]) for what in ("killed", "paused", "stopped")),
        ("Redis restarted", happened["redis"]),
        ("takeovers", sum(map(len, watch.takeovers.values()))),
        *((f"slowest after one was {what}", f"{max(took):.2f} s") for what, took in sorted(watch.takeovers.items())),
        ("promised", f"{TTL + RETRY:.2f} s (lease_ttl + lease_retry_interval); stopped {2 * RETRY:.2f} s + batch"),
        ("lost", proof.lost),
        ("repeated", proof.repeated),
        ("streams out of order", proof.disordered),
        ("replayed files give the collections", "yes" if proof.same else "NO"),
    ):
        say(f"  {label:<36}{value}")
    return 0 if proof.holds else 1


def events_in(folder: Path) -> Iterator[dict[str, Any]]:
    """All events in the files, stream by stream in listing order."""
    for path in sorted((folder / "lake").rglob("*.ndjson")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def wait_until(condition, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
