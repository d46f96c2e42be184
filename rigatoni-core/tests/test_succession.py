"""What a new stream continues when `watch` was changed, and when that is refused. Under a virtual clock."""

import random

import attrs
import pytest
from rigatoni_core.api.contracts import StateStore, TimeReader
from rigatoni_core.api.errors import (
    CorruptCheckpointError,
    OtherDeploymentError,
    PositionLostError,
    TokenRefusedError,
    WatchChangedError,
)
from rigatoni_core.api.events import Coverage, Gap, Position, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.notices import LeaseAcquired, LeaseAwaited, Notice, RepeatsPossible, StreamsSucceeded
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.left_out import LeftOut
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.engine.succession import later, oldest_undelivered, preview
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import RecordingDestination
from rigatoni_testing.serializers import TokenLines
from rigatoni_testing.simulation.watching.deployment import BEGINNING, Deployment, LetterSource
from rigatoni_testing.simulation.watching.lives import Life, Process
from rigatoni_testing.simulation.watching.objects import FolderDestination, Objects


class Heard:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)

    def of(self, kind):
        return [notice for notice in self.notices if isinstance(notice, kind)]


class Lake:
    """A deployment, a bucket and a state store, and runs that watch something."""

    def __init__(self, state=None):
        self.log, self.objects = Deployment(), Objects(random.Random(0))
        self.state = state or MemoryStateStore()
        self.heard = Heard()

    def parts(self, *watch, kind=LetterSource, **options):
        process = Process(Life(watch))
        source = kind(deployment=self.log, process=process, chance=random.Random(0), **options)
        return source, FolderDestination(serializer=TokenLines(), objects=self.objects, process=process)

    async def run(self, *watch, kind=LetterSource, destination=None, settings=None, **options):
        source, folder = self.parts(*watch, kind=kind, **options)
        self.heard = Heard()
        pipeline = Pipeline(
            name="p",
            source=source,
            destination=destination or folder,
            state=self.state,
            settings=Settings(batch_timeout=0.1, **(settings or {})),
            listeners=[self.heard],
        )
        report = await pipeline.run(once=True)
        (error,) = {outcome.error for outcome in report.workers.values()}
        return error

    async def delivers(self, *watch, **options):
        assert await self.run(*watch, **options) is None

    async def a_delivered_three(self):
        await self.delivers("a")
        for _ in range(3):
            self.log.write("a")
        await self.delivers("a")

    def delivered(self):
        contents = [content for key, (content, _) in self.objects.held.contents.items() if key.endswith(".txt")]
        return sorted(self.log.tokens.index(token) for each in contents for token in TokenLines.tokens_in(each))

    def records(self):
        return dict(self.objects.held.contents), dict(self.state._checkpoints)


def time(increment):
    return Timestamp(BEGINNING, increment)


# --- where a new stream begins


@pytest.mark.parametrize(
    ("shared", "coverage", "begin"),
    [
        ([{"a"}], [("a", 1, 5)], 5),
        ([{"a"}, {"b"}], [("a", 1, 5), ("b", 1, 3)], 3),
        ([{"a"}, set()], [("a", 1, 5)], 5),  # nobody watched the others
        ([{"a", "ab"}, {"ab"}], [("a", 1, 5), ("ab", 5, 9)], 9),  # one continued the other
        ([{"a", "ab"}], [("a", 1, 5), ("ab", 7, 9)], 5),  # a hole
        ([{"a", "ab"}, {"ab"}], [("a", 1, 5), ("ab", 2, 3)], 3),
        ([{"a"}], [("a", 1, 5), ("a", 5, 8)], 8),  # begun and ended twice
    ],
)
def test_a_new_stream_begins_at_the_oldest_time_of_which_something_is_undelivered(shared, coverage, begin):
    found = [Coverage(scope, time(start), time(end)) for scope, start, end in coverage]
    assert oldest_undelivered(map(frozenset, shared), found) == time(begin)


def test_a_gap_that_was_noted_counts_as_delivered():
    position, resumed = (Position(f"mark:{n}", "f", time(n), 0) for n in (1, 9))

    class Saved:
        open_gap = Gap("lost", position, resumed)

    assert later(position, Saved()) == resumed


def test_a_new_stream_that_nothing_precedes_begins_at_now():
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        lake.log.write("b")
        await lake.delivers("a", "b")
        assert lake.heard.of(StreamsSucceeded) == []
        assert lake.delivered() == [0, 1, 2]

    run_virtual(main())


def test_a_new_stream_resumes_where_the_former_ended_and_reports_it():
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        lake.log.write("a")
        lake.log.write("b")
        await lake.delivers("ab")
        (notice,) = lake.heard.of(StreamsSucceeded)
        assert (notice.stream.name, notice.former, notice.leased) == ("ab", ("a",), True)
        assert lake.delivered() == [0, 1, 2, 3, 4]
        await lake.delivers("ab")
        assert lake.heard.of(StreamsSucceeded) == []

    run_virtual(main())


def test_without_a_list_of_streams_the_destinations_definitions_tell():
    class Unlisted(StateStore):
        """Keeps checkpoints, and does no more."""

        def __init__(self):
            self.kept = MemoryStateStore()

        async def save_resume_token(self, stream, checkpoint):
            await self.kept.save_resume_token(stream, checkpoint)

        async def load_resume_token(self, stream):
            return await self.kept.load_resume_token(stream)

        async def clear_resume_token(self, stream, *, fencing_token=0):
            await self.kept.clear_resume_token(stream, fencing_token=fencing_token)

        async def cleared_under(self, stream):
            return await self.kept.cleared_under(stream)

    async def main():
        lake = Lake(Unlisted())
        await lake.a_delivered_three()
        lake.log.write("a")
        await lake.delivers("abc")
        assert [notice.leased for notice in lake.heard.of(StreamsSucceeded)] == [False]
        assert lake.delivered() == [0, 1, 2, 3]

    run_virtual(main())


def test_a_lost_state_store_changes_nothing():
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        lake.log.write("a")
        lake.state = MemoryStateStore()
        await lake.delivers("ab")
        assert lake.delivered() == [0, 1, 2, 3]

    run_virtual(main())


def test_the_lease_of_a_former_stream_is_waited_for():
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        assert await lake.state.acquire(Stream("p", "a"), owner="other", ttl=12.0)
        await lake.delivers("ab")
        assert {notice.stream.name for notice in lake.heard.of(LeaseAwaited)} == {"ab"}
        assert {notice.stream.name for notice in lake.heard.of(LeaseAcquired)} == {"ab"}

    run_virtual(main())


def test_a_preview_reports_the_next_run_and_changes_nothing():
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        await lake.delivers("ab")
        before = lake.records()
        for watch, former in (("abc", ("ab",)), ("a", ("ab", "a"))):
            source, destination = lake.parts(watch)
            plan = await preview(Stream("p", watch), [watch], source, lake.state, destination)
            assert tuple(each.name for each in plan.former if each.name in former) == former
            assert lake.records() == before
        source, destination = lake.parts("ab")
        assert await preview(Stream("p", "ab"), ["ab"], source, lake.state, destination) is None
        await lake.delivers("a")
        (notice,) = lake.heard.of(StreamsSucceeded)
        assert notice.former == ("ab", "a")

    run_virtual(main())


# --- refusals


def test_a_destination_that_keeps_no_record_refuses_and_names_the_former_streams():
    async def main():
        lake, destination = Lake(), RecordingDestination()
        await lake.delivers("a", "c", destination=destination)
        lake.log.write("ab")
        error = await lake.run("abc", destination=destination)
        assert isinstance(error, WatchChangedError)
        assert "a, c" in str(error)
        assert destination.tokens == []
        await lake.delivers("a", "c", destination=destination)  # the old spelling still works
        assert destination.tokens == lake.log.tokens[:1]

    run_virtual(main())


def test_another_deployment_is_refused_and_changes_nothing():
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        before = lake.records()
        error = await lake.run("ab", identity=Identity("model", "model:2"))
        assert isinstance(error, OtherDeploymentError)
        assert "p/a" in str(error)
        assert lake.records() == before
        source, destination = lake.parts("ab", identity=Identity("model", "model:2"))
        with pytest.raises(OtherDeploymentError):
            await preview(Stream("p", "ab"), ["ab"], source, lake.state, destination)

    run_virtual(main())


def test_a_damaged_checkpoint_is_refused_and_named():
    class Damaged(MemoryStateStore):
        async def load_resume_token(self, stream):
            if stream.name == "a" and self.damaged:
                raise CorruptCheckpointError("it is damaged")
            return await MemoryStateStore.load_resume_token(self, stream)

    async def main():
        Damaged.damaged = False
        lake = Lake(Damaged())
        await lake.a_delivered_three()
        Damaged.damaged = True
        before = dict(lake.objects.held.contents)
        error = await lake.run("ab")
        assert isinstance(error, WatchChangedError)
        assert "p/a" in str(error)
        assert lake.objects.held.contents == before

    run_virtual(main())


@attrs.define(kw_only=True)
class Forgetful(LetterSource, TimeReader):
    """Does not resume the stream "a" by its token."""

    error: Exception
    refusals: int = 1000
    finds: bool = False

    async def read(self, stream, *, after):
        if stream.name == "a" and self.refusals and after is not None:
            self.refusals -= 1
            raise self.error
        async for item in LetterSource.read(self, stream, after=after):
            yield item

    async def read_by_time(self, stream, *, position, delivered):
        if not self.finds:
            raise PositionLostError("the event does not come")
        async for item in LetterSource.read(self, stream, after=position):
            yield item


def test_a_lost_history_is_a_matter_of_the_policy():
    async def main():
        lake, options = Lake(), {"kind": Forgetful, "error": PositionLostError("rolled over")}
        await lake.a_delivered_three()
        lake.state._checkpoints["p/a"] = attrs.evolve(  # right behind an event: only the source tells what follows
            lake.state._checkpoints["p/a"], position=lake.state._checkpoints["p/a"].delivered
        )
        lake.log.write("a")
        error = await lake.run("ab", **options)
        assert isinstance(error, WatchChangedError)
        assert "p/a" in str(error)
        assert lake.delivered() == [0, 1, 2]
        await lake.delivers("ab", **options, settings={"on_lost_position": "restart_from_now"})
        assert lake.heard.of(RepeatsPossible)
        assert set(lake.delivered()) == {0, 1, 2, 3}

    run_virtual(main())


@pytest.mark.parametrize("refusals", [1, 2])
def test_a_token_that_is_refused_is_tried_again_and_then_found_by_time(refusals):
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        lake.state._checkpoints["p/a"] = attrs.evolve(
            lake.state._checkpoints["p/a"], position=lake.state._checkpoints["p/a"].delivered
        )
        lake.log.write("a")
        error = TokenRefusedError("refused")
        await lake.delivers("ab", kind=Forgetful, error=error, refusals=refusals, finds=refusals == 2)
        assert lake.heard.of(RepeatsPossible) == []
        assert lake.delivered() == [0, 1, 2, 3]

    run_virtual(main())


@attrs.define(kw_only=True)
class OnlyByTime(LetterSource):
    """Has forgotten every token of the stream "a"."""

    async def read(self, stream, *, after):
        if stream.name == "a" and after is not None and not after.resume_token.startswith("time:"):
            raise PositionLostError("rolled over")
        async for item in LetterSource.read(self, stream, after=after):
            yield item


def test_what_a_reload_checks_is_where_the_stream_will_begin():
    async def main():
        lake = Lake()
        await lake.a_delivered_three()
        await lake.delivers("ab")

        def prepared(**options):
            source, destination = lake.parts("a", kind=OnlyByTime, **options)
            return Pipeline(name="p", source=source, destination=destination, state=lake.state)

        pipeline = prepared()
        await pipeline.prepare()  # not where it stood before others continued it
        await pipeline.close()
        with pytest.raises(OtherDeploymentError):
            await prepared(identity=Identity("model", "model:2")).prepare()

    run_virtual(main())


# --- what is left out


class Counting:
    """Counts how often it looks at the events of a batch."""

    looks = 0

    def included(self, scope, events):
        self.looks += 1
        return range(len(events))


def test_behind_the_last_end_no_event_is_looked_at():
    lake = Lake()
    for _ in range(6):
        lake.log.write("a")
    source, _ = lake.parts("a")
    batch = source._batch(source.position_at(Stream("p", "a"), time(1)), Stream("p", "a"), range(6))
    counting = Counting()
    left_out = LeftOut(counting, [Coverage("a", time(1), time(3))])
    assert [len(left_out.kept(batch)), left_out.splitting(len)(batch)] == [3, 3]
    assert left_out.kept(batch) is left_out.kept(batch)
    assert list(left_out.kept(batch).indices) == [3, 4, 5]
    looks = counting.looks
    late = batch[3:]
    assert left_out.kept(late) is late
    assert left_out.splitting(len)(late) == 3
    assert counting.looks == looks
    assert LeftOut(None).kept(batch) is batch
