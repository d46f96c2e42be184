"""Breaks several instances of one pipeline at random, and checks that no change is lost, repeated or out of order.

    python -m nox -s torture -- --seconds 3600 --destination s3

The processes and servers are real: a MongoDB-compatible server, a Redis with the checkpoints and the leases, and local
files or an S3 server. A writer changes documents of five collections in three databases: insert, update, replace,
update, delete, insert, update, replace. Meanwhile, at random times, one of these happens:

- An instance is killed (SIGKILL), paused for longer than its leases last and resumed (SIGSTOP, SIGCONT), or stopped
  (SIGTERM).
- Redis is killed and restarted.
- The network to MongoDB, Redis or S3 is cut, or transmits nothing.
- The disk is full.

At the end the delivered events must contain every change of the writer's log exactly once and in order.
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from redis import Redis
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_mongodb.testing.workload import Proof, Writer
from rigatoni_redis_state.testing.server import RedisServer
from rigatoni_testing.proxy import TcpProxy

from torture.instances import COMMAND, Instance
from torture.lakes import LAKES, Lake
from torture.watch import Watch

NAMESPACES = ("sales.orders", "sales.carts", "people.users", "people.notes", "stock.items")
TTL, RENEW, RETRY = 3.0, 1.0, 0.5

CONFIGURATION = """\
[pipeline]
name = "torture"
batch_size = 200
batch_timeout = 0.2
write_timeout = 10
shutdown_timeout = 15
lease_ttl = {ttl}
lease_renew_interval = {renew}
lease_retry_interval = {retry}

[pipeline.retry]
max_retry_delay = 2

[pipeline.source]
type = "mongodb"
uri = {{ env = "RIGATONI_MONGODB_URI" }}
watch = {watch}
max_await_time = 0.2

[pipeline.destination]
{destination}

[pipeline.state]
type = "redis"
url = {{ env = "RIGATONI_REDIS_URL" }}
"""


def main() -> int:
    arguments = argparse.ArgumentParser(
        prog="torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--seconds", type=float, default=60.0, help="how long the writer writes (default 60)")
    arguments.add_argument("--destination", choices=LAKES, default="local", help="where the events go (default local)")
    arguments.add_argument("--instances", type=int, default=3, help="how many run at once (default 3)")
    arguments.add_argument("--seed", type=int, default=2026, help="what the random moments come from")
    arguments.add_argument("--folder", type=Path, default=Path("torture-output"), help="where files and logs go")
    arguments.add_argument("--json", action="store_true", help="the report as JSON")
    options = arguments.parse_args()
    folder = options.folder.absolute()
    for name in ("mongodb", "redis"):  # of an earlier run; other files in the folder stay
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        uri = stack.enter_context(mongodb_server(folder / "mongodb"))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        lake = stack.enter_context(LAKES[options.destination](folder))
        torture = Torture(stack, folder, uri, redis, lake, options)
        report = torture.run(options.seconds)
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else in_words(report))
    return 0 if report["holds"] else 1


class Torture:
    """The instances, their servers behind proxies, and the faults."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        uri: str,
        redis: RedisServer,
        lake: Lake,
        options: argparse.Namespace,
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.lake = lake
        self.moments = random.Random(options.seed)
        self.happened: collections.Counter[str] = collections.Counter()
        self.writer = Writer(uri, NAMESPACES, seed=options.seed, pause=0.004)
        to_mongodb = stack.enter_context(TcpProxy.to(uri))
        to_redis = stack.enter_context(TcpProxy("127.0.0.1", redis.port))
        self.proxies = {"MongoDB": to_mongodb, "Redis": to_redis, **lake.proxies}
        self.environment = {
            **lake.environment,
            "RIGATONI_MONGODB_URI": f"mongodb://127.0.0.1:{to_mongodb.port}/?directConnection=true",
            "RIGATONI_REDIS_URL": f"redis://127.0.0.1:{to_redis.port}/0",
        }
        configuration = CONFIGURATION.format(
            ttl=TTL, renew=RENEW, retry=RETRY, watch=json.dumps(NAMESPACES), destination=lake.configuration
        )
        (folder / "pipeline.toml").write_text(configuration)
        self.watch = Watch(redis.url, [f"rigatoni:{{torture/{name}}}:lease" for name in NAMESPACES])
        self.instances = []
        for number in range(options.instances):
            instance = Instance(f"instance-{number + 1}", folder, self.environment, TTL)
            instance.log.unlink(missing_ok=True)
            stack.callback(instance.kill)
            self.instances.append(instance)
        self._mend: list[tuple[float, Any]] = []  # the time, and the action

    def run(self, seconds: float) -> dict[str, Any]:
        """Inject faults for this many seconds, and return the report."""
        client: MongoClient[dict[str, Any]]
        with MongoClient(self.writer.uri) as client:
            for name in {name.partition(".")[0] for name in NAMESPACES}:
                client.drop_database(name)
        self.watch.start()
        for instance in self.instances:
            instance.start()
        self._wait(lambda: self._checkpoints() == len(NAMESPACES), "the streams begin")
        self.writer.start()
        self._break_things(seconds)
        self.writer.finish.set()
        self.writer.join()
        say(
            f"the writer is done with {len(self.writer.log)} changes; all is mended, the instances stop, one catches up"
        )
        self._wait(lambda: not self._mend, "all is mended", 60)
        self._wait(lambda: all(each.works for each in self.instances), "all instances work", 120)
        self._wait(lambda: len(self.watch.holders) == len(NAMESPACES), "every stream is held", 60)
        self.watch.finish.set()
        for instance in self.instances:
            instance.process.terminate()
        for instance in self.instances:
            instance.ended()
        last = subprocess.run(
            [*COMMAND, "--once"],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            timeout=300,
        )
        if last.returncode:
            raise RuntimeError(f"the last run ended with {last.returncode}: {last.stderr.decode()[-2000:]}")
        return self._report(seconds)

    def _break_things(self, seconds: float) -> None:
        """Inject faults until the time is over. At least one instance always runs, and at most one server is down."""
        end, told = time.monotonic() + seconds, time.monotonic()
        next_at = time.monotonic() + 1.0
        while (now := time.monotonic()) < end:
            self._tend()
            if now >= next_at:
                working = [instance for instance in self.instances if instance.works]
                if self.moments.random() < 0.35 and not self._mend:
                    self._break_a_server()
                elif len(working) > 1:
                    self._break_an_instance(working)
                next_at = now + self.moments.uniform(0.3, 1.5 * TTL)
            if now - told >= 15:
                told = now
                say(f"{end - now:.0f} s to go, {len(self.writer.log)} changes, {self.happened.total()} faults")
            time.sleep(0.02)

    def _tend(self) -> None:
        for instance in self.instances:
            instance.tend()
        due = [each for each in self._mend if time.monotonic() >= each[0]]
        for each in due:
            self._mend.remove(each)
            each[1]()
            self.watch.forget()

    def _break_an_instance(self, working: list[Instance]) -> None:
        held = collections.Counter(self.watch.holders.values())
        busiest = max(working, key=lambda instance: held[instance.process.pid])
        victim = busiest if self.moments.random() < 0.7 else self.moments.choice(working)
        what = self.moments.choice(["killed", "killed", "paused", "paused", "stopped"])
        if self._mend and what == "stopped":
            what = "killed"  # a clean stop would wait for the broken server, which other tests cover
        if not self._mend:
            self.watch.fell(victim.process.pid, what)
        self._note(f"instance {what}", f"{victim.name}, which holds {held[victim.process.pid]} streams, is {what}")
        victim.suffer(what, self.moments)

    def _break_a_server(self) -> None:
        self.watch.forget()
        seconds = self.moments.uniform(0.2, 2.0 * TTL)  # sometimes for longer than a lease
        what = self.moments.choice(["restart", "cut", "cut", "stall", "full"])
        if what == "full" and self.lake.fill():
            self._note("disk full", f"the disk is full for {seconds:.1f} s")
            self._later(seconds, self.lake.make_room)
        elif what == "restart":
            self._note("Redis restarted", f"Redis is killed, and started again after {seconds:.1f} s")
            self.redis.kill()
            self._later(seconds, self.redis.start)
        else:
            name, proxy = self.moments.choice(list(self.proxies.items()))
            if what == "stall":
                self._note(f"network to {name} stalled", f"nothing passes to {name} for {seconds:.1f} s")
                proxy.stall()
            else:
                self._note(f"network to {name} cut", f"the network to {name} is cut for {seconds:.1f} s")
                proxy.cut()
            self._later(seconds, proxy.restore)

    def _later(self, seconds: float, mend: Any) -> None:
        self._mend.append((time.monotonic() + seconds, mend))

    def _note(self, what: str, text: str) -> None:
        self.happened[what] += 1
        say(text)

    def _checkpoints(self) -> int:
        with Redis.from_url(self.redis.url, protocol=2) as client:
            return sum(1 for _ in client.scan_iter("rigatoni:*:checkpoint"))

    def _wait(self, condition: Any, what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}: not within {seconds:.0f} s; the logs are in {self.folder}")
            self._tend()
            time.sleep(0.05)

    def _report(self, seconds: float) -> dict[str, Any]:
        """Compare the delivered events with the writer's log and the collections, not with the pipeline's counters."""
        proof = Proof.of(self.lake.events(), self.writer)
        return {
            "seconds": seconds,
            "changes written": proof.written,
            "events delivered": proof.delivered,
            **dict(sorted(self.happened.items())),
            "takeovers": sum(map(len, self.watch.takeovers.values())),
            **{
                f"slowest takeover after one was {what}, seconds": round(max(took), 2)
                for what, took in sorted(self.watch.takeovers.items())
            },
            "promised, seconds": TTL + RETRY,
            "lost": proof.lost,
            "repeated": proof.repeated,
            "streams out of order": proof.disordered,
            "replayed, it gives the collections": proof.same,
            "holds": proof.holds,
        }


def in_words(report: Mapping[str, Any]) -> str:
    lines = [f"  {label:<44}{value}" for label, value in report.items() if label != "holds"]
    verdict = "Every change was delivered exactly once and in order." if report["holds"] else "A PROMISE WAS BROKEN."
    return "\n".join(["", *lines, "", verdict, ""])


def say(text: str) -> None:
    """Print progress on stderr. Only the report is on stdout."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
