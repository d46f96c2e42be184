"""Losses that a source notices while it reads go on record before the checkpoint passes them. Under a virtual clock."""

import asyncio
import importlib

import attrs
import pytest
from rigatoni_core.api.batch import Heartbeat
from rigatoni_core.api.errors import PositionLostError, StateStoreError, Transient
from rigatoni_core.api.events import Checkpoint, Gap, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import GapRecorded, Notice
from rigatoni_core.api.settings import Settings
from rigatoni_core.cli.logs import LogListener
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import FlakyStateStore, Log, RecordingDestination, ScriptedSource

STREAM = Stream("p", "a.b")


class BusyStoreError(StateStoreError, Transient):
    id = "busy"


class Heard:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)

    def gaps(self):
        return [notice.gap for notice in self.notices if isinstance(notice, GapRecorded)]


@attrs.define(kw_only=True)
class Noticing(ScriptedSource):
    """Notices a loss right before event `at`, every time that it is there."""

    at: int
    noticed: int = attrs.field(default=0, init=False)

    def gap(self):
        place = self._mark(self.logs["a.b"], self.at)
        return Gap("a.b was replaced", place, place, Namespace("a", "b"))

    async def read(self, stream, *, after):
        index = self._index(self.logs[stream.name], after)
        async for item in ScriptedSource.read(self, stream, after=after):
            if isinstance(item, Heartbeat) and index == self.at:
                self.noticed += 1
                item = attrs.evolve(item, gaps=(self.gap(),))
            index += 0 if isinstance(item, Heartbeat) else len(item)
            yield item


def log_of(count):
    log = Log()
    log.grow(count)
    return log


async def run(source, state, heard, *, destination=None, **settings):
    running = Pipeline(
        name="p",
        source=source,
        destination=destination or RecordingDestination(),
        state=state,
        settings=Settings(**settings),
        listeners=[heard],
    )
    return await running.run(once=True)


def test_a_gap_is_on_record_in_every_save_that_passes_it():
    async def main():
        log, state, heard = log_of(30), FlakyStateStore(), Heard()
        source = Noticing(logs={"a.b": log}, start=0, at=0, reply_events=10)
        assert (await run(source, state, heard, batch_size=5)).ok
        assert heard.gaps() == [source.gap()]
        passed = [save for save in state.saves if save.events]
        assert passed
        assert all(save.gaps == (source.gap(),) for save in passed)

    run_virtual(main())


def test_a_gap_that_is_noticed_while_the_stream_is_idle_is_saved_at_once():
    async def main():
        log, state, heard = log_of(3), FlakyStateStore(), Heard()
        source = Noticing(logs={"a.b": log}, at=3)
        running = Pipeline(
            name="p",
            source=source,
            destination=RecordingDestination(),
            state=state,
            settings=Settings(idle_advance_interval=3600.0),
            listeners=[heard],
        )
        task = asyncio.create_task(running.run())
        await asyncio.sleep(30)
        assert source.noticed > 10
        assert [save.gaps for save in state.saves] == [(), (source.gap(),)]
        running.stop()
        await task
        assert heard.gaps() == [source.gap()]

    run_virtual(main())


def test_a_gap_that_is_noticed_again_after_a_restart_is_one_gap():
    async def main():
        log, state, heard = log_of(10), FlakyStateStore(), Heard()
        for _ in range(3):
            source = Noticing(logs={"a.b": log}, start=0, at=10)
            await run(source, state, heard)
        assert state._checkpoints[STREAM.key].gaps == (source.gap(),)
        assert heard.gaps() == [source.gap()]

    run_virtual(main())


@pytest.mark.parametrize("lost_response", [False, True])
def test_a_state_store_that_fails_meanwhile_does_not_lose_it(lost_response):
    async def main():
        log, state, heard = log_of(10), FlakyStateStore(), Heard()
        faults = [None, BusyStoreError("busy"), BusyStoreError("busy")]  # the first save is the anchor's
        (state.after_save_faults if lost_response else state.save_faults).extend(faults)
        source = Noticing(logs={"a.b": log}, at=10)
        assert (await run(source, state, heard)).ok
        assert state._checkpoints[STREAM.key].gaps == (source.gap(),)
        assert heard.gaps() == [source.gap()]

    run_virtual(main())


def test_a_position_that_is_lost_at_the_same_place_is_a_gap_of_its_own():
    """The gap of one collection does not say where a lost position resumes."""

    async def main():
        log, state, heard = log_of(10), FlakyStateStore(), Heard()
        source = Noticing(logs={"a.b": log}, at=10)
        await run(source, state, heard)
        log.grow(10)
        later = Noticing(logs={"a.b": log}, at=99, lost_before=15)
        stopped = await run(later, state, heard)
        assert isinstance(stopped.workers["a.b"].error, PositionLostError)
        assert (await run(later, state, heard, on_lost_position="restart_from_now")).ok
        collection, history = state._checkpoints[STREAM.key].gaps
        assert collection == source.gap()
        assert history.namespace is None
        assert history.resumed.cluster_time > collection.resumed.cluster_time

    run_virtual(main())


def test_the_log_line_and_state_show_name_the_collection(capsys):
    place = Position(ResumeToken("secret"), "f", Timestamp(1_700_000_000, 1))
    gap = Gap("tmp was renamed to a.b. Copy a.b.", place, place, Namespace("a", "b"))
    lines = []

    class Log:
        def is_enabled_for(self, level):
            return True

        def log(self, level, event, **fields):
            lines.append((event, fields))

    LogListener(Log()).notify(GapRecorded(stream=STREAM, gap=gap))
    ((event, fields),) = lines
    assert (event, fields["collection"], fields["cause"]) == ("gap recorded", "a.b", gap.cause)
    show = importlib.import_module("rigatoni_core.cli.state.show")  # the package has the command under this name
    record = show._described(Checkpoint(place, gaps=(gap,)), None, False)
    show._print({"pipeline": "p", "stream": "a.b", "holder": None, "watched": True, **record})
    shown = capsys.readouterr().out
    assert "documents of a.b" in shown
    assert gap.cause in shown
    assert "secret" not in shown
