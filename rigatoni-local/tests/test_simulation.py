"""The delivery protocol under random crashes: writers interleave, crash and restart, and power fails.

The writers are threads that a seeded scheduler advances by one system call at a time. A crashed writer makes no further
changes; its earlier changes remain. When power fails, all writers crash, and any combination of changes that were not
durable yet (fsync of the file, fsync of the folder) is undone. The system calls are a documented fake, since no file
system loses power on demand. The files are real.
"""

import fcntl
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from bson import encode
from bson.timestamp import Timestamp as BsonTimestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.errors import DefinitionChangedError
from rigatoni_core.api.events import Definition, Position, Stream
from rigatoni_local.destination import LocalDestination
from rigatoni_objects.errors import UnfinishedBatchError
from rigatoni_objects.records import BatchRecord, DefinitionRecord
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.serializers import TokenLines

STREAM = Stream("lake", "shop.*")


class Crash(BaseException):
    """The process died."""


class Writer(threading.Thread):
    """A thread that pauses before each system call until the scheduler resumes it."""

    def __init__(self, machine: "Machine", work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.machine, self.work = machine, work
        self.go = threading.Semaphore(0)
        self.killed = self.finished = False
        self.failure: BaseException | None = None
        self.last_call = ""

    def run(self) -> None:
        try:
            self.pause()
            self.work()
        except Crash:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self.finished = True
            self.machine.paused.release()

    def pause(self) -> None:
        self.machine.paused.release()
        self.go.acquire()
        if self.killed:
            raise Crash

    def advance(self) -> None:
        """Let it make its next call; return when it pauses before the following one or has ended."""
        self.go.release()
        self.machine.paused.acquire()


class Machine:
    """Schedules writers and tracks which changes are durable."""

    def __init__(self) -> None:
        self.paused = threading.Semaphore(0)
        self.opened: dict[int, Path] = {}
        self.volatile: list[tuple[str, Path]] = []  # ("name" | "content", path), in order

    def start(self, work: Callable[[], None]) -> Writer:
        writer = Writer(self, work)
        writer.start()
        self.paused.acquire()
        return writer

    def kill(self, writer: Writer) -> None:
        """Disable the effects of all further calls of a writer, except closing its files."""
        writer.killed = True
        writer.advance()
        assert writer.finished

    def lose_power(self, chance: random.Random) -> None:
        """Undo a random subset of the changes that are not durable."""
        for kind, path in reversed(self.volatile):
            if chance.random() < 0.5:
                if kind == "content" and path.exists():
                    os.truncate(path, 0)
                elif kind == "name" and path.is_dir():
                    shutil.rmtree(path)
                elif kind == "name":
                    path.unlink(missing_ok=True)
        self.volatile.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Make each system call of a writer in this block a step, and track it until it is durable."""
        wrappers: dict[str, Any] = {
            name: self._step(name, getattr(os, name), getattr(self, f"_{name}", None)) for name in _CALLS
        }
        wrappers["fsync"] = self._step("fsync", lambda descriptor: None, self._fsync)
        wrappers["close"] = self._close_always(os.close)
        with mock.patch.multiple(os, **wrappers), mock.patch.object(fcntl, "flock", self._flock(fcntl.flock)):
            yield

    def _step(self, name: str, real: Callable[..., Any], remember: Callable[..., None] | None) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            writer = threading.current_thread()
            if not isinstance(writer, Writer):
                return real(*args, **options)
            if writer.killed:
                raise Crash
            writer.pause()
            writer.last_call = name
            result = real(*args, **options)
            if remember:
                remember(result, *args)
            return result

        return call

    def _close_always(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def close(descriptor: int) -> None:
            real(descriptor)  # the system closes a dead process's files, which releases its locks

        return close

    def _flock(self, real: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def flock(descriptor: int, operation: int) -> None:
            writer = threading.current_thread()
            assert isinstance(writer, Writer)
            while True:
                writer.pause()
                try:
                    return real(descriptor, operation | fcntl.LOCK_NB)
                except BlockingIOError:
                    if operation & fcntl.LOCK_NB:
                        raise

        return flock

    def _open(self, descriptor: int, path: Any, flags: int, *rest: Any) -> None:
        self.opened[descriptor] = Path(path)
        if flags & os.O_EXCL:
            self.volatile.append(("name", Path(path)))

    def _write(self, count: int, descriptor: int, content: Any) -> None:
        self.volatile.append(("content", self.opened[descriptor]))

    def _fsync(self, result: None, descriptor: int) -> None:
        path = self.opened[descriptor]
        self.volatile = [
            (kind, changed)
            for kind, changed in self.volatile
            if (kind, changed) != ("content", path) and not (kind == "name" and changed.parent == path)
        ]

    def _link(self, result: None, source: Any, target: Any, *rest: Any) -> None:
        self.volatile.append(("name", Path(target)))

    def _mkdir(self, result: None, path: Any, *rest: Any) -> None:
        self.volatile.append(("name", Path(path)))


_CALLS = ("open", "write", "link", "mkdir", "unlink", "stat")


class World:
    """A stream, a folder, checkpoints, and writers with their own limits, layouts and definitions."""

    def __init__(self, folder: Path, seed: int, length: int, layouts: list[tuple[str, ...]]) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        self.layouts = layouts
        self.raws = self._events(length)
        self.whole = batch_of(self.raws, stream=STREAM)
        self.tokens = [self.whole.token_and_time(index)[0] for index in range(length)]
        self.checkpoints: list[Position] = []
        self.machine = Machine()
        self.writers: list[Writer] = []
        self.ending = False
        self.turn: Writer | None = None
        self.burst = 0  # further calls in a row: some races need long turns, some short ones
        self.forced: int | None = None  # the layout that must finish an unfinished batch

    def _events(self, length: int) -> list[bytes]:
        """Events of a few namespaces; some share a cluster time, some cross an hour."""
        raws, seconds, increment = [], 1_700_000_000, 1
        for number in range(length):
            step = self.chance.random()
            if step < 0.1:
                seconds, increment = seconds + 1800, 1
            elif step < 0.6:
                increment += 1
            namespace = {"db": "shop", "coll": self.chance.choice("abc")}
            raws.append(encode(event_document(number, clusterTime=BsonTimestamp(seconds, increment), ns=namespace)))
        return raws

    def index_after(self, position: Position) -> int:
        token = position.resume_token
        return 0 if token == START.resume_token else self.tokens.index(token) + 1

    def position(self, index: int) -> Position:
        return self.whole[:index].end if index else START

    def work(self, layout: int, limit: int, checkpoint: Position | None) -> Callable[[], None]:
        """Return a writer like core's worker: it resumes from its checkpoint or the folder's end, or starts fresh."""
        now = self.position(self.chance.randrange(3))

        def run() -> None:
            chain = LocalDestination(
                path=self.folder, serializer=TokenLines(), partition_by=self.layouts[layout]
            ).chain(STREAM)
            position = checkpoint or chain.last_committed() or now
            try:
                position = chain.begin(Definition(f"layout {layout}", {}), position)
                self.checkpoints.append(position)
                while (index := self.index_after(position)) < len(self.raws):
                    stop = min(index + limit, len(self.raws))
                    batch = batch_of(self.raws[index:stop], stream=STREAM, after=position)
                    batch = batch[: chain.layout.split(batch)]
                    while fixed := chain.write(batch):
                        raws = self.raws[index : self.index_after(fixed)]
                        batch = batch_of(raws, stream=STREAM, after=position)
                    position = batch.end
                    self.checkpoints.append(position)
            except DefinitionChangedError:
                pass
            except UnfinishedBatchError:
                self.forced = self.newest_layout()

        return run

    def newest_layout(self) -> int:
        paths = (self.folder / STREAM.key / "_rigatoni").glob("definition-*.json")
        newest = max(paths, key=lambda path: int(path.stem.removeprefix("definition-")))
        return int(DefinitionRecord.parse(newest.read_bytes(), str(newest)).fingerprint.removeprefix("layout "))

    def start_writer(self, *, checkpoint: Position | None = None) -> None:
        layout = self.chance.randrange(len(self.layouts)) if self.forced is None else self.forced
        self.forced = None
        checkpoint = checkpoint or self.chance.choice([*self.checkpoints, None])
        self.writers.append(self.machine.start(self.work(layout, self.chance.randint(1, 6), checkpoint)))

    def run(self, deaths: int, outages: int) -> None:
        faults = ["death"] * deaths + ["outage"] * outages
        self.chance.shuffle(faults)
        with self.machine.watching():
            for fault in faults:
                for _ in range(self.chance.randrange(self.chance.choice([20, 100, 300]))):
                    self.step()
                if self.chance.random() < 0.7:
                    self.await_weak_moment(fault)
                if fault == "outage":
                    for writer in self.writers:
                        self.machine.kill(writer)
                    self.writers.clear()
                    self.machine.lose_power(self.chance)
                elif self.writers:
                    self.writers.sort(key=lambda writer: writer.last_call == "link")
                    self.machine.kill(self.writers.pop())
            self.ending = True
            while self.writers:
                self.step()
            for _ in range(3):  # retry writers that stopped for another definition or an unfinished batch
                if not self.writers:
                    self.start_writer(checkpoint=max(self.checkpoints, key=lambda it: it.order, default=None))
                while self.writers:
                    self.step()

    def await_weak_moment(self, fault: str) -> None:
        """Run until a new name is not durable yet (for a crash), or until just after a checkpoint (for an outage)."""
        saved = len(self.checkpoints)
        for _ in range(500):
            self.step()
            if fault == "death" and any(writer.last_call == "link" for writer in self.writers):
                return
            if fault == "outage" and len(self.checkpoints) > saved:
                return

    def step(self) -> None:
        """Make one system call of one writer."""
        while len(self.writers) < 2 and not self.ending:
            self.start_writer()
        if self.burst == 0 or self.turn not in self.writers:
            self.turn, self.burst = self.chance.choice(self.writers), self.chance.choice([1, 2, 5, 60])
        writer, self.burst = self.turn, self.burst - 1
        writer.advance()
        if writer.finished:
            self.writers.remove(writer)
            if writer.failure is not None:
                raise writer.failure


def check(world: World) -> None:
    """Check that one linear chain leads from the anchor to the end, and every event is in exactly one file."""
    folder = world.folder / STREAM.key
    definitions = [
        DefinitionRecord.parse(path.read_bytes(), str(path))
        for path in (folder / "_rigatoni").glob("definition-*.json")
    ]
    definitions.sort(key=lambda record: record.number)
    assert [record.number for record in definitions] == list(range(len(definitions)))
    here = begun = world.index_after(definitions[0].anchor)
    written: dict[str, list[int]] = {}
    for definition in definitions:
        assert world.index_after(definition.anchor) == here
        sidecars = sorted((folder / f"_rigatoni/batches/{definition.number}").glob("*/*.json"), key=lambda it: it.name)
        for sidecar in sidecars:
            record = BatchRecord.parse(sidecar.read_bytes(), str(sidecar))
            assert world.tokens.index(record.first.resume_token) == here
            for part in record.parts:
                indices = [world.tokens.index(line) for line in (folder / part.path).read_text().splitlines()]
                assert len(indices) == part.events
                assert part.path not in written
                written[part.path] = indices
            here = world.index_after(record.end)
    assert here == len(world.raws)
    assert sorted(index for indices in written.values() for index in indices) == list(range(begun, here))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.txt")} == set(written)
    for place in {str(Path(path).parent) for path in written}:
        listed = [written[path] for path in sorted(written) if str(Path(path).parent) == place]
        flat = [index for indices in listed for index in indices]
        assert flat == sorted(flat)  # listing order is stream order


def simulate(seed: int, layouts: list[tuple[str, ...]], deaths: int, outages: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), seed, 16, layouts)
        world.run(deaths, outages)
        check(world)


SEEDS = st.integers(0, 2**32)
BY_ALL = ("namespace", "hour")


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_two_writers_with_other_limits_that_die_make_one_chain(seed: int) -> None:
    simulate(seed, [()], deaths=4, outages=0)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_batches_over_several_partitions_and_two_writers_that_die_make_one_chain(seed: int) -> None:
    simulate(seed, [BY_ALL], deaths=4, outages=0)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_failing_power_loses_and_repeats_nothing(seed: int) -> None:
    simulate(seed, [BY_ALL], deaths=2, outages=2)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_definition_that_changes_while_writers_run_and_die_loses_and_repeats_nothing(seed: int) -> None:
    simulate(seed, [("namespace",), ("hour",), ()], deaths=4, outages=1)
