"""`watch` changes at random between runs that die anywhere: every event is delivered exactly once."""

import itertools

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.events import Coverage
from rigatoni_core.engine import succession
from rigatoni_core.engine.left_out import LeftOut
from rigatoni_core.engine.recovery import Recovery
from rigatoni_core.engine.succession import EVERYTHING, Succession
from rigatoni_testing.simulation.watching.lives import SCOPES, Life, random_lives
from rigatoni_testing.simulation.watching.objects import FolderDestination
from rigatoni_testing.simulation.watching.verdict import live

SCHEDULES = 400

RETURNS = [Life(("a",)), Life(("a",), ("a",)), Life(("ab",)), Life(("a",), ("a",))]
"""A stream returns to its old name before another one has delivered anything."""


@st.composite
def watches(draw):
    """Streams that do not overlap."""
    chosen, free = [], set("abcd")
    for scope in draw(st.permutations(SCOPES)):
        if set(scope) <= free and (not chosen or draw(st.booleans())):
            chosen.append(scope)
            free -= set(scope)
    return tuple(chosen)


lives = st.builds(
    Life,
    watch=watches(),
    transactions=st.lists(st.text("abcd", min_size=1, max_size=3), max_size=6).map(tuple),
    dies_at=st.none() | st.integers(1, 120),
    dies_writing=st.booleans(),
    took_effect=st.booleans(),
    lags=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(lives, min_size=2, max_size=6), st.integers(0, 1000))
def test_whatever_is_watched_and_whenever_a_run_dies_every_event_is_delivered_once(several, seed):
    verdict = live(several, seed)
    assert verdict.ok, verdict


def test_random_schedules_lose_and_repeat_nothing():
    for seed in range(SCHEDULES):
        verdict = live(random_lives(seed), seed)
        assert verdict.ok, (seed, verdict)


# --- mistakes in the rule, of which each must be noticed


def ends_by_checkpoint_only(monkeypatch):
    monkeypatch.setattr(succession, "later", lambda committed, saved: saved.position if saved else committed)


def reads_the_end_before_closing(monkeypatch):
    close, ends = FolderDestination.close_stream, {}

    async def close_stream(self, stream):
        end = ends.setdefault((id(self), stream), await self.last_committed(stream))
        await close(self, stream)
        return end

    monkeypatch.setattr(FolderDestination, "close_stream", close_stream)


def computes_what_is_left_out_anew(monkeypatch):
    def left_out(self):
        saved = self._succession._state._checkpoints
        streams = self._succession._state._streams
        coverage = [
            Coverage(streams[key].name, each.start, saved[key].position.cluster_time)
            for each in self._keeper.left_out(self._stream)
            for key in saved
            if streams[key].name == each.scope
        ]
        return LeftOut(self._source, coverage)

    monkeypatch.setattr(Recovery, "left_out", left_out)


def loses_the_rest(monkeypatch):
    async def rest(self, *_):
        return ()

    monkeypatch.setattr(Succession, "_rest", rest)


def repeats_what_is_not_the_rest(monkeypatch):
    async def rest(self, *_):
        return (EVERYTHING,)

    monkeypatch.setattr(Succession, "_rest", rest)


def is_content_with_what_has_happened(monkeypatch):
    """Takes no event at present for no event: of the time at which an idle stream stands, some may still happen."""
    found = Succession._rest

    async def rest(self, former, definition, end, saved):
        return () if not end.ordinal else await found(self, former, definition, end, saved)

    monkeypatch.setattr(Succession, "_rest", rest)


def resumes_a_closed_stream(monkeypatch):
    plan = Succession.plan

    async def stale(self, position):
        return None if position is not None else await plan(self, position)

    monkeypatch.setattr(Succession, "plan", stale)


def begins_at_the_newest_end(monkeypatch):
    def newest(shared, coverage):
        return max(each.end for each in coverage)

    monkeypatch.setattr(succession, "oldest_undelivered", newest)


def leaves_out_nothing(monkeypatch):
    monkeypatch.setattr(LeftOut, "_delivered", lambda self, batch: set())


def begins_a_batch_with_what_is_left_out(monkeypatch):
    monkeypatch.setattr(LeftOut, "splitting", lambda self, split: split)


def forgets_what_it_leaves_out_at_the_next_start(monkeypatch):
    succeed = FolderDestination.succeed

    async def forgetful(self, stream, definition, position, left_out):
        return await succeed(self, stream, definition, position, ())

    monkeypatch.setattr(FolderDestination, "succeed", forgetful)


def keeps_the_old_end_of_a_stream_that_returns(monkeypatch):
    """Lets the newest coverage of each stream stand for all of them."""
    history = FolderDestination.history

    async def newest(self, stream):
        found = await history(self, stream)
        return attrs.evolve(found, coverage=found.coverage[-1:])

    monkeypatch.setattr(FolderDestination, "history", newest)


@pytest.mark.parametrize(
    "mistake",
    [
        ends_by_checkpoint_only,
        reads_the_end_before_closing,
        computes_what_is_left_out_anew,
        loses_the_rest,
        repeats_what_is_not_the_rest,
        is_content_with_what_has_happened,
        resumes_a_closed_stream,
        begins_at_the_newest_end,
        leaves_out_nothing,
        begins_a_batch_with_what_is_left_out,
        forgets_what_it_leaves_out_at_the_next_start,
        keeps_the_old_end_of_a_stream_that_returns,
    ],
)
def test_a_mistake_in_the_rule_is_noticed(mistake, monkeypatch):
    mistake(monkeypatch)
    schedules = itertools.chain([RETURNS], map(random_lives, itertools.count()))
    schedules = itertools.islice(schedules, 5 * SCHEDULES)
    assert not all(live(several, seed).ok for seed, several in enumerate(schedules))
