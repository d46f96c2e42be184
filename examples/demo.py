"""Loads two collections and their changes into files, kills the pipeline five times, and proves that nothing is lost.

    python examples/demo.py            (or: python -m nox -s demo)

Uses RIGATONI_MONGODB_URI if it is set, otherwise starts a MongoDB-compatible server from PyPI. 20,000 documents exist
before the pipeline starts, which reads them as a snapshot. Meanwhile a writer changes two collections and keeps its own
log, and the demo kills the pipeline five times without warning. Then the files must contain every change of the log
exactly once, and a replay of the files must reproduce the collections.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import zstandard
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_mongodb.testing.workload import Proof, Writer

DATABASE = "rigatoni_demo"
NAMESPACES = (f"{DATABASE}.orders", f"{DATABASE}.users")
KILLS = 5
EXISTING = 20_000

CONFIGURATION = """\
[pipeline]
name = "demo"
batch_size = 500
batch_timeout = 0.3

[pipeline.snapshot]
mode = "initial"

[pipeline.source]
type = "mongodb"
uri = {{ env = "RIGATONI_MONGODB_URI" }}
watch = ["{database}.orders", "{database}.users"]
max_await_time = 0.2

[pipeline.destination]
type = "local"
path = "lake"
serializer = {{ type = "zstd", inner = {{ type = "json" }} }}

[pipeline.state]
type = "file"
path = "state"
"""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=15.0, help="duration of the writes in seconds (default 15)")
    arguments.add_argument("--seed", type=int, default=2026, help="seed of the random moments")
    arguments.add_argument("--folder", type=Path, default=Path("demo-output"), help="folder of the files")
    options = arguments.parse_args()
    for name in ("mongodb", "lake", "state"):  # of an earlier demo; other files in the folder stay
        shutil.rmtree(options.folder / name, ignore_errors=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "pipeline.log").unlink(missing_ok=True)
    (options.folder / "pipeline.toml").write_text(CONFIGURATION.format(database=DATABASE))
    say(f"{EXISTING:,} documents exist in two collections, which a writer changes for {options.seconds:.0f} s.")
    say(f"The demo kills the pipeline {KILLS} times.")
    with mongodb_server(options.folder / "mongodb", variable="RIGATONI_MONGODB_URI") as uri:
        where = (
            "RIGATONI_MONGODB_URI" if "RIGATONI_MONGODB_URI" in os.environ else "a temporary MongoDB-compatible server"
        )
        say(f"MongoDB: {where}; files, positions and the log: {options.folder}/\n")
        return run(uri, options.folder, options.seconds, options.seed)


def run(uri: str, folder: Path, seconds: float, seed: int) -> int:
    moments = random.Random(seed)
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri) as client:
        client.drop_database(DATABASE)
    writer = Writer(uri, NAMESPACES, seed=seed, existing=EXISTING // len(NAMESPACES))
    writer.prepare()
    started = time.monotonic()
    pipeline = Pipeline(folder, uri)
    pipeline.start()
    pipeline.wait_until_anchored()
    writer.start()
    for kill in range(1, KILLS + 1):
        if kill == 2:  # at least once between a durable write and its checkpoint
            pipeline.kill_before_next_checkpoint()
        else:
            time.sleep(seconds / KILLS * moments.uniform(0.4, 1.4))
            pipeline.kill()
        say(f"kill {kill} of {KILLS}: SIGKILL {pipeline.moment}; {len(writer.log)} changes so far")
        pipeline.start()
    pipeline.wait_until_running()
    time.sleep(seconds / KILLS)
    writer.finish.set()
    writer.join()
    say(f"the writer has made {len(writer.log)} changes; the pipeline stops and catches up")
    pipeline.stop()
    pipeline.run_once()
    elapsed = time.monotonic() - started
    return report(folder, writer, elapsed)


class Pipeline:
    """The real command as a user types it, in its own process."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "RIGATONI_MONGODB_URI": uri}
        self.command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
        self.process: subprocess.Popen[bytes]  # since `start`
        self.moment = ""
        self._started_at = 0  # in the log

    def start(self) -> None:
        with (self.folder / "pipeline.log").open("ab") as log:
            self._started_at = log.tell()
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait_until_anchored(self) -> None:
        """Wait for the first saved positions: earlier changes are not captured."""
        self._wait_for(lambda: all(self._checkpoint(stream).exists() for stream in NAMESPACES), 30)

    def wait_until_running(self) -> None:
        """Wait until the log of this start reports each stream's position."""

        def running() -> bool:
            with (self.folder / "pipeline.log").open("rb") as log:
                log.seek(self._started_at)
                return log.read().count(b"resumes from") >= len(NAMESPACES)

        self._wait_for(running, 30)

    def kill(self) -> None:
        self.moment = "at a random moment"
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_before_next_checkpoint(self) -> None:
        """Freeze the process as soon as a new object of changes exists, and kill it if the checkpoint is older."""
        for _ in range(200):
            before = set(self._changes())
            self._wait_for(partial(self._changes_since, before), 10)
            os.killpg(self.process.pid, signal.SIGSTOP)
            new = max(self._changes_since(before))
            if self._checkpoint(new.parent.name).stat().st_mtime_ns < new.stat().st_mtime_ns:
                self.kill()
                self.moment = "between a durable write and its checkpoint"
                return
            os.killpg(self.process.pid, signal.SIGCONT)
        raise RuntimeError("no kill fell between a write and its checkpoint")

    def stop(self) -> None:
        self.process.terminate()
        if self.process.wait(timeout=40) != 0:
            raise RuntimeError(f"the pipeline ended with {self.process.returncode}: see {self.folder}/pipeline.log")

    def run_once(self) -> None:
        subprocess.run(
            [*self.command, "--once"],
            cwd=self.folder,
            env=self.environment,
            check=True,
            timeout=60,
            capture_output=True,
        )

    def _checkpoint(self, stream: str) -> Path:
        return self.folder / "state" / "demo" / f"{stream}.json"

    def _changes(self) -> list[Path]:
        """The existing objects of changes.

        The chunks of snapshots lie in folders of their own and have no checkpoint: their objects are their positions.
        """
        folders = [self.folder / "lake" / "demo" / stream for stream in NAMESPACES]
        return [path for folder in folders for path in folder.glob("*.ndjson.zst")]

    def _changes_since(self, before: set[Path]) -> set[Path]:
        return set(self._changes()) - before

    def _wait_for(self, condition: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the pipeline makes no progress: see {self.folder}/pipeline.log")
            time.sleep(0.0005)


def report(folder: Path, writer: Writer, elapsed: float) -> int:
    """Compare the files with the writer's log and the collections, not with the pipeline's own counters."""
    objects = sorted((folder / "lake").rglob("*.ndjson.zst"))
    proof = Proof.of(events_in(objects), writer)
    say("")
    for label, value in (
        ("changes written", proof.written),
        ("changes in the files", proof.delivered),
        ("rows of snapshots in the files", proof.rows),
        ("objects", len(objects)),
        ("rate", f"{proof.written / elapsed:.0f} changes/s for {elapsed:.0f} s"),
        ("restarts by SIGKILL", KILLS),
        ("lost", proof.lost),
        ("repeated", proof.repeated),
        ("streams out of order", proof.disordered),
        ("replayed files give the collections", "yes" if proof.same else "NO"),
    ):
        say(f"  {label:<36}{value}")
    say("\nThe demo compared the files with the writer's own log, not with the pipeline's counters.")
    say(f"The configuration is {folder}/pipeline.toml. To print part of the result:\n")
    say(f"  python -c \"import zstandard, sys; sys.stdout.write(zstandard.open('{objects[0]}', 'rt').read(2000))\"\n")
    return 0 if proof.holds else 1


def events_in(objects: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The events in these files, in order."""
    for path in objects:
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
