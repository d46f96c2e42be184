"""The delivery protocol under random interleavings: writers race, lose responses, crash and restart.

The store is a model: a dictionary with atomic requests, as S3 documents them (strong consistency, conditional put).
Its objects may or may not carry records. The writers are threads that a seeded scheduler advances by one request at a
time; the chain is the real one. A request may take effect and lose its response. A writer may crash before or after any
request. Definitions change while others write. The model keeps the protocol's one assumption: a closed definition is
quiescent only when no writer is between the check of the mark and the lead's put.
"""

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from bson import encode
from bson.timestamp import Timestamp as BsonTimestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DefinitionChangedError, DestinationError, Transient
from rigatoni_core.api.events import Definition, Position, Stream
from rigatoni_objects.chain import Chain
from rigatoni_objects.errors import UnfinishedBatchError
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_objects.records import BatchRecord, DefinitionRecord
from rigatoni_objects.store import ObjectStore, Record
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.serializers import TokenLines

STREAM = Stream("lake", "shop.*")
EVENTS = 14


class Crash(BaseException):
    """The process died."""


class StoreDownError(DestinationError, Transient):
    """The request or its response was lost."""


class Writer(threading.Thread):
    """A thread that pauses before each request until the scheduler resumes it."""

    def __init__(self, store: "Store", work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.store, self.work = store, work
        self.go = threading.Semaphore(0)
        self.killed = self.finished = self.between = False
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.pause()
            self.work()
        except Crash:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self.finished, self.between = True, False
            self.store.paused.release()

    def pause(self) -> None:
        self.store.paused.release()
        self.go.acquire()
        if self.killed:
            raise Crash

    def advance(self) -> None:
        """Let it make its next request; return when it pauses before the following one or has ended."""
        self.go.release()
        self.store.paused.acquire()


class Store(ObjectStore):
    """In-memory objects; every request of a writer is a step. Objects carry records, or leads are records."""

    def __init__(self, chance: random.Random, lost: float, metadata_limit: int) -> None:
        self.chance, self.lost, self.metadata_limit = chance, lost, metadata_limit
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.paused = threading.Semaphore(0)
        self.writers: list[Writer] = []

    def _step(self, effect: Callable[[], Any]) -> Any:
        writer = threading.current_thread()
        if isinstance(writer, Writer):
            writer.pause()
            if self.chance.random() < self.lost / 2:
                raise StoreDownError("the request was lost")
        result = effect()
        if isinstance(writer, Writer) and self.chance.random() < self.lost:
            raise StoreDownError("the response was lost")
        return result

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        def effect() -> bool:
            if key in self.objects:
                return False
            self.objects[key] = (bytes(content), dict(record))
            return True

        try:
            return self._step(effect)
        finally:
            if isinstance(writer := threading.current_thread(), Writer) and ("record" in record or "/batches/" in key):
                writer.between = False

    def head(self, key: str) -> Record | None:
        def effect() -> Record | None:
            writer = threading.current_thread()
            if "/closing-" in key and key not in self.objects and isinstance(writer, Writer):
                writer.between = True  # from here on its lead may be created, even after a mark
            return self.objects[key][1] if key in self.objects else None

        return self._step(effect)

    def read(self, key: str) -> bytes | None:
        return self._step(lambda: self.objects[key][0] if key in self.objects else None)

    def keys(self, prefix: str, *, after: str = "", limit: int) -> list[str]:
        return self._step(lambda: sorted(key for key in self.objects if key.startswith(prefix) and key > after)[:limit])


class Known(ClosingMark):
    """Knows whether a closed definition is quiescent, instead of waiting."""

    def close(self, number: int, create: Callable[[str], None]) -> float:
        super().close(number, create)
        me = threading.current_thread()
        if not isinstance(me, Writer):
            return 0.0
        me.between = False  # its own check was not followed by a lead
        return 0.001 if any(writer.between for writer in me.store.writers if writer is not me) else 0.0


class ModelChain(Chain):
    """The real chain."""

    quiescence: type[ClosingMark] = Known

    def __init__(self, store: Store, layout: FileLayout) -> None:
        super().__init__(store, STREAM, layout, self.quiescence(0.0))


class World:
    """A stream, a store, checkpoints, and writers with their own limits, layouts and definitions."""

    def __init__(
        self, seed: int, layouts: list[tuple[str, ...]], lost: float, chain: type[ModelChain], carries: bool
    ) -> None:
        self.chance = random.Random(seed)
        self.store = Store(self.chance, lost, 1900 if carries else 0)
        self.layouts, self.chain = layouts, chain
        self.raws = self._events()
        self.whole = batch_of(self.raws, stream=STREAM)
        self.tokens = [self.whole.token_and_time(index)[0] for index in range(EVENTS)]
        self.checkpoints: list[Position] = []
        self.forced: int | None = None
        self.ending = False

    def _events(self) -> list[bytes]:
        """Events of a few namespaces; some share a cluster time, some cross an hour."""
        raws, seconds, increment = [], 1_700_000_000, 1
        for number in range(EVENTS):
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

    def work(self, layout: int, limit: int, checkpoint: Position | None) -> Callable[[], None]:
        """Return a writer like core's worker, which resumes from its checkpoint after transient errors."""
        now = self.whole[: self.chance.randrange(1, 3)].end if self.chance.random() < 0.5 else START

        def run() -> None:
            chain = self.chain(self.store, FileLayout(TokenLines(), self.layouts[layout]))
            position = checkpoint
            for _ in range(30):
                try:
                    at = position or chain.last_committed() or now
                    position = chain.begin(Definition(f"layout {layout}", {}), at)
                    self.checkpoints.append(position)
                    while (index := self.index_after(position)) < EVENTS:
                        stop = min(index + limit, EVENTS)
                        batch = batch_of(self.raws[index:stop], stream=STREAM, after=position)
                        while fixed := chain.write(batch):
                            raws = self.raws[index : self.index_after(fixed)]
                            batch = batch_of(raws, stream=STREAM, after=position)
                        position = batch.end
                        self.checkpoints.append(position)
                    return
                except UnfinishedBatchError:
                    self.forced = self._newest_layout()
                    return
                except DefinitionChangedError:
                    return
                except DestinationError as error:
                    if not error.transient:
                        raise

        return run

    def _newest_layout(self) -> int:
        definitions = [key for key in self.store.objects if "definition-" in key]
        newest = max(definitions, key=lambda key: int(key.rpartition("-")[2].removesuffix(".json")))
        record = DefinitionRecord.parse(self.store.objects[newest][0], newest)
        return int(record.fingerprint.removeprefix("layout "))

    def start(self, checkpoint: Position | None = None) -> None:
        layout = self.chance.randrange(len(self.layouts)) if self.forced is None else self.forced
        self.forced = None
        checkpoint = checkpoint or self.chance.choice([*self.checkpoints, None])
        writer = Writer(self.store, self.work(layout, self.chance.randint(1, 5), checkpoint))
        self.store.writers.append(writer)
        writer.start()
        self.store.paused.acquire()

    def step(self) -> None:
        """Make one or more requests of one writer."""
        while len(self.store.writers) < 2 and not self.ending:
            self.start()
        writer = self.chance.choice(self.store.writers)
        for _ in range(self.chance.choice([1, 1, 2, 5, 30])):
            writer.advance()
            if writer.finished:
                self.store.writers.remove(writer)
                if writer.failure is not None:
                    raise writer.failure
                return

    def run(self, deaths: int) -> None:
        for _ in range(deaths):
            for _ in range(self.chance.randrange(self.chance.choice([5, 20, 60]))):
                self.step()
            if self.store.writers:
                victim = self.chance.choice(self.store.writers)
                victim.killed = True
                victim.advance()
                self.store.writers.remove(victim)
        self.ending, self.store.lost = True, 0.0
        while self.store.writers:
            self.step()
        for _ in range(4):  # retry writers that stopped for another definition or an unfinished batch
            self.start(max(self.checkpoints, key=lambda it: it.order, default=None))
            while self.store.writers:
                self.step()

    def close(self) -> None:
        """Stop the threads of a failed run."""
        for writer in self.store.writers:
            writer.killed = True
            writer.go.release()


def check(world: World) -> None:
    """Check that one linear chain leads from the anchor to the end, and every event is in exactly one object."""
    objects = world.store.objects
    definitions = [DefinitionRecord.parse(objects[key][0], key) for key in objects if "definition-" in key]
    definitions.sort(key=lambda record: record.number)
    assert [record.number for record in definitions] == list(range(len(definitions)))
    assert len(definitions) == 1 or len(world.layouts) > 1  # no writer creates a needless one
    leads = [
        BatchRecord.parse(about.get("record", content), key)
        for key, (content, about) in objects.items()
        if about.get("record") or "/batches/" in key
    ]
    here = begun = world.index_after(definitions[0].anchor)
    written: dict[str, list[int]] = {}
    for definition in definitions:
        assert world.index_after(definition.anchor) == here
        for record in sorted((r for r in leads if r.definition == definition.number), key=lambda r: r.first.order):
            assert world.tokens.index(record.first.resume_token) == here
            for part in record.parts:
                assert part.path in objects
                lines = objects[part.path][0].decode().splitlines()
                assert len(lines) == part.events
                assert part.path not in written
                written[part.path] = [world.tokens.index(line) for line in lines]
            here = world.index_after(record.end)
    assert here == EVENTS
    assert sorted(index for indices in written.values() for index in indices) == list(range(begun, EVENTS))
    assert {key for key in objects if key.endswith(".txt")} == set(written)


def simulate(
    seed: int, layouts: list[tuple[str, ...]], deaths: int = 4, lost: float = 0.1, chain: type[ModelChain] = ModelChain
) -> None:
    world = World(seed, layouts, lost, chain, carries=seed % 3 > 0)
    try:
        world.run(deaths)
        check(world)
    finally:
        world.close()


SEEDS = st.integers(0, 2**32)
BY_ALL = ("namespace", "hour")


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_H3_J1_writers_that_race_lose_responses_and_crash_make_one_chain(seed: int) -> None:
    simulate(seed, [()])


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_J12_batches_of_several_objects_make_one_chain(seed: int) -> None:
    simulate(seed, [BY_ALL])


@given(SEEDS)
@settings(max_examples=120, deadline=None)
def test_J5_a_definition_that_changes_while_writers_race_and_crash_loses_and_duplicates_nothing(seed: int) -> None:
    simulate(seed, [("namespace",), ("hour",), ()])


class NoCheckOfTheMark(ModelChain):
    def _is_closed(self, definition: DefinitionRecord) -> bool:
        return False


class NoWaiting(ModelChain):
    """Uses the old chain's end at once."""

    quiescence = ClosingMark


class NoComparison(ModelChain):
    def _found(self, lead: str, definition: DefinitionRecord, first: Position) -> BatchRecord | None:
        found = super()._found(lead, definition, first)
        return None if found is None else _Everywhere(found)  # type: ignore[return-value]


class _Everywhere:
    """A record that equals every end."""

    def __init__(self, record: BatchRecord) -> None:
        self.parts, self.events = record.parts, record.events
        self.end = _Equal()


class _Equal:
    resume_token = order = property(lambda self: _Always())


class _Always:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


class NoCompletion(ModelChain):
    def _complete(self, record: BatchRecord, lead: str, events: EventBatch) -> None:
        return None


@pytest.mark.parametrize("chain", [NoCheckOfTheMark, NoWaiting, NoComparison, NoCompletion])
def test_the_model_detects_a_broken_protocol(chain: type[ModelChain]) -> None:
    """Each rule of the protocol is needed: without it, some schedule loses or duplicates an event."""
    for seed in range(2000):
        try:
            simulate(seed, [BY_ALL, ("hour",)], chain=chain)
        except (AssertionError, DestinationError):
            return
    raise AssertionError(f"{chain.__name__} was not detected")


LAYOUT, DEFINITION = FileLayout(TokenLines()), Definition("fingerprint", {})


@pytest.mark.parametrize("metadata_limit", [0, 2000])
def test_a_closed_stream_refuses_running_instances_and_resumes_at_its_end(metadata_limit):
    store = Store(random.Random(0), 0.0, metadata_limit)

    def chain():
        return Chain(store, STREAM, LAYOUT, ClosingMark(0.0))

    first, second = chain(), chain()
    assert first.close() is None
    first.begin(DEFINITION, START)
    everything = batch_of([event_document(number) for number in range(9)], stream=STREAM)
    assert first.write(everything[:5]) is None
    assert second.close() == second.close() == everything[:5].end
    with pytest.raises(DefinitionChangedError):
        first.write(everything[5:9])
    assert chain().begin(DEFINITION, START).order == everything[:5].end.order
    with pytest.raises(DefinitionChangedError):
        first.write(everything[5:9])


@pytest.mark.parametrize("metadata_limit", [0, 2000])
def test_a_batch_of_an_earlier_run_is_found_and_one_whose_reply_was_lost_is_not(metadata_limit):
    store = Store(random.Random(0), 0.0, metadata_limit)
    first, second = (Chain(store, STREAM, LAYOUT, ClosingMark(0.0)) for _ in range(2))
    everything = batch_of([event_document(number) for number in range(9)], stream=STREAM)
    first.begin(DEFINITION, START)
    first.write(everything[:5])
    first._check_exists = True  # as after a lost reply
    first.write(everything[:5])
    assert first.found == 0
    second.begin(DEFINITION, START)
    second.write(everything[:5])
    second.write(everything[5:])
    assert second.found == 5
    second.begin(DEFINITION, START)
    second.write(everything[5:])
    assert second.found == 9
