"""The execution of one schedule, from its first process to the verdict."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from rigatoni_core.api.contracts import Destination, Source, StateStore
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.paths import batch_path, lead_path
from rigatoni_objects.store import Record

from rigatoni_testing.clock import EverythingWaitsError, NothingAdvancesError, run_virtual
from rigatoni_testing.simulation.bucket import Appended, Bucket
from rigatoni_testing.simulation.destination import (
    AppendDestination,
    ChainDestination,
    LetterDestination,
    Numbers,
    SidecarDestination,
)
from rigatoni_testing.simulation.endings import examine
from rigatoni_testing.simulation.ledger import Account, Ledger
from rigatoni_testing.simulation.log import EventLog
from rigatoni_testing.simulation.network import WRITE_TIMEOUT, Network, world_time
from rigatoni_testing.simulation.process import Process, ProcessLoop, in_world, running_loop
from rigatoni_testing.simulation.reporter import Reporter
from rigatoni_testing.simulation.schedule import MAX_BATCH_BYTES, STREAMS, Happening, Life, Schedule, WorldEvent
from rigatoni_testing.simulation.servers import ModelLeaseStore, ModelSource, ModelStateStore
from rigatoni_testing.simulation.verdict import judge

PIPELINE = "simulated"
REPLY_EVENTS = 12
BUFFER = 2000
LAST_LIFE = 1000.0
"""Seconds within which the last run, which is free of faults, must deliver everything."""


@attrs.frozen
class Parts:
    """The factories of the simulated components; tests replace them."""

    pipeline: Callable[..., Pipeline] = Pipeline
    chain: Callable[..., Destination] = ChainDestination
    sidecar: Callable[..., Destination] = SidecarDestination
    append: Callable[..., Destination] = AppendDestination
    letters: Callable[..., Destination] = LetterDestination
    state: Callable[..., StateStore] = ModelStateStore
    leases: Callable[..., StateStore] = ModelLeaseStore
    source: Callable[..., Source] = ModelSource
    store: Callable[[], MemoryStateStore] = MemoryStateStore


@attrs.frozen
class Outcome:
    """The result of a schedule: its broken guarantees and, if requested, its story."""

    violations: tuple[str, ...]
    story: tuple[str, ...]
    batches: int
    struck: int


def simulate(schedule: Schedule, parts: Parts = Parts(), *, story: bool = False) -> Outcome:
    """Execute one schedule. The same schedule always has the same outcome."""
    before = random.getstate()
    random.seed(schedule.seed)  # the jitter of core's delays
    try:
        return run_virtual(_simulate(schedule, parts, story), ProcessLoop)
    except (EverythingWaitsError, NothingAdvancesError) as error:
        return Outcome((f"{type(error).__name__}: {error}",), (), 0, 0)
    finally:
        random.setstate(before)


async def _simulate(schedule: Schedule, parts: Parts, story: bool) -> Outcome:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # futures without a reader
    world = World(schedule, parts, story)
    try:
        await world.run()
    finally:
        await world.end()
    batches = sum(len(account.bucket.leads) if account.bucket else 0 for account in world.ledger.accounts.values())
    return Outcome(tuple(world.ledger.violations), tuple(world.story), batches, world.struck)


class World:
    """The servers, the processes and the operator of one schedule."""

    def __init__(self, schedule: Schedule, parts: Parts, story: bool) -> None:
        self.schedule = schedule
        self.parts = parts
        self.tell = self._tell if story else _untold
        self.tells = story
        self.story: list[str] = []
        self.struck = 0
        chance = random.Random(schedule.seed)  # noqa: S311 (no secret)
        self.streams = {name: Stream(PIPELINE, name) for name in STREAMS}
        self.logs = {
            stream.key: EventLog(stream, chance, schedule.events, schedule.seconds, poisoned=schedule.poisoned)
            for stream in self.streams.values()
        }
        chain = schedule.keeps_chain
        carries = schedule.carries_records
        self.buckets = (
            {key: Bucket(log, carries, schedule.folds_case) for key, log in self.logs.items()} if chain else {}
        )
        self.appended = {key: Appended(log) for key, log in self.logs.items()} if not chain else {}
        self.ledger = Ledger(
            {key: Account(log, self.buckets.get(key), self.appended.get(key)) for key, log in self.logs.items()},
            schedule.keeps_leases,
            BUFFER + MAX_BATCH_BYTES,  # a full buffer, and another run's batch that is being read to its end
        )
        self.store = parts.store()
        self.damaged: set[str] = set()
        for key, bucket in self.buckets.items():
            bucket.on_lead = partial(self.ledger.begins, self.logs[key].stream)
        self.foreign: list[tuple[Bucket, str]] = []
        self.vanished: list[tuple[Bucket, str, tuple[bytes, Record]]] = []
        self.processes: list[Process] = []
        self.networks: list[Network] = []

    async def run(self) -> None:
        """Run all lives, then one without faults, then the verdict. Ends early if a guarantee is broken."""
        loop = running_loop()
        for log in self.logs.values():
            for at, visible in log.arrivals:
                in_world(loop, at, log.show, visible)
        for happening in self.schedule.happenings:
            in_world(loop, happening.at, self._happen, happening)
        lives = [asyncio.create_task(self._live(number, life)) for number, life in enumerate(self.schedule.lives)]
        lived = asyncio.create_task(asyncio.wait(lives))
        violated = asyncio.create_task(self.ledger.violated.wait())
        await asyncio.wait([lived, violated], return_when=asyncio.FIRST_COMPLETED)
        if lived.done():
            for life in lives:
                life.result()
            await asyncio.sleep(max(0.0, self.schedule.seconds - world_time()) + 40.0)  # late requests arrive, too
            last = asyncio.create_task(self._last())
            await asyncio.wait([last, violated], return_when=asyncio.FIRST_COMPLETED)
            if last.done():
                last.result()
        else:
            lived.cancel()
        violated.cancel()
        if not self.ledger.violations:
            judge(self.ledger)

    async def end(self) -> None:
        """Unwind the remaining processes."""
        for process in self.processes:
            process.kill()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        for process in self.processes:
            process.bury()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self, number: int, life: Life) -> None:
        await asyncio.sleep(life.begins)
        self.tell(f"run {number} begins: {life}")
        network, pipeline = self._process(number, life)
        network.asked = life.once
        running = self._start(network, pipeline, once=life.once)
        died = asyncio.create_task(network.process.died.wait())
        await asyncio.wait([running, died], timeout=life.ends, return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not network.process.dead and life.killed:
            self.tell(f"run {number} is killed")
            network.process.kill()
        elif not running.done() and not network.process.dead:
            self.tell(f"run {number} is asked to stop")
            await examine(self.ledger, network, pipeline, running, died, twice=life.twice)
        died.cancel()
        if running.done():
            self._ended(number, network, running)
        self.struck += network.struck

    async def _last(self) -> None:
        """Run without faults, as after an operator's repair: it must deliver everything and end by itself."""
        for bucket, key in self.foreign:
            bucket.remove(key)
        for bucket, key, (content, record) in self.vanished:
            bucket.put(key, content, record)
        begins = world_time()
        self.tell("the last run begins; no more faults")
        definition = max((life.definition for life in self.schedule.lives), default=1)
        upgraded = any(life.upgraded for life in self.schedule.lives)
        life = Life(begins, LAST_LIFE, definition=definition, upgraded=upgraded)
        network, pipeline = self._process(-1, life, last=True)
        network.asked = True
        running = self._start(network, pipeline, once=True)
        await asyncio.wait([running], timeout=LAST_LIFE)
        if not running.done():
            self.ledger.violation("the last run does not end despite the absence of faults")
        else:
            self._ended(-1, network, running)
            if any(outcome.error for outcome in running.result().workers.values()):
                self.ledger.violation(f"the last run fails: {running.result().workers}")

    def _process(self, number: int, life: Life, *, last: bool = False) -> tuple[Network, Pipeline]:
        process = Process(f"run {number}")
        chance = random.Random(f"{self.schedule.seed}/{number}")  # noqa: S311 (no secret)
        faults = [fault for fault in self.schedule.faults if fault.life == number]
        network = Network(process, chance, faults, self.tell, self.ledger.violation)
        self.processes.append(process)
        self.networks.append(network)
        shared: dict[str, Any] = {"network": network, "ledger": self.ledger}
        if self.schedule.keeps_chain:
            make = self.parts.chain if self.schedule.carries_records else self.parts.sidecar
            poison = {} if life.upgraded else {key: log.poison for key, log in self.logs.items()}
            destination = make(
                buckets=self.buckets, serializer=Numbers(poison=poison), **self.schedule.layout.options, **shared
            )
        else:
            destination = self.parts.append(appended=self.appended, **shared)
        state = self.parts.leases if self.schedule.keeps_leases else self.parts.state
        pipeline = self.parts.pipeline(
            name=PIPELINE,
            source=self.parts.source(
                logs=self.logs,
                names=STREAMS,
                fingerprint=f"definition {life.definition}",
                reply_events=REPLY_EVENTS,
                **shared,
            ),
            destination=destination,
            dead_letters=self.parts.letters(**shared) if self.schedule.poisoned else None,
            state=state(store=self.store, damaged=self.damaged, **shared),
            settings=_settings(life, restart_from_now=last or self.schedule.restart_from_now),
            listeners=[Reporter(network, self.tell if self.tells else None)],
            owner=process.name,
        )
        return network, pipeline

    def _start(self, network: Network, pipeline: Pipeline, *, once: bool = False) -> "asyncio.Task[Any]":
        network.process.main = running_loop().start(network.process, pipeline.run(once=once))
        return network.process.main

    def _ended(self, number: int, network: Network, running: "asyncio.Task[Any]") -> None:
        """Check a run that returned: each failed worker must have had a reason."""
        report = running.result()
        for name, outcome in report.workers.items():
            self.tell(f"run {number} of {name} ended: {outcome.error or ('cut off' if outcome.abandoned else 'well')}")
            account = self.ledger.accounts[self.streams[name].key]
            if outcome.error and not self._had_reason(outcome.error, network, account):
                self.ledger.violation(f"run {number} of {name} failed without a reason: {outcome.error!r}")

    def _had_reason(self, error: Exception, network: Network, account: Account) -> bool:
        return error in network.denied or {
            "DeadLetterError": bool(network.denied),
            "PositionLostError": account.log.forgotten > 0,
            "CorruptCheckpointError": account.damaged,
            "ForeignObjectError": bool(self.foreign),
            "MissingDefinitionError": bool(self.foreign or self.vanished),
            "ChainError": any(life.upgraded for life in self.schedule.lives),
            "DefinitionChangedError": len(account.bucket.definitions) > 1
            if account.bucket
            else any(each.record and each.record.number for each in self.appended.values()),
        }.get(type(error).__name__, False)

    def _happen(self, happening: Happening) -> None:
        self.tell(f"for {happening.stream} {happening.event}")
        key = self.streams[happening.stream].key
        account = self.ledger.accounts[key]
        match happening.event:
            case WorldEvent.HISTORY_ROLLS:
                account.log.forgotten = account.log.visible
            case WorldEvent.RECORD_DAMAGED:
                self.damaged.add(key)
                account.damaged = account.restored = True
            case WorldEvent.STATE_LOST | WorldEvent.STATE_RESTORED:
                account.restored = True
                self._replace_record(account, happening.event)
            case WorldEvent.FOREIGN_OBJECT:
                self._put_foreign(account)
            case WorldEvent.DEFINITION_LOST:
                if (bucket := account.bucket) is not None and bucket.leads:
                    self.vanished += ((bucket, path, it) for path, it in bucket.vanish_definitions().items())

    def _replace_record(self, account: Account, event: WorldEvent) -> None:
        """Change the records as an operator would, bypassing the store and its fencing tokens."""
        stream, old = account.log.stream, account.backup
        account.restored = True
        account.record = None
        if event is WorldEvent.STATE_LOST or old is None:
            store = self.store  # an emptied server: it forgets grants as well
            for kept in (store._checkpoints, store._cleared, store._fencing_tokens, store._leases):
                kept.pop(stream.key, None)
        else:
            account.record = self.store._checkpoints[stream.key] = old  # which may be at the end

    def _put_foreign(self, account: Account) -> None:
        log, number, bucket = account.log, self.ledger.durable(account), account.bucket
        if bucket is None or number is None or number == len(log):
            return
        first = Position(log.tokens[number], "foreign", log.times[number], log.ordinals[number])
        layout = FileLayout(Numbers(), **self.schedule.layout.options)
        newest = max(len(bucket.definitions) - 1, 0)
        if bucket.carries:
            key = layout.only_path(first, log.stream) or lead_path(newest, first)
        else:
            key = batch_path(newest, first)
        if bucket.find(key) is None:
            bucket.put(key, b"mine", {})
            self.foreign.append((bucket, key))

    def _tell(self, text: str) -> None:
        self.story.append(f"{world_time():7.2f} s  {text}")


def _untold(text: str) -> None:
    """Discard the story."""


def _settings(life: Life, *, restart_from_now: bool) -> Settings:
    return Settings(
        batch_size=life.batch_size,
        batch_bytes=ByteSize(life.batch_bytes),
        batch_timeout=life.batch_timeout,
        max_buffered_bytes=ByteSize(BUFFER),
        write_timeout=WRITE_TIMEOUT,
        shutdown_timeout=20.0,
        idle_commit_interval=15.0,
        on_failure="restart",
        on_lost_position="restart_from_now" if restart_from_now else "stop",
        max_unsaved_batches=5,
        lease_ttl=12.0,
        lease_renew_interval=4.0,
        lease_retry_interval=3.0,
        retry=RetrySettings(max_retries=3, retry_delay=1.0, max_retry_delay=8.0),
    )
