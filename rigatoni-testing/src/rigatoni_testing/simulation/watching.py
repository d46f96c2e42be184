"""A pipeline whose `watch` changes from run to run, and whose runs die anywhere: what becomes of its events.

The engine and the destination's protocol are those that ship; deployment, state store and object store are models. The
names of collections are single letters, and a stream is named by those that it covers. Several events share a cluster
time, as those of a transaction do. Tokens are opaque, the checkpoint may lag behind the chain, and a put of a process
that died may arrive later, but not after its chain has reached quiescence.
"""

import asyncio
import random
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import Future
from itertools import accumulate
from typing import ClassVar, TypeVar

import attrs
from bson import encode
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import DestinationMetadata, Lease, Source
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import StateStoreError, Transient
from rigatoni_core.api.events import Checkpoint, Definition, Identity, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.api.succession import ScopeReader
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline, PipelineReport
from rigatoni_objects.destination import ObjectDestination
from rigatoni_objects.paths import definition_path
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_objects.records import DefinitionRecord
from rigatoni_objects.store import Record

from rigatoni_testing.batches import TestDecoder, event_document, token_of
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.objects import MemoryObjects, MemoryStore
from rigatoni_testing.serializers import TokenLines

T = TypeVar("T")

NAME = "p"
BEGINNING = 1_700_000_000
MODEL = Identity("model", "model:1")
SETTLE_TIME = 5.0


class DiedError(Exception):
    """The process is dead: nothing that it asks for happens any more."""


class SavingFailedError(StateStoreError, Transient):
    """The state store does not answer."""


@attrs.frozen
class Life:
    """One run: what it watches, what happens before it, and how it ends.

    Attributes:
        watch: The streams, each named by the letters of its collections.
        transactions: What is written before the run: the collections of the events of one cluster time each.
        dies_at: The request at which the process dies; None if it ends when it has caught up.
        dies_writing: Whether it dies at the first put of events from that request on, not at the request.
        took_effect: Whether the last request of a process that dies takes effect at once; else a put may come later.
        lags: Whether saves fail after the first one, so that the checkpoint lags behind.
    """

    watch: tuple[str, ...]
    transactions: tuple[str, ...] = ()
    dies_at: int | None = None
    dies_writing: bool = False
    took_effect: bool = True
    lags: bool = False


SCOPES = ("a", "b", "c", "ab", "bc", "abc", "abcd")
"""What one stream may watch: collections, patterns, a database."""


def random_lives(seed: int) -> Sequence[Life]:
    """A few lives; the same seed always gives the same."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    return [_random_life(chance) for _ in range(chance.randrange(2, 6))]


def _random_life(chance: random.Random) -> Life:
    watch, free = list[str](), set("abcd")
    for scope in chance.sample(SCOPES, len(SCOPES)):  # the streams of one pipeline do not overlap
        if set(scope) <= free and (not watch or chance.random() < 0.5):
            watch.append(scope)
            free -= set(scope)
    sizes = [chance.choice([1, 1, 2, 3]) for _ in range(chance.randrange(6))]
    return Life(
        tuple(watch),
        tuple("".join(chance.choices("abcd", k=size)) for size in sizes),
        dies_at=chance.choice([None, chance.randrange(1, 120)]),
        dies_writing=chance.random() < 0.3,
        took_effect=chance.random() < 0.5,
        lags=chance.random() < 0.4,
    )


@attrs.define
class Process:
    """One run's process, which may die at one of its requests."""

    life: Life
    requests: int = 0
    dead: bool = False

    def request(self, effect: Callable[[], T], late: Callable[[Callable[[], T]], None] | None = None) -> T:
        """Do what is asked for, unless the process is dead. `late` notes the effect of a put that will come later."""
        self.requests += 1
        if self.dead:
            raise DiedError
        life = self.life
        if life.dies_at is None or self.requests < life.dies_at or (life.dies_writing and late is None):
            return effect()
        self.dead = True
        if life.took_effect:
            effect()
        elif late:
            late(effect)
        raise DiedError


@attrs.define
class Deployment:
    """The history: raw events with their times and collections."""

    raws: list[bytes] = attrs.field(factory=list)
    tokens: list[ResumeToken] = attrs.field(factory=list)
    times: list[Timestamp] = attrs.field(factory=list)
    collections: list[str] = attrs.field(factory=list)
    increment: int = 0

    def write(self, collections: str) -> None:
        """A transaction: its events share a cluster time."""
        self.increment += 1
        for collection in collections:
            number = len(self.raws)
            document = event_document(number, seconds=BEGINNING, increment=self.increment, collection=collection)
            self.raws.append(encode(document))
            self.tokens.append(token_of(document["_id"]))
            self.times.append(Timestamp(BEGINNING, self.increment))
            self.collections.append(collection)

    def first_at(self, time: Timestamp) -> int:
        """The number of the first event at this time or later."""
        return next((number for number, at in enumerate(self.times) if at >= time), len(self.times))

    @property
    def now(self) -> Timestamp:
        """The cluster time after the last event."""
        return Timestamp(BEGINNING, self.increment + 1)


@attrs.define(kw_only=True)
class LetterSource(Source, ScopeReader):
    """Streams that are named by the letters of their collections."""

    deployment: Deployment
    process: Process
    chance: random.Random
    reply_events: int = 3
    identity: Identity = MODEL

    decoder: ClassVar[Decoder] = TestDecoder()

    async def streams(self) -> Sequence[str]:
        """See `Source`."""
        return list(self.process.life.watch)

    def definition(self, stream: Stream) -> Definition:
        """See `Source`."""
        return Definition(f"watch {stream.name}", {"watch": stream.name}, identity=self.identity)

    def shared(self, scope: str, others: Collection[str]) -> Collection[frozenset[str]]:
        """See `ScopeReader`."""
        return {frozenset(other for other in others if letter in other) for letter in scope}

    def included(self, scope: str, events: EventBatch) -> Collection[int]:
        """See `ScopeReader`."""
        names = ((index, events.namespace(index)) for index in range(len(events)))
        return [index for index, name in names if name and name.collection and name.collection in scope]

    def position_at(self, stream: Stream, time: Timestamp) -> Position:
        """See `Positioner`."""
        token = ResumeToken(f"time:{time.seconds}.{time.increment}")
        return Position(token, self.definition(stream).fingerprint, time, 0)

    def position_after(self, stream: Stream, token: str, time: Timestamp | None) -> Position:
        """See `Positioner`."""
        raise NotImplementedError

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        log, now = self.deployment, self.deployment.now
        number = len(log.raws) if after is None else self._place(after)
        position = after or Position(self._mark(number), self.definition(stream).fingerprint, now, 0)
        yield Heartbeat(position, now)
        while True:
            numbers: list[int] = []
            while number < len(log.raws) and len(numbers) < self.reply_events:
                if log.collections[number] in stream.name:
                    numbers.append(number)
                number += 1
                if self.chance.random() < 0.1:
                    break
            if numbers:
                batch = self._batch(position, stream, numbers)
                position = batch.end
                yield batch
            position = self._passed(position, number)
            yield Heartbeat(position, log.now, caught_up=number == len(log.raws))
            await asyncio.sleep(0.5)

    def _place(self, position: Position) -> int:
        """Where reading resumes: right behind the position. Only the deployment can tell."""
        kind, _, value = position.resume_token.partition(":")
        if kind == "mark":
            return int(value)
        if kind == "time":
            seconds, _, increment = value.partition(".")
            return self.deployment.first_at(Timestamp(int(seconds), int(increment)))
        return self.deployment.tokens.index(position.resume_token) + 1

    def _batch(self, after: Position, stream: Stream, numbers: Sequence[int]) -> EventBatch:
        raws = [self.deployment.raws[number] for number in numbers]
        offsets = array("Q", accumulate(map(len, raws), initial=0))
        return EventBatch.from_reply(
            after, stream, memoryview(b"".join(raws)), offsets, self.decoder, source_time=self.deployment.now
        )

    def _passed(self, position: Position, number: int) -> Position:
        """The post-batch position before this event; only the tokens of some servers tell its time."""
        log, last = self.deployment, position.cluster_time
        if self.chance.random() < 0.5:
            time = log.times[number] if number < len(log.times) else log.now
            return position.moved(self._mark(number), time, position.ordinal if time == last else 0)
        if position.ordinal and last is not None and (number == len(log.times) or log.times[number] > last):
            return position.moved(self._mark(number), last.next(), 0)
        return position.moved(self._mark(number), last, position.ordinal)

    @staticmethod
    def _mark(number: int) -> ResumeToken:
        return ResumeToken(f"mark:{number}")


@attrs.define(kw_only=True)
class DyingStateStore(MemoryStateStore):
    """Outlives its processes; saves may fail."""

    process: Process

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """See `StateStore`."""
        stored = await MemoryStateStore.load_resume_token(self, stream)
        begins = stored is None or stored.events == checkpoint.events  # nothing was delivered since
        if self.process.life.lags and not begins:
            raise SavingFailedError("it does not answer")
        self.process.request(lambda: None)
        await MemoryStateStore.save_resume_token(self, stream, checkpoint)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """See `StateStore`."""
        self.process.request(lambda: None)
        return await MemoryStateStore.load_resume_token(self, stream)

    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """See `LeaseKeeper`."""
        self.process.request(lambda: None)
        return await MemoryStateStore.acquire(self, stream, owner=owner, ttl=ttl)

    async def release(self, lease: Lease) -> None:
        """See `LeaseKeeper`."""
        self.process.request(lambda: None)
        await MemoryStateStore.release(self, lease)


@attrs.define
class Objects:
    """What the bucket holds, and what is still on its way to it from processes that died."""

    chance: random.Random
    held: MemoryObjects = attrs.field(factory=MemoryObjects)
    late: list[tuple[str, Callable[[], bool]]] = attrs.field(factory=list)

    def arrive(self, seen: str = "") -> None:
        """Let late puts arrive: at any time, at the latest when the mark is seen that closes their chain."""
        closing = seen.partition("/_rigatoni/closing-")[0] if "/_rigatoni/closing-" in seen else None
        for key, effect in self.late.copy():
            if self.chance.random() < 0.02 or (closing and key.startswith(f"{closing}/")):
                self.late.remove((key, effect))
                effect()


class Folder(MemoryStore):
    """The objects below one folder, as one process sees them."""

    def __init__(self, objects: Objects, folder: str, process: Process) -> None:
        super().__init__(objects.held)
        self._everything, self._folder, self._process = objects, folder, process

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`."""
        path = f"{self._folder}/{key}"

        def effect() -> bool:
            return MemoryStore.create(self, path, content, media_type=media_type, record=record)

        def late(effect: Callable[[], bool]) -> None:
            self._everything.late.append((path, effect))

        created = self._process.request(effect, late if "_rigatoni" not in key else None)
        self._everything.arrive(path)
        return created

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        path = f"{self._folder}/{key}"
        found = self._process.request(lambda: MemoryStore.head(self, path))
        self._everything.arrive(path if found is not None else "")
        return found

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._process.request(lambda: MemoryStore.read(self, f"{self._folder}/{key}"))

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        top = f"{self._folder}/"
        below = f"{top}{after}" if after else ""
        found = self._process.request(lambda: MemoryStore.keys(self, top + prefix, after=below, limit=limit))
        return [key.removeprefix(top) for key in found]


class Inline:
    """A runner that makes each call at once."""

    async def run(self, stream: Stream, call: Callable[[], T]) -> T:
        """See `Runner`."""
        return call()

    def each(self, stream: Stream, calls: Sequence[Callable[[], T]]) -> Sequence[T]:
        """See `Runner`."""
        return [call() for call in calls]

    def close(self) -> None:
        """There is nothing to end."""


class AtOnce:
    """An executor that has done each call when `begin` returns."""

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """The call's result."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        future.set_result(call())
        return future

    def close(self) -> None:
        """There is nothing to end."""


@attrs.define(kw_only=True, eq=False)
class FolderDestination(ObjectDestination):
    """The shipping protocol over the model."""

    objects: Objects
    process: Process

    carries_records: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._runner = Inline()
        self._prefetched = PrefetchPool("prefetch", self._contents, executor=lambda *_: AtOnce())

    def store(self, folder: str) -> Folder:
        """See `ObjectDestination`."""
        return Folder(self.objects, folder, self.process)

    def quiescence(self, stream: Stream) -> ClosingMark:
        """See `ObjectDestination`."""
        return ClosingMark(SETTLE_TIME, clock=asyncio.get_running_loop().time)

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"model:{folder}/"

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of an object store", self.delivery)


@attrs.frozen
class Verdict:
    """What became of the events, by token's number."""

    lost: tuple[int, ...]
    repeated: tuple[int, ...]
    errors: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was lost or repeated, and nothing failed."""
        return not (self.lost or self.repeated or self.errors)


def live(lives: Sequence[Life], seed: int = 0) -> Verdict:
    """Let these lives happen, then the last one once more without any fault; what became of the events."""
    return run_virtual(_live(lives, seed))


async def _live(lives: Sequence[Life], seed: int) -> Verdict:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    deployment, objects = Deployment(), Objects(chance)
    state = DyingStateStore(process=Process(lives[0]))
    errors: list[str] = []
    for life in [*lives, Life(lives[-1].watch, ("abcd",)), Life(lives[-1].watch)]:
        process = Process(life)
        for transaction in life.transactions:
            deployment.write(transaction)
        errors += await _run(process, deployment, objects, state, chance)
    required = {name: _beginning(objects, name) for name in set("".join(lives[-1].watch))}
    delivered = Counter(
        token
        for key, (content, _) in objects.held.contents.items()
        if key.endswith(".txt")
        for token in TokenLines.tokens_in(content)
    )
    numbers = range(len(deployment.tokens))
    return Verdict(
        tuple(
            number
            for number in numbers
            if (begin := required.get(deployment.collections[number])) is not None
            and deployment.times[number] >= begin
            and not delivered[deployment.tokens[number]]
        ),
        tuple(number for number in numbers if delivered[deployment.tokens[number]] > 1),
        tuple(errors),
    )


async def _run(
    process: Process, deployment: Deployment, objects: Objects, state: DyingStateStore, chance: random.Random
) -> Sequence[str]:
    """One life; what it complains of, although it did not die."""
    state.process = process
    pipeline = Pipeline(
        name=NAME,
        source=LetterSource(deployment=deployment, process=process, chance=chance),
        destination=FolderDestination(serializer=TokenLines(), objects=objects, process=process),
        state=state,
        settings=Settings(
            batch_size=chance.choice([2, 4, 50]),
            batch_timeout=0.1,
            max_unsaved_batches=1000,
            retry=RetrySettings(max_retries=20),
        ),
    )
    try:
        report: PipelineReport = await pipeline.run(once=True)
    except DiedError:
        return ()
    failures = [outcome.error for outcome in report.workers.values() if outcome.error is not None]
    return [repr(error) for error in failures if not isinstance(error, DiedError)]


def _beginning(objects: Objects, name: str) -> Timestamp | None:
    """The cluster time at which the first stream began that covers this collection."""
    times = []
    for key, (content, _) in objects.held.contents.items():
        if key.endswith(definition_path(0)):
            record = DefinitionRecord.parse(content, key)
            if name in record.stream and record.anchor.cluster_time is not None:
                times.append(record.anchor.cluster_time)
    return min(times, default=None)
