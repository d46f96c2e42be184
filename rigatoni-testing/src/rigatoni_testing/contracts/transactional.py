"""Contract tests for destinations that commit rows and position together (`Delivery.TRANSACTIONAL`)."""

import asyncio
import random

import attrs
from rigatoni_core.api.contracts import Delivery, Listener, TransactionalKeeper
from rigatoni_core.api.errors import DefinitionChangedError, LeaseLostError, RigatoniError, StateStoreError, Transient
from rigatoni_core.api.events import Checkpoint, Definition, Gap, Position, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.notices import Notice, PositionMoved, WorkerStarted
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline

from rigatoni_testing.batches import START, STREAM
from rigatoni_testing.contracts.destination import (
    DEFINITION,
    DestinationContract,
    Place,
    begin,
    deliver,
    events,
    tokens,
)
from rigatoni_testing.contracts.obligations import asynchronous, bounded, promised, refused
from rigatoni_testing.scripted import FlakyStateStore, Log, ScriptedSource

OTHER = Definition("other", {"watch": "shop.orders", "filter": "open"}, identity=Identity("rs0", "replica-set:1"))
_ATTEMPTS = 200


class _Heard(Listener):
    """Keeps the notices of a run."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        """See `Listener`."""
        self.notices.append(notice)


async def _run(place: Place, log: Log, state: MemoryStateStore, *, fails: bool = False) -> _Heard:
    """Run the engine once over the log, into the place."""
    heard = _Heard()
    pipeline = Pipeline(
        name=STREAM.pipeline,
        source=ScriptedSource(logs={STREAM.name: log}, start=0, await_time=0.01),
        destination=place.make(),
        state=state,
        settings=Settings(on_failure="stop"),
        listeners=[heard],
    )
    report = await bounded(pipeline.run(once=True), "a run of the engine")
    error = report.workers[STREAM.name].error
    promised(bool(error) == fails, f"the engine runs the destination, but the worker ended with {error!r}")
    return heard


async def _checkpoint(state: MemoryStateStore) -> Checkpoint:
    checkpoint = await state.load_resume_token(STREAM)
    assert checkpoint is not None
    return checkpoint


async def _state(checkpoint: Checkpoint) -> MemoryStateStore:
    """A state store that holds this checkpoint."""
    state = MemoryStateStore()
    await state.save_resume_token(STREAM, checkpoint)
    return state


def _log(count: int) -> Log:
    log = Log()
    log.grow(count)
    return log


async def _race(place: Place, last: int, chance: random.Random) -> None:
    """Deliver events 0 to `last` - 1 as one of several owners, in batches of random sizes."""
    everything = events(0, last)
    async with place.make() as destination:
        assert isinstance(destination, TransactionalKeeper)
        for _ in range(_ATTEMPTS):
            try:
                held = await bounded(destination.begin(STREAM, DEFINITION, START), "begin")
                reached = everything.index_of(held.resume_token)
                first = 0 if reached is None else reached + 1
                while first < last:
                    size = chance.randint(1, 4)
                    await deliver(destination, first, min(first + size, last), size=size)
                    first = min(first + size, last)
                    await asyncio.sleep(0.01 * chance.random())
            except RigatoniError as error:
                again = isinstance(error, LeaseLostError | Transient)
                promised(again, f"a refused owner may try again, but {error!r}")
                await asyncio.sleep(0.1 * chance.random())
            else:
                return
    raise AssertionError(f"the contract is broken: one of two owners was refused {_ATTEMPTS} times in a row")


@asynchronous
class TransactionalContract(DestinationContract):
    """The fixture is `DestinationContract`'s. Some tests run the engine into the place."""

    async def test_it_declares_that_its_position_is_the_streams(self, place: Place) -> None:
        destination = place.make()
        promised(destination.delivery is Delivery.TRANSACTIONAL, "its class declares Delivery.TRANSACTIONAL")
        promised(isinstance(destination, TransactionalKeeper), "it is a TransactionalKeeper")

    async def test_the_anchor_is_its_first_commit(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
        later = attrs.evolve(events(0, 5).end, ordinal=0)
        async with place.make() as destination:
            assert isinstance(destination, TransactionalKeeper)
            promised(await destination.last_committed(STREAM) == START, "begin commits the anchor of a fresh stream")
            held = await bounded(destination.begin(STREAM, DEFINITION, later), "begin")
            promised(held == START, "the anchor that is committed is in force, not the caller's position")

    async def test_an_old_a_future_and_no_checkpoint_end_with_the_same_rows(self, place: Place) -> None:
        log, first = _log(5), MemoryStateStore()
        await _run(place, log, first)
        old = await _checkpoint(first)
        log.grow(5)
        await _run(place, log, first)
        log.grow(12)
        end = events(0, 20).end
        future = attrs.evolve(old, position=end, delivered=end, committed=end)
        for name, state in (("old", await _state(old)), ("future", await _state(future)), ("no", MemoryStateStore())):
            heard = await _run(place, log, state)
            await self.check(place, Delivery.TRANSACTIONAL, len(log.raws))
            moved = [notice for notice in heard.notices if isinstance(notice, PositionMoved)]
            promised(len(moved) == (name != "no"), f"with {name} checkpoint, the destination's position is in force")
            log.grow(3)

    async def test_an_idle_checkpoint_counts_if_it_follows_the_destinations_position(self, place: Place) -> None:
        log, state = _log(5), MemoryStateStore()
        await _run(place, log, state)
        for _ in range(2):  # the second time with a position that was idle before
            idle = await _checkpoint(state)
            promised(idle.position != idle.committed, "an idle stream advances")
            heard = await _run(place, log, state)
            started = [notice.position for notice in heard.notices if isinstance(notice, WorkerStarted)]
            promised(started == [idle.position], "the idle position is in force if nothing was committed since")
            async with place.make() as destination:
                assert isinstance(destination, TransactionalKeeper)
                await destination.begin(STREAM, DEFINITION, idle.position)
                await bounded(destination.commit_idle(STREAM, idle.position), "commit_idle")
            log.grow(1)
            await _run(place, log, state)
            await self.check(place, Delivery.TRANSACTIONAL, len(log.raws))

    async def test_a_crash_between_commit_and_checkpoint_repeats_nothing(self, place: Place) -> None:
        log = _log(5)
        state = FlakyStateStore(save_faults=[None, StateStoreError("the test's fault", remedy="None.")])
        await _run(place, log, state, fails=True)
        log.grow(2)
        await _run(place, log, state)
        await self.check(place, Delivery.TRANSACTIONAL, 7)

    async def test_two_owners_at_once_lose_and_repeat_nothing(self, place: Place) -> None:
        async with place.make() as destination:
            await begin(destination)
        await asyncio.gather(*(_race(place, 30, random.Random(seed)) for seed in (1, 2)))  # noqa: S311 (no secret)
        await self.check(place, Delivery.TRANSACTIONAL, 30)

    async def test_idle_time_is_committed_without_rows_and_never_goes_back(self, place: Place) -> None:
        async with place.make() as destination:
            assert isinstance(destination, TransactionalKeeper)
            await begin(destination)
            await deliver(destination, 0, 5)
            end = events(0, 5).end
            assert end.cluster_time is not None
            idle = [attrs.evolve(end, cluster_time=end.cluster_time, ordinal=end.ordinal + n) for n in (8, 4)]
            for position in idle:
                await bounded(destination.commit_idle(STREAM, position), "commit_idle")
            promised(await destination.last_committed(STREAM) == idle[0], "the latest position is in force")
            await self.check(place, Delivery.TRANSACTIONAL, 5)
            await deliver(destination, 5, 8)
            await self.check(place, Delivery.TRANSACTIONAL, 8)

    async def test_a_batch_without_rows_moves_the_position(self, place: Place) -> None:
        async with place.make() as destination:
            assert isinstance(destination, TransactionalKeeper)
            await begin(destination)
            await bounded(destination.write_batch(events(0, 3).without(range(3))), "write_batch")
            committed = await destination.last_committed(STREAM)
            promised(committed == events(0, 3).end, "a batch whose events were all rejected moves the position")

    async def test_a_gap_moves_the_position_and_refuses_the_owner_before(self, place: Place) -> None:
        async with place.make() as before, place.make() as destination:
            assert isinstance(destination, TransactionalKeeper)
            await begin(before)
            await deliver(before, 0, 3)
            lost, resumed = events(0, 3).end, events(0, 6).end
            gap = Gap("the test skips events", lost, resumed)
            held = await bounded(destination.begin(STREAM, DEFINITION, resumed, gap=gap), "begin")
            promised(held == resumed, "with a gap the caller's position is in force")
            with refused(LeaseLostError, "an owner that does not know the gap is refused with LeaseLostError"):
                await bounded(before.write_batch(events(3, 9)), "write_batch")
            await deliver(destination, 6, 8)
            expected = [*tokens(events(0, 3)), *tokens(events(6, 8))]
            promised(list(await place.written(STREAM)) == expected, "writing continues behind the gap")

    async def test_a_changed_definition_keeps_the_position_and_refuses_the_owner_before(self, place: Place) -> None:
        async with place.make() as before, place.make() as destination:
            assert isinstance(destination, TransactionalKeeper)
            await begin(before)
            await deliver(before, 0, 3)
            held = await bounded(destination.begin(STREAM, OTHER, START), "begin")
            promised(held.order == events(0, 3).end.order, "a new definition begins where the old one ended")
            recorded = await destination.recorded_identity(STREAM)
            promised(recorded == OTHER.identity, "the deployment of the definition in force is on record")
            try:
                await bounded(before.write_batch(events(3, 6)), "write_batch")
            except (DefinitionChangedError, LeaseLostError):
                pass
            else:
                promised(False, "an owner with an older definition is refused")
            await deliver(destination, 3, 6)
            await self.check(place, Delivery.TRANSACTIONAL, 6)

    async def test_streams_and_pipelines_have_positions_of_their_own(self, place: Place) -> None:
        others = [Stream(STREAM.pipeline, "shop.*"), Stream("another", STREAM.name)]
        async with place.make() as destination:
            assert isinstance(destination, TransactionalKeeper)
            await begin(destination)
            await deliver(destination, 0, 3)
            held: list[Position | None] = [await destination.last_committed(stream) for stream in others]
            promised(held == [None, None], "a stream that never began has no position")
