"""Where a stream resumes: refused tokens, lost positions, other deployments. Under a virtual clock."""

import asyncio
from collections.abc import AsyncIterator

import attrs
import pytest
from rigatoni_core.api.contracts import IdentityRefresher, TimeReader
from rigatoni_core.api.errors import (
    CorruptCheckpointError,
    OtherDeploymentError,
    PositionLostError,
    TokenRefusedError,
)
from rigatoni_core.api.events import Gap, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.notices import GapRecorded, Notice, PositionTakenByTime
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import (
    Bucket,
    BucketDestination,
    FlakyStateStore,
    Log,
    RecordingDestination,
    ScriptedSource,
)

STREAM = Stream("p", "a.b")
ONE = Identity("rs0", "", ("1", "2"))
OTHER = Identity("rs0", "", ("8", "9"))


class Heard:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)

    def of(self, kind):
        return [notice for notice in self.notices if isinstance(notice, kind)]


@attrs.define(kw_only=True)
class Refusing(ScriptedSource, TimeReader):
    """Refuses tokens of events as long as `refusals` are left; by time it finds the events that it holds."""

    refusals: int = 0
    by_time: list = attrs.field(factory=list, init=False)

    async def read(self, stream, *, after):
        if after is not None and self.refusals:
            self.refusals -= 1
            raise TokenRefusedError("the token is refused")
        async for item in ScriptedSource.read(self, stream, after=after):
            yield item

    def read_by_time(self, stream, *, position, delivered) -> AsyncIterator:
        self.by_time.append((position, delivered))
        if delivered is not None and delivered.resume_token not in self.logs[stream.name].tokens:
            raise PositionLostError("the event did not come")
        return ScriptedSource.read(self, stream, after=delivered or position)


def log_of(count):
    log = Log()
    log.grow(count)
    return log


async def run(source, destination, state, heard=None, *, seconds=None, **settings):
    running = Pipeline(
        name="p",
        source=source,
        destination=destination,
        state=state,
        settings=Settings(**settings),
        listeners=[heard] if heard else [],
    )
    if seconds:
        asyncio.get_running_loop().call_later(seconds, running.stop)
    report = await running.run(once=seconds is None)
    return report.workers["a.b"].error


async def delivered_ten(**source):
    """A stream that has delivered ten events, and then an idle reply moved it."""
    log, state = log_of(10), FlakyStateStore()
    assert await run(Refusing(logs={"a.b": log}, start=0, **source), RecordingDestination(), state) is None
    return log, state


def test_F1_a_token_that_is_refused_once_is_tried_again():
    async def main():
        log, state = await delivered_ten()
        log.grow(5)
        destination, heard = RecordingDestination(), Heard()
        source = Refusing(logs={"a.b": log}, refusals=1)
        assert await run(source, destination, state, heard) is None
        assert destination.tokens == log.tokens[10:]
        assert source.by_time == []
        assert not heard.of(PositionTakenByTime)

    run_virtual(main())


@pytest.mark.parametrize("idle", [False, True])
def test_F1_a_token_that_stays_refused_is_found_by_the_last_delivered_event(idle):
    async def main():
        log, state = await delivered_ten()
        saved = state._checkpoints["p/a.b"]
        if not idle:
            saved = state._checkpoints["p/a.b"] = attrs.evolve(saved, position=saved.delivered)
        log.grow(5)
        destination, heard = RecordingDestination(), Heard()
        source = Refusing(logs={"a.b": log}, refusals=1000)
        assert await run(source, destination, state, heard, on_lost_position="restart_from_now") is None
        assert destination.tokens == log.tokens[10:]
        assert source.by_time == [(saved.position, saved.delivered)]
        assert saved.delivered.resume_token == log.tokens[9]
        assert [notice.position for notice in heard.of(PositionTakenByTime)] == [saved.position]
        assert state._checkpoints["p/a.b"].gaps == ()

    run_virtual(main())


def test_F1_a_refused_token_of_another_history_is_a_lost_position():
    async def main():
        _, state = await delivered_ten()
        source = Refusing(logs={"a.b": log_of(9)}, refusals=1000)
        error = await run(source, RecordingDestination(), state)
        assert isinstance(error, PositionLostError)
        assert len(source.by_time) == 1

    run_virtual(main())


def test_F1_history_that_is_gone_is_lost_at_once():
    async def main():
        log, state = await delivered_ten()
        log.grow(30)
        source = Refusing(logs={"a.b": log}, lost_before=20)
        assert isinstance(await run(source, RecordingDestination(), state), PositionLostError)
        assert source.opened == 1
        assert source.by_time == []

    run_virtual(main())


@pytest.mark.parametrize(("identity", "resumes"), [(ONE, True), (Identity("rs0"), False)])
def test_F1_a_stream_that_delivered_nothing_is_found_by_time_on_the_same_deployment_only(identity, resumes):
    async def main():
        log, state = log_of(10), FlakyStateStore()
        source = Refusing(logs={"a.b": log}, identity=identity)
        assert await run(source, RecordingDestination(), state) is None
        assert state._checkpoints["p/a.b"].delivered is None
        log.grow(5)
        destination, source = RecordingDestination(), Refusing(logs={"a.b": log}, identity=identity, refusals=1000)
        error = await run(source, destination, state)
        assert (error is None) is resumes
        assert destination.tokens == (log.tokens[10:] if resumes else [])

    run_virtual(main())


def test_F1_a_token_that_is_refused_again_and_again_without_progress_ends_the_worker():
    async def main():
        log, state = await delivered_ten()

        class Fickle(Refusing):
            async def read_by_time(self, stream, *, position, delivered):
                self.by_time.append(position)
                async for item in ScriptedSource.read(self, stream, after=delivered):
                    yield item
                    raise TokenRefusedError("refused while reading")

        source = Fickle(logs={"a.b": log}, refusals=1000)
        assert isinstance(await run(source, RecordingDestination(), state, seconds=1000), TokenRefusedError)
        assert len(source.by_time) < 6

    run_virtual(main())


def test_F1_restart_from_now_ignores_where_a_fresh_stream_would_begin():
    async def main():
        log, state = await delivered_ten()
        lost = state._checkpoints["p/a.b"].position
        log.grow(30)
        destination, heard = RecordingDestination(), Heard()
        source = ScriptedSource(logs={"a.b": log}, start=5, lost_before=20)
        asyncio.get_running_loop().call_later(5, log.grow, 3)
        assert await run(source, destination, state, heard, seconds=20, on_lost_position="restart_from_now") is None
        (notice,) = heard.of(GapRecorded)
        assert notice.gap.lost == lost
        assert notice.gap.resumed.resume_token == "mark:40"
        assert destination.tokens == log.tokens[40:]
        assert state._checkpoints["p/a.b"].delivered.resume_token == log.tokens[-1]

    run_virtual(main())


def test_F1_behind_a_gap_nothing_was_delivered_yet():
    async def main():
        log, state = await delivered_ten()
        log.grow(30)
        source = ScriptedSource(logs={"a.b": log}, lost_before=20)
        assert await run(source, RecordingDestination(), state, on_lost_position="restart_from_now") is None
        assert state._checkpoints["p/a.b"].delivered is None

    run_virtual(main())


def test_Z2_an_idle_stream_keeps_its_delivered_end_and_the_position_reached_since():
    async def main():
        log, state = await delivered_ten()
        saved = state._checkpoints["p/a.b"]
        assert saved.position.resume_token == "mark:10"
        assert saved.delivered.resume_token == log.tokens[9]
        assert saved.events == 10

    run_virtual(main())


@pytest.mark.parametrize("policy", ["stop", "restart_from_now"])
@pytest.mark.parametrize("other", [OTHER, Identity("rs0", "", ()), Identity("rs0", "replica-set:b", ("1", "2"))])
def test_J9_another_deployment_stops_the_worker_and_changes_nothing(policy, other):
    async def main():
        one = attrs.evolve(ONE, id="replica-set:a") if other.id else ONE
        _, state = await delivered_ten(identity=one)
        before, bucket = dict(state._checkpoints), Bucket()
        source = ScriptedSource(logs={"a.b": log_of(30)}, identity=other)
        error = await run(source, BucketDestination(bucket=bucket), state, on_lost_position=policy)
        assert isinstance(error, OtherDeploymentError)
        assert "confirm-deployment" in error.remedy
        assert state._checkpoints == before
        assert (source.opened, bucket) == (0, Bucket())

    run_virtual(main())


def test_J9_an_instance_that_waited_for_the_lease_looks_again_before_it_takes_the_deployment_for_another():
    class LateSource(ScriptedSource, IdentityRefresher):
        """It was opened before the collections existed that another instance has recorded since."""

        async def refresh_identity(self, stream):
            self.identity = ONE

    async def main():
        _, state = await delivered_ten(identity=ONE)
        source = LateSource(logs={"a.b": log_of(30)}, identity=attrs.evolve(ONE, collections=()))
        assert await run(source, BucketDestination(bucket=Bucket()), state) is None
        assert state._checkpoints["p/a.b"].events == 30

    run_virtual(main())


@pytest.mark.parametrize("lost", ["never saved", "damaged"])
def test_J9_without_a_checkpoint_the_destinations_record_tells_another_deployment(lost):
    async def main():
        log, bucket = log_of(10), Bucket()
        source = ScriptedSource(logs={"a.b": log}, start=0, identity=ONE)
        assert await run(source, BucketDestination(bucket=bucket), FlakyStateStore()) is None
        before = attrs.asdict(bucket)
        state = FlakyStateStore(load_faults=[CorruptCheckpointError("damaged")] * 99 if lost == "damaged" else [])
        error = await run(
            ScriptedSource(logs={"a.b": log_of(30)}, identity=OTHER),
            BucketDestination(bucket=bucket),
            state,
            on_lost_position="restart_from_now",
        )
        assert isinstance(error, OtherDeploymentError)
        assert attrs.asdict(bucket) == before
        assert state.saves == []

    run_virtual(main())


def test_J9_a_checkpoint_vouches_for_the_destination_while_collections_are_replaced_one_after_another():
    async def main():
        log, state, bucket = log_of(10), FlakyStateStore(), Bucket()
        for collections in ("1", "2"), ("2", "3"), ("3", "4"), ("4", "5"):
            source = ScriptedSource(logs={"a.b": log}, start=0, identity=Identity("rs0", "", collections))
            assert await run(source, BucketDestination(bucket=bucket), state) is None
            log.grow(5)
        assert bucket.tokens(STREAM) == log.tokens[:-5]
        identity = state._checkpoints["p/a.b"].identity
        assert identity == Identity("rs0", "", ("4", "5"), ("1", "2"))  # former: what the definition recorded
        lake_of_another = Bucket(identities={"p/a.b": OTHER})
        source = ScriptedSource(logs={"a.b": log}, identity=Identity("rs0", "", ("5",)))
        error = await run(source, BucketDestination(bucket=lake_of_another), state)
        assert isinstance(error, OtherDeploymentError)

    run_virtual(main())


def test_J9_what_was_dropped_while_the_stream_was_read_is_not_missed_afterwards():
    async def main():
        log, state, bucket = log_of(10), FlakyStateStore(), Bucket()
        source = ScriptedSource(logs={"a.b": log}, start=0, identity=Identity("rs0", "", ("1",)))

        class Dropping(BucketDestination):
            async def write_batch(self, events):
                source.identity = Identity("rs0", "", (), ("1",))
                return await BucketDestination.write_batch(self, events)

        assert await run(source, Dropping(bucket=bucket), state) is None
        log.grow(5)
        for collections in (), ("2",):
            source = ScriptedSource(logs={"a.b": log}, identity=Identity("rs0", "", collections))
            assert await run(source, BucketDestination(bucket=bucket), state) is None
        assert bucket.tokens(STREAM) == log.tokens

    run_virtual(main())


def test_J9_what_an_older_version_recorded_is_unknown_and_is_replaced():
    async def main():
        log, state = await delivered_ten(identity=Identity("named differently"))
        log.grow(5)
        destination = RecordingDestination()
        assert await run(ScriptedSource(logs={"a.b": log}, identity=ONE), destination, state) is None
        assert destination.tokens == log.tokens[10:]
        assert state._checkpoints["p/a.b"].identity == ONE

    run_virtual(main())


def test_J9_a_source_that_may_not_list_collections_any_more_keeps_what_was_recorded():
    async def main():
        log, state = await delivered_ten(identity=ONE)
        log.grow(5)
        source = ScriptedSource(logs={"a.b": log}, identity=Identity("rs0"))
        assert await run(source, RecordingDestination(), state) is None
        assert state._checkpoints["p/a.b"].identity == ONE

    run_virtual(main())


def test_F1_a_gap_that_was_noted_is_skipped_before_anything_is_read():
    async def main():
        log, bucket = log_of(10), Bucket()
        state = FlakyStateStore()
        source = ScriptedSource(logs={"a.b": log}, start=0, identity=ONE)
        assert await run(source, BucketDestination(bucket=bucket), state) is None
        log.grow(10)
        before = state._checkpoints["p/a.b"]
        gap = Gap("confirmed", before.position, source._mark(log, 15))
        state._checkpoints["p/a.b"] = attrs.evolve(before, gaps=(gap,), identity=OTHER)
        source, heard = ScriptedSource(logs={"a.b": log}, identity=OTHER), Heard()
        assert await run(source, BucketDestination(bucket=bucket), state, heard) is None
        assert bucket.tokens(STREAM) == log.tokens[:10] + log.tokens[15:]
        assert [notice.gap for notice in heard.of(GapRecorded)] == [gap]
        assert state._checkpoints["p/a.b"].gaps == (gap,)
        source = ScriptedSource(logs={"a.b": log}, identity=OTHER)
        assert await run(source, BucketDestination(bucket=bucket), state) is None

    run_virtual(main())


def test_F1_a_noted_gap_of_an_old_checkpoint_does_not_take_the_destination_back():
    async def main():
        log, bucket, state = log_of(10), Bucket(), FlakyStateStore()
        assert await run(ScriptedSource(logs={"a.b": log}, start=0), BucketDestination(bucket=bucket), state) is None
        old = state._checkpoints["p/a.b"]
        log.grow(10)
        source = ScriptedSource(logs={"a.b": log})
        assert await run(source, BucketDestination(bucket=bucket), state) is None
        log.grow(5)
        noted = attrs.evolve(old, gaps=(Gap("noted before a crash", old.position, source._mark(log, 15)),))
        state._checkpoints["p/a.b"] = noted
        heard = Heard()
        assert await run(source, BucketDestination(bucket=bucket), state, heard) is None
        assert bucket.tokens(STREAM) == log.tokens
        assert len(bucket.definitions["p/a.b"]) == 1
        assert not heard.of(GapRecorded)

    run_virtual(main())


def test_F1_a_gap_in_which_nothing_happened_is_skipped_once():
    async def main():
        log, state, heard = log_of(10), FlakyStateStore(), Heard()
        source = ScriptedSource(logs={"a.b": log})
        assert await run(source, RecordingDestination(), state) is None

        class LostOnce(ScriptedSource):
            async def read(self, stream, *, after):
                self.opened += 1
                if self.opened == 1:
                    raise PositionLostError("the history is gone")
                async for item in ScriptedSource.read(self, stream, after=after):
                    yield item

        for _ in range(2):
            source = LostOnce(logs={"a.b": log})
            assert await run(source, RecordingDestination(), state, heard, on_lost_position="restart_from_now") is None
            assert len(heard.of(GapRecorded)) == 1
            log.grow(1)
            heard.notices.clear()
            source = ScriptedSource(logs={"a.b": log})
            assert await run(source, RecordingDestination(), state, heard) is None
            assert not heard.of(GapRecorded)

    run_virtual(main())
