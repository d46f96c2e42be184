"""The position of a transactional destination is in force; only idle time of the checkpoint counts beside it."""

import asyncio
import json

import attrs
import pytest
from rigatoni_core.api.batch import Heartbeat
from rigatoni_core.api.errors import DestinationError, LeaseLostError, PositionLostError
from rigatoni_core.api.events import Checkpoint, Gap, Stream, Timestamp
from rigatoni_core.api.notices import GapRecorded, Notice, PositionMoved, WorkerStarted
from rigatoni_core.api.records import dump_checkpoint, load_checkpoint
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import FlakyStateStore, Log, ScriptedSource, Table, TableDestination

STREAM = Stream("p", "a.b")


class Heard:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)

    def of(self, kind):
        return [notice for notice in self.notices if isinstance(notice, kind)]


class Ticking(ScriptedSource):
    """An idle source whose position advances with the source's time, `tick` seconds with each heartbeat."""

    beats = 0
    tick = 600

    def _mark(self, log, index):
        mark = ScriptedSource._mark(self, log, index)
        return attrs.evolve(mark, cluster_time=self._later(mark.cluster_time))

    async def read(self, stream, *, after):
        async for item in ScriptedSource.read(self, stream, after=after):
            self.beats += 1
            yield attrs.evolve(item, source_time=self._later(item.source_time)) if isinstance(item, Heartbeat) else item

    def _later(self, time):
        return Timestamp(time.seconds + self.tick * self.beats, time.increment)


def log_of(count):
    log = Log()
    log.grow(count)
    return log


async def run(source, table, state, *, seconds=None, **settings):
    heard = Heard()
    running = Pipeline(
        name="p",
        source=source,
        destination=TableDestination(table=table),
        state=state,
        settings=Settings(**settings),
        listeners=[heard],
    )
    if seconds:
        asyncio.get_running_loop().call_later(seconds, running.stop)
    report = await running.run(once=seconds is None)
    return heard, report.workers["a.b"].error


async def restored(checkpoint):
    state = MemoryStateStore()
    await state.save_resume_token(STREAM, checkpoint)
    return state


def test_E1_idle_time_is_committed_by_the_sources_time_and_a_lost_checkpoint_costs_no_more():
    async def main():
        table, state = Table(), FlakyStateStore()
        source = Ticking(logs={"a.b": log_of(5)}, start=0)
        await run(source, table, state, seconds=20.5)  # about 20 heartbeats, each ten minutes later
        held, saved = table.records[STREAM.key].position, state.saves[-1]
        assert saved.committed == held
        assert 0 <= saved.position.cluster_time.seconds - held.cluster_time.seconds < 3600 + Ticking.tick
        assert table.records[STREAM.key].delivered.order < held.order
        commits = {checkpoint.committed.order for checkpoint in state.saves}
        assert len(commits) <= 5, "an idle commit costs as much as a batch"
        heard, _ = await run(Ticking(logs={"a.b": log_of(5)}), table, FlakyStateStore())
        assert heard.of(WorkerStarted)[0].position == held

    run_virtual(main())


def test_E1_runs_that_end_at_once_commit_idle_time_too():
    async def main():
        table, state, log = Table(), FlakyStateStore(), log_of(5)
        for hours in range(3):
            source = Ticking(logs={"a.b": log}, start=0)
            source.beats = hours * 6
            _, error = await run(source, table, state)
            assert error is None
        assert table.records[STREAM.key].position.cluster_time.seconds >= log.times[-1].seconds + 3600

    run_virtual(main())


def test_an_idle_checkpoint_of_another_delivery_does_not_count():
    async def main():
        table, state, log = Table(), FlakyStateStore(), log_of(5)
        await run(ScriptedSource(logs={"a.b": log}, start=0), table, state)
        idle = await state.load_resume_token(STREAM)
        assert idle.position.order > idle.committed.order
        log.grow(1)
        await run(ScriptedSource(logs={"a.b": log}), table, MemoryStateStore())
        heard, _ = await run(ScriptedSource(logs={"a.b": log}), table, await restored(idle))
        moved = heard.of(PositionMoved)[0]
        assert (moved.saved, moved.position) == (idle.position, table.records[STREAM.key].position)
        assert table.tokens(STREAM) == log.tokens

    run_virtual(main())


def test_a_restored_destination_gets_the_rows_again_that_it_lost():
    async def main():
        table, state, log = Table(), FlakyStateStore(), log_of(5)
        await run(ScriptedSource(logs={"a.b": log}, start=0), table, state)
        backup = Table(list(table.rows), dict(table.records))
        log.grow(5)
        await run(ScriptedSource(logs={"a.b": log}), table, state)
        heard, _ = await run(ScriptedSource(logs={"a.b": log}), backup, state)
        assert backup.tokens(STREAM) == log.tokens
        assert heard.of(PositionMoved)[0].position.order < heard.of(PositionMoved)[0].saved.order

    run_virtual(main())


def test_a_destination_that_is_restored_while_the_pipeline_runs_gets_them_as_well():
    async def main():
        table, log = Table(), log_of(5)
        source = ScriptedSource(logs={"a.b": log}, start=0)
        backup = {}

        def copy():
            backup.update(rows=list(table.rows), records=dict(table.records))
            log.grow(5)

        def restore():
            table.rows[:], table.records = backup["rows"], backup["records"]
            log.grow(5)

        asyncio.get_running_loop().call_later(20, copy)
        asyncio.get_running_loop().call_later(40, restore)
        await run(source, table, MemoryStateStore(), seconds=60)
        assert table.tokens(STREAM) == log.tokens

    run_virtual(main())


def test_an_emptied_destination_continues_from_the_checkpoint():
    async def main():
        state, log = MemoryStateStore(), log_of(5)
        await run(ScriptedSource(logs={"a.b": log}, start=0), Table(), state)
        log.grow(5)
        table = Table()
        await run(ScriptedSource(logs={"a.b": log}), table, state)
        assert table.tokens(STREAM) == log.tokens[5:]

    run_virtual(main())


def test_a_gap_is_committed_to_the_destination():
    async def main():
        table, state, log = Table(), MemoryStateStore(), log_of(5)
        await run(ScriptedSource(logs={"a.b": log}, start=0), table, state)
        log.grow(5)
        lost = ScriptedSource(logs={"a.b": log}, lost_before=10)
        _, error = await run(lost, table, state)
        assert isinstance(error, PositionLostError)
        heard, error = await run(lost, table, state, on_lost_position="restart_from_now")
        assert error is None
        gap = heard.of(GapRecorded)[0].gap
        assert table.records[STREAM.key].number == 1
        assert table.records[STREAM.key].delivered == gap.resumed
        log.grow(2)
        await run(ScriptedSource(logs={"a.b": log}, lost_before=10), table, MemoryStateStore())
        assert table.tokens(STREAM) == [*log.tokens[:5], *log.tokens[10:]]

    run_virtual(main())


def test_the_checkpoint_keeps_the_destinations_position_and_older_records_have_none():
    checkpoint = Checkpoint(START, committed=attrs.evolve(START, ordinal=3))
    text = dump_checkpoint(STREAM, checkpoint)
    assert load_checkpoint(STREAM, text, "here") == checkpoint
    assert "committed" not in json.loads(dump_checkpoint(STREAM, Checkpoint(START)))


def record():
    return StreamRecord.begun(STREAM, None, ScriptedSource(logs={}).definition(STREAM), START)


def test_a_record_survives_its_text_and_refuses_a_damaged_or_newer_one():
    begun = record()
    text = begun.dump()
    assert "\n" not in text
    assert StreamRecord.load(STREAM, text, "the row") == begun
    for damaged in (text.replace("1700000000", "1700000001"), "{}", "[]", "null", "x", text[:-2]):
        with pytest.raises(DestinationError, match="the row is not the position record"):
            StreamRecord.load(STREAM, damaged, "the row")
    with pytest.raises(DestinationError, match="is not the position record of p/other"):
        StreamRecord.load(Stream("p", "other"), text, "the row")
    with pytest.raises(DestinationError, match="record format 2"):
        StreamRecord.load(STREAM, text.replace('"format": 1', '"format": 2'), "the row")


def test_a_record_takes_what_follows_it_and_nothing_else():
    begun = record()
    batch = batch_of([event_document(number) for number in range(6)], stream=STREAM)
    after = begun.after(batch[:3])
    assert not begun.holds(batch)
    assert begun.end_within(batch) is None
    assert after.holds(batch[:2])
    assert after.holds(batch[:3])
    assert after.end_within(batch) == batch[:3].end
    assert after.end_within(batch[3:]) is None
    idle = after.at(attrs.evolve(batch.end, ordinal=99))
    assert idle.end_within(batch) == batch[:3].end, "idle time does not count in these comparisons"
    assert idle.at(START) is idle
    assert begun.expect(after) is after
    definition = ScriptedSource(logs={}).definition(STREAM)
    skipped = StreamRecord.begun(STREAM, after, definition, batch.end, Gap("lost", START, batch.end))
    assert skipped.position == batch.end
    assert StreamRecord.begun(STREAM, after, definition, START) is after
    for held in (None, begun, skipped):
        with pytest.raises(LeaseLostError):
            after.expect(held)
