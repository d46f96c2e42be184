"""The loop under a virtual clock: batching, retries, isolation, shutdown, checkpoints."""

import asyncio
import math

import pytest
from rigatoni_core.api.errors import (
    AccessDenied,
    DestinationError,
    PositionLostError,
    SourceError,
    StateStoreError,
    StreamEndedError,
    Transient,
)
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Notice, RepeatsPossible, Retrying, WorkerFailing, WorkerStarted
from rigatoni_core.api.records import dump_checkpoint, load_checkpoint
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import (
    HANG,
    Bucket,
    BucketDestination,
    FlakyStateStore,
    Log,
    RecordingDestination,
    ScriptedSource,
)


class DownError(DestinationError, Transient):
    pass


class DroppedError(SourceError, Transient):
    pass


class StoreDownError(StateStoreError, Transient):
    pass


class NoRightToReadError(SourceError, AccessDenied):
    pass


class NoRightToWriteError(DestinationError, AccessDenied):
    pass


class NoRightToSaveError(StateStoreError, AccessDenied):
    pass


class Heard:
    """Keeps every notice, with the virtual time at which it came."""

    def __init__(self) -> None:
        self.notices: list[tuple[float, Notice]] = []

    def notify(self, notice: Notice) -> None:
        self.notices.append((asyncio.get_running_loop().time(), notice))

    def of(self, kind):
        return [notice for _, notice in self.notices if isinstance(notice, kind)]


def pipeline(source, destination, state=None, *, heard=None, **settings):
    return Pipeline(
        name="p",
        source=source,
        destination=destination,
        state=state or FlakyStateStore(),
        settings=Settings(**settings),
        listeners=[heard] if heard else [],
    )


def log_of(count):
    log = Log()
    log.grow(count)
    return log


def test_all_events_arrive_once_and_in_order_then_the_checkpoint_stands_after_the_last():
    async def main():
        log, destination, state = log_of(95), RecordingDestination(), FlakyStateStore()
        report = await pipeline(
            ScriptedSource(logs={"shop.orders": log}, start=0), destination, state, batch_size=30
        ).run(once=True)
        assert report.ok
        assert destination.tokens == log.tokens
        assert [len(batch) for batch in destination.batches] == [30, 30, 30, 5]
        assert [save.events for save in state.saves] == [0, 30, 60, 90, 95, 95]
        assert destination.closed

    run_virtual(main())


def test_Z1_what_was_written_while_stopped_is_delivered_after_the_restart():
    async def main():
        log, state = log_of(10), FlakyStateStore()
        await pipeline(ScriptedSource(logs={"a.b": log}, start=0), RecordingDestination(), state).run(once=True)
        log.grow(50)
        destination = RecordingDestination()
        await pipeline(ScriptedSource(logs={"a.b": log}), destination, state).run(once=True)
        assert destination.tokens == log.tokens[10:]

    run_virtual(main())


def test_Z2_nothing_is_saved_before_the_write_and_one_save_per_batch():
    async def main():
        log, state = log_of(40), FlakyStateStore()
        destination = RecordingDestination()

        class Spy(FlakyStateStore):
            async def save_resume_token(self, stream, checkpoint):
                assert checkpoint.events <= len(destination.tokens)
                await FlakyStateStore.save_resume_token(self, stream, checkpoint)

        state = Spy()
        report = await pipeline(ScriptedSource(logs={"a.b": log}, start=0), destination, state, batch_size=20).run(
            once=True
        )
        assert report.ok
        assert len([save for save in state.saves if save.events]) <= 3  # two batches and the last idle position

    run_virtual(main())


def test_G1_a_batch_is_cut_by_age_also_without_traffic():
    async def main():
        log, destination = log_of(3), RecordingDestination()
        running = pipeline(ScriptedSource(logs={"a.b": log}, start=0), destination, batch_timeout=5.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(4.9)
        assert destination.batches == []
        await asyncio.sleep(0.2)
        assert destination.tokens == log.tokens
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_G1_a_batch_is_cut_by_bytes():
    async def main():
        log, destination = log_of(100), RecordingDestination()
        size = max(map(len, log.raws))
        await pipeline(
            ScriptedSource(logs={"a.b": log}, start=0, reply_events=7), destination, batch_bytes=size * 10 + 3
        ).run(once=True)
        assert destination.tokens == log.tokens
        assert {len(batch) for batch in destination.batches} == {10}

    run_virtual(main())


def test_G2_Z5_two_failures_are_retried_after_about_one_and_two_seconds_with_one_checkpoint():
    async def main():
        log, heard, state = log_of(5), Heard(), FlakyStateStore()
        destination = RecordingDestination(before=[DownError("down"), DownError("down")])
        report = await pipeline(ScriptedSource(logs={"a.b": log}, start=0), destination, state, heard=heard).run(
            once=True
        )
        assert report.ok
        first, second = heard.of(Retrying)
        assert 0.8 <= first.delay <= 1.2
        assert 1.6 <= second.delay <= 2.4
        assert destination.tokens == log.tokens
        assert [save.events for save in state.saves if save.position.resume_token == log.tokens[-1]] == [5]

    run_virtual(main())


def test_G2_delays_are_capped_and_a_servers_hint_is_honoured():
    async def main():
        heard = Heard()
        faults = [DownError("down") for _ in range(7)] + [DownError("slow down", retry_after=90.0)]
        report = await pipeline(
            ScriptedSource(logs={"a.b": log_of(1)}, start=0), RecordingDestination(before=faults), heard=heard
        ).run(once=True)
        assert report.ok
        delays = [notice.delay for notice in heard.of(Retrying)]
        assert max(delays[:7]) <= 30.0
        assert delays[5] >= 24.0
        assert delays[7] == 90.0

    run_virtual(main())


def test_G3_a_fatal_error_is_not_retried_and_stops_only_its_own_worker():
    async def main():
        good, bad = log_of(20), log_of(20)

        class OneBad(RecordingDestination):
            async def write_batch(self, events):
                if events.stream.name == "bad.one":
                    self.attempts += 1
                    raise DestinationError("access denied")
                return await RecordingDestination.write_batch(self, events)

        destination = OneBad()
        report = await pipeline(ScriptedSource(logs={"good.one": good, "bad.one": bad}, start=0), destination).run(
            once=True
        )
        assert not report.ok
        assert isinstance(report.workers["bad.one"].error, DestinationError)
        assert report.workers["good.one"].error is None
        assert destination.tokens == good.tokens
        assert destination.attempts == 2

    run_virtual(main())


def test_a_bug_in_a_plugin_stops_that_worker_and_is_in_the_report():
    async def main():
        report = await pipeline(
            ScriptedSource(logs={"a.b": log_of(1)}, start=0), RecordingDestination(before=[ZeroDivisionError("bug")])
        ).run(once=True)
        assert isinstance(report.workers["a.b"].error, ZeroDivisionError)

    run_virtual(main())


def test_Z4_a_failed_write_never_lets_the_batch_grow_nor_drops_it_on_stop():
    async def main():
        log, state = log_of(10), FlakyStateStore()
        destination = RecordingDestination(before=[DownError("down")] * 1000)
        running = pipeline(ScriptedSource(logs={"a.b": log}, start=0), destination, state, batch_timeout=1.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(10)
        log.grow(10)
        await asyncio.sleep(60)
        running.stop()
        assert (await task).ok
        again = RecordingDestination()
        await pipeline(ScriptedSource(logs={"a.b": log}), again, state).run(once=True)
        assert again.tokens == log.tokens

    run_virtual(main())


def test_Z17_G4_a_hanging_stream_changes_nothing_for_the_others_and_stops_reading_when_full():
    async def main():
        busy, stuck = log_of(0), log_of(5000)
        size = len(stuck.raws[0])

        class HangsForOne(RecordingDestination):
            async def write_batch(self, events):
                if events.stream.name == "stuck.one":
                    await asyncio.Event().wait()
                return await RecordingDestination.write_batch(self, events)

        destination = HangsForOne()
        source = ScriptedSource(logs={"busy.one": busy, "stuck.one": stuck}, start=0)
        running = pipeline(
            source, destination, batch_timeout=1.0, batch_bytes=size * 50, max_buffered_bytes=size * 200, batch_size=50
        )
        task = asyncio.create_task(running.run())
        for count in range(1, 21):
            busy.grow(1)
            await asyncio.sleep(1.1)
            assert len(destination.tokens) == count
        assert source.served - 20 <= 200 + source.reply_events
        running.stop()
        report = await task
        assert report.workers["stuck.one"].abandoned
        assert not report.workers["busy.one"].abandoned
        assert asyncio.get_running_loop().time() <= 22 + 31

    run_virtual(main())


def test_G6_a_second_stop_ends_at_once_without_a_checkpoint():
    async def main():
        state = FlakyStateStore()
        running = pipeline(
            ScriptedSource(logs={"a.b": log_of(5)}, start=0),
            RecordingDestination(before=[HANG]),
            state,
            batch_timeout=1.0,
        )
        task = asyncio.create_task(running.run())
        await asyncio.sleep(3)
        running.stop()
        await asyncio.sleep(1)
        running.stop()
        report = await task
        assert report.abandoned
        assert asyncio.get_running_loop().time() < 5
        assert [save.events for save in state.saves] == [0]

    run_virtual(main())


def test_G6_a_stop_finishes_the_batch_and_saves_it():
    async def main():
        log, state = log_of(5), FlakyStateStore()
        destination = RecordingDestination(seconds=3.0)
        running = pipeline(ScriptedSource(logs={"a.b": log}, start=0), destination, state, batch_timeout=1.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(2)
        running.stop()
        assert (await task).ok
        assert destination.tokens == log.tokens
        assert state.saves[-1].events == 5

    run_virtual(main())


def test_G9_a_late_response_of_an_abandoned_attempt_does_not_move_the_checkpoint():
    async def main():
        log, state = log_of(5), FlakyStateStore()

        class Late(RecordingDestination):
            async def write_batch(self, events):
                self.attempts += 1
                if self.attempts <= 2:
                    asyncio.get_running_loop().call_later(100, self.batches.append, ["late"])
                    await asyncio.Event().wait()
                return await RecordingDestination.write_batch(self, events)

        destination = Late(before=[DestinationError("no")])
        report = await pipeline(ScriptedSource(logs={"a.b": log}, start=0), destination, state, write_timeout=60.0).run(
            once=True
        )
        await asyncio.sleep(200)
        assert destination.batches == [["late"], ["late"]]
        assert isinstance(report.workers["a.b"].error, DestinationError)
        assert {save.events for save in state.saves} == {0}

    run_virtual(main())


def test_E1_E3_an_idle_stream_advances_and_saves_seldom():
    async def main():
        log, state = log_of(3), FlakyStateStore()
        running = pipeline(
            ScriptedSource(logs={"a.b": log}, start=0), RecordingDestination(), state, idle_advance_interval=10.0
        )
        task = asyncio.create_task(running.run())
        await asyncio.sleep(100)
        assert state.saves[-1].position.resume_token == "mark:3"
        saves = len(state.saves)
        assert saves <= 4  # the anchor, the batch, then one idle position that does not change any more
        running.stop()
        await task
        assert len(state.saves) == saves

    run_virtual(main())


def test_E2_an_idle_position_never_overtakes_an_unwritten_event():
    async def main():
        log, state = log_of(3), FlakyStateStore()
        destination = RecordingDestination(before=[DownError("down")] * 5)
        running = pipeline(
            ScriptedSource(logs={"a.b": log}, start=0),
            destination,
            state,
            batch_timeout=20.0,
            idle_advance_interval=0.0,
        )
        task = asyncio.create_task(running.run())
        await asyncio.sleep(30)
        assert destination.tokens == []
        assert {save.position.resume_token for save in state.saves} == {"mark:0"}
        running.stop()
        await task

    run_virtual(main())


def test_a_failing_destination_is_tried_again_for_as_long_as_it_takes():
    async def main():
        log = log_of(5)
        destination = RecordingDestination(before=[DownError("down")] * 50)
        running = pipeline(ScriptedSource(logs={"a.b": log}, start=0), destination, on_failure="restart")
        report = await running.run(once=True)
        assert report.ok
        assert destination.tokens == log.tokens
        assert running.statistics.total.errors.total() >= 4

    run_virtual(main())


def test_after_a_delivery_the_next_failure_begins_with_a_short_delay_again():
    async def main():
        log, heard = log_of(5), Heard()
        destination = RecordingDestination(before=[DownError("down")] * 4)
        running = pipeline(
            ScriptedSource(logs={"a.b": log}, start=0),
            destination,
            heard=heard,
            batch_timeout=1.0,
            retry=RetrySettings(max_retries=0),
        )
        task = asyncio.create_task(running.run())
        await asyncio.sleep(100)
        assert destination.tokens == log.tokens
        destination.before += [DownError("down")] * 2
        log.grow(1)
        await asyncio.sleep(100)
        assert [round(math.log2(notice.delay)) for notice in heard.of(WorkerFailing)] == [0, 1, 2, 3, 0, 1]
        running.stop()
        await task

    run_virtual(main())


def test_positions_that_are_lost_one_by_one_with_deliveries_in_between_never_stop_the_worker():
    async def main():
        log, destination = log_of(0), RecordingDestination()
        source = ScriptedSource(logs={"a.b": log}, start=0)
        running = pipeline(source, destination, on_lost_position="restart_from_now", batch_timeout=1.0)
        task = asyncio.create_task(running.run())
        for _ in range(8):
            await asyncio.sleep(10)
            source.start = None
            source.faults[len(log.raws) + 3] = PositionLostError("gone")
            log.grow(5)
        await asyncio.sleep(10)
        assert running.statistics.total.gaps == 8
        assert len(destination.tokens) == 8 * 3
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_on_failure_stop_ends_the_worker_when_retries_are_used_up():
    async def main():
        destination = RecordingDestination(before=[DownError("down")] * 50)
        report = await pipeline(
            ScriptedSource(logs={"a.b": log_of(5)}, start=0),
            destination,
            on_failure="stop",
            retry=RetrySettings(max_retries=2),
        ).run(once=True)
        assert isinstance(report.workers["a.b"].error, DownError)
        assert destination.attempts == 3

    run_virtual(main())


@pytest.mark.parametrize(("once", "ends"), [(True, True), (False, False)])
def test_a_run_with_once_stops_at_a_failure_unless_configured_otherwise(once, ends):
    async def main():
        destination = RecordingDestination(before=[DownError("down")] * 5000)
        running = pipeline(
            ScriptedSource(logs={"a.b": log_of(5)}, start=0), destination, retry=RetrySettings(max_retries=2)
        )
        task = asyncio.create_task(running.run(once=once))
        await asyncio.sleep(3600)
        assert task.done() is ends
        running.stop()
        report = await task
        assert isinstance(report.workers["a.b"].error, DownError) is ends

    run_virtual(main())


def test_on_failure_stop_tries_to_read_again_as_often_as_to_write():
    class Dropping(ScriptedSource):
        async def read(self, stream, *, after):
            raise DroppedError("dropped")
            yield

    async def main():
        source = Dropping(logs={"a.b": log_of(5)}, start=0)
        running = pipeline(source, RecordingDestination(), on_failure="stop", retry=RetrySettings(max_retries=3))
        report = await running.run()
        assert isinstance(report.workers["a.b"].error, DroppedError)
        assert running.statistics.total.errors["dropped"] == 4

    run_virtual(main())


def test_a_source_that_drops_is_entered_again_and_nothing_is_lost_or_repeated():
    async def main():
        log, destination = log_of(100), RecordingDestination()
        source = ScriptedSource(
            logs={"a.b": log}, start=0, faults={n: DroppedError("dropped") for n in (0, 17, 40, 99)}
        )
        heard = Heard()
        report = await pipeline(source, destination, batch_size=25, heard=heard).run(once=True)
        assert report.ok
        assert destination.tokens == log.tokens
        assert not heard.of(RepeatsPossible)

    run_virtual(main())


@pytest.mark.parametrize("where", ["source", "destination", "state"])
def test_a_right_that_is_taken_away_while_the_stream_works_makes_it_failing_until_it_is_back(where):
    async def main():
        log, heard, state = log_of(30), Heard(), FlakyStateStore()
        source = ScriptedSource(logs={"a.b": log}, start=0, reply_events=5)
        destination = RecordingDestination()
        running = pipeline(source, destination, state, heard=heard, batch_timeout=1.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(10)
        assert destination.tokens == log.tokens
        if where == "source":
            source.faults[32] = NoRightToReadError("not authorized")
        elif where == "destination":
            destination.before += [NoRightToWriteError("denied")] * 3
        else:
            state.save_faults += [NoRightToSaveError("NOPERM")] * 3
        log.grow(10)
        await asyncio.sleep(300)
        assert destination.tokens[-8:] == log.tokens[-8:]
        failing = heard.of(WorkerFailing)
        assert len(failing) == (1 if where == "source" else 3)
        assert {notice.delay for notice in failing} == {30.0}, "at the longest delay"
        assert not heard.of(Retrying)
        running.stop()
        assert (await task).ok

    run_virtual(main())


@pytest.mark.parametrize("where", ["source", "destination", "state"])
def test_a_right_that_was_missing_from_the_start_stops_the_worker(where):
    async def main():
        log, state = log_of(30), FlakyStateStore()
        source = ScriptedSource(logs={"a.b": log}, start=0)
        destination = RecordingDestination()
        if where == "source":

            class Refused(ScriptedSource):
                async def read(self, stream, *, after):
                    raise NoRightToReadError("not authorized")
                    yield

            source = Refused(logs={"a.b": log}, start=0)
        elif where == "destination":
            destination.before += [NoRightToWriteError("denied")]
        else:
            state.load_faults += [NoRightToSaveError("NOPERM")]
        async with asyncio.timeout(1000):
            report = await pipeline(source, destination, state).run()
        assert isinstance(report.workers["a.b"].error, AccessDenied)
        assert not destination.tokens

    run_virtual(main())


def test_a_right_that_is_taken_away_ends_the_worker_where_the_policy_is_to_stop():
    async def main():
        log = log_of(30)
        source = ScriptedSource(logs={"a.b": log}, start=0, reply_events=5, faults={15: NoRightToReadError("no")})
        report = await pipeline(source, RecordingDestination(), on_failure="stop").run(once=True)
        assert isinstance(report.workers["a.b"].error, NoRightToReadError)

    run_virtual(main())


def test_a_source_that_ends_a_stream_is_read_again_and_the_end_is_reported():
    class Ending(ScriptedSource):
        async def read(self, stream, *, after):
            count = 0
            async for item in ScriptedSource.read(self, stream, after=after):
                yield item
                count += 1
                if count == 3:
                    return

    async def main():
        log, destination, heard = log_of(100), RecordingDestination(), Heard()
        source = Ending(logs={"a.b": log}, start=0, reply_events=10)
        report = await pipeline(source, destination, heard=heard, on_failure="restart").run(once=True)
        assert report.ok
        assert destination.tokens == log.tokens
        assert {type(notice.error) for notice in heard.of(WorkerFailing)} == {StreamEndedError}

    run_virtual(main())


def test_A3_a_fresh_stream_saves_its_anchor_before_the_first_write():
    async def main():
        log, state = log_of(5), FlakyStateStore()
        running = pipeline(
            ScriptedSource(logs={"a.b": log}),
            RecordingDestination(before=[HANG]),
            state,
            batch_timeout=1.0,
            shutdown_timeout=1.0,
        )
        task = asyncio.create_task(running.run())
        await asyncio.sleep(0.5)
        log.grow(10)
        await asyncio.sleep(5)
        running.stop()
        assert (await task).abandoned
        destination = RecordingDestination()
        await pipeline(ScriptedSource(logs={"a.b": log}), destination, state).run(once=True)
        assert destination.tokens == log.tokens[5:]

    run_virtual(main())


def test_F1_a_lost_position_stops_the_worker_by_default_and_leaves_the_record():
    async def main():
        log, state = log_of(10), FlakyStateStore()
        await pipeline(ScriptedSource(logs={"a.b": log}, start=0), RecordingDestination(), state).run(once=True)
        before = dict(state._checkpoints)
        log.grow(30)
        report = await pipeline(ScriptedSource(logs={"a.b": log}, lost_before=20), RecordingDestination(), state).run()
        error = report.workers["a.b"].error
        assert isinstance(error, PositionLostError)
        assert "on_lost_position" in error.remedy
        assert state._checkpoints == before

    run_virtual(main())


def test_F1_restart_from_now_records_a_gap():
    async def main():
        log, state = log_of(10), FlakyStateStore()
        await pipeline(ScriptedSource(logs={"a.b": log}, start=0), RecordingDestination(), state).run(once=True)
        lost = state._checkpoints["p/a.b"].position
        log.grow(30)
        destination = RecordingDestination()
        running = pipeline(
            ScriptedSource(logs={"a.b": log}, lost_before=20), destination, state, on_lost_position="restart_from_now"
        )
        task = asyncio.create_task(running.run())
        await asyncio.sleep(1)
        log.grow(5)
        await asyncio.sleep(10)
        running.stop()
        assert (await task).ok
        assert destination.tokens == log.tokens[40:]
        (gap,) = state._checkpoints["p/a.b"].gaps
        assert gap.lost == lost
        assert gap.resumed.resume_token == "mark:40"
        assert running.statistics.total.gaps == 1

    run_virtual(main())


def test_F7_giving_up_a_position_again_and_again_stops_after_a_few_rounds():
    async def main():
        class AlwaysLost(ScriptedSource):
            async def read(self, stream, *, after):
                if after is not None:
                    self.opened += 1
                    raise PositionLostError("gone")
                async for batch in ScriptedSource.read(self, stream, after=after):
                    yield batch

        source = AlwaysLost(logs={"a.b": log_of(3)})
        report = await pipeline(source, RecordingDestination(), on_lost_position="restart_from_now").run()
        assert isinstance(report.workers["a.b"].error, PositionLostError)
        assert source.opened < 12

    run_virtual(main())


def test_the_state_store_is_down_at_start_is_retried_then_the_worker_is_failing():
    async def main():
        log, destination = log_of(3), RecordingDestination()
        state = FlakyStateStore(load_faults=[StoreDownError("down")] * 12)
        source = ScriptedSource(logs={"a.b": log}, start=0)
        report = await pipeline(source, destination, state, on_failure="restart").run(once=True)
        assert report.ok
        assert destination.tokens == log.tokens

    run_virtual(main())


def test_the_state_store_can_not_be_written_is_a_notice_up_to_a_bound():
    async def main():
        log, destination = log_of(50), RecordingDestination()
        state = FlakyStateStore(save_faults=[None] + [StoreDownError("down")] * 1000)
        running = pipeline(
            ScriptedSource(logs={"a.b": log}, start=0),
            destination,
            state,
            batch_size=5,
            max_unsaved_batches=6,
            on_failure="stop",
        )
        report = await running.run(once=True)
        assert isinstance(report.workers["a.b"].error, StoreDownError)
        assert destination.tokens == log.tokens[:35]
        assert running.statistics.total.checkpoint_failures == 6

    run_virtual(main())


@pytest.mark.parametrize("events", [4, 30])
def test_J4_an_unwritable_store_and_an_object_that_exists_already_are_no_adoption_loop(events):
    async def main():
        log, bucket = log_of(events), Bucket()
        source = ScriptedSource(logs={"a.b": log}, start=0)
        await pipeline(source, BucketDestination(bucket=bucket), FlakyStateStore(), batch_size=4).run(once=True)
        log.grow(20)
        state = FlakyStateStore(save_faults=[None] + [StoreDownError("down")] * 1000)
        faults = {n: DroppedError("dropped") for n in (6, 9, 14)}
        source = ScriptedSource(logs={"a.b": log}, start=0, faults=faults)
        destination = BucketDestination(bucket=bucket)
        report = await pipeline(source, destination, state, batch_size=7, on_failure="restart").run(once=True)
        assert report.ok
        assert bucket.tokens(Stream("p", "a.b")) == log.tokens

    run_virtual(main())


def test_J2_the_state_store_is_lost_and_the_destination_knows_how_far_it_was():
    async def main():
        log, bucket = log_of(20), Bucket()
        await pipeline(
            ScriptedSource(logs={"a.b": log}, start=0), BucketDestination(bucket=bucket), FlakyStateStore()
        ).run(once=True)
        log.grow(20)
        await pipeline(ScriptedSource(logs={"a.b": log}), BucketDestination(bucket=bucket), FlakyStateStore()).run(
            once=True
        )
        assert bucket.tokens(Stream("p", "a.b")) == log.tokens

    run_virtual(main())


def test_H3_an_earlier_runs_batch_with_another_end_is_cut_or_read_on_to():
    async def main():
        for first_size, second_size in [(3, 10), (10, 3), (7, 7), (1, 50), (50, 1)]:
            log, bucket = log_of(60), Bucket()
            source = ScriptedSource(logs={"a.b": log}, start=0)
            await pipeline(source, BucketDestination(bucket=bucket), batch_size=first_size).run(once=True)
            log.grow(13)
            source = ScriptedSource(logs={"a.b": log}, start=0)
            state = FlakyStateStore()
            state._checkpoints["p/a.b"] = None or state._checkpoints.get("p/a.b")
            running = pipeline(
                source, BucketDestination(bucket=bucket), OldCheckpoint(source, log), batch_size=second_size
            )
            report = await running.run(once=True)
            assert report.ok
            assert bucket.tokens(Stream("p", "a.b")) == log.tokens
            assert running.statistics.total.realigned > 0 or first_size == second_size

    run_virtual(main())


def OldCheckpoint(source, log):
    """A state store that was restored from a backup taken before the first batch."""
    from rigatoni_core.api.events import Checkpoint

    state = FlakyStateStore()
    state._checkpoints["p/a.b"] = Checkpoint(source._mark(log, 0))
    return state


def test_a_stop_while_a_failing_worker_waits_is_no_failure():
    async def main():
        running = pipeline(
            ScriptedSource(logs={"a.b": log_of(5)}, start=0), RecordingDestination(before=[DownError("down")] * 1000)
        )
        task = asyncio.create_task(running.run())
        while running.statistics.streams.get("a.b") is None or running.statistics.streams["a.b"].state != "failing":
            await asyncio.sleep(0.1)
        running.stop()
        report = await task
        assert report.ok, report.workers

    run_virtual(main())


def test_a_failed_lookup_of_the_position_is_retried_and_reported():
    class Silent(BucketDestination):
        silences = 2

        async def begin(self, stream, definition, position, *, gap=None):
            self.silences -= 1
            if self.silences >= 0:
                await asyncio.Event().wait()
            return await BucketDestination.begin(self, stream, definition, position, gap=gap)

    async def main():
        log, bucket, heard = log_of(5), Bucket(), Heard()
        report = await pipeline(
            ScriptedSource(logs={"a.b": log}, start=0), Silent(bucket=bucket), heard=heard, write_timeout=10.0
        ).run(once=True)
        assert report.ok
        assert bucket.tokens(Stream("p", "a.b")) == log.tokens
        assert len(heard.of(Retrying)) == 2

    run_virtual(main())


@pytest.mark.parametrize("fault", ["the answer is lost", "killed before it", "killed before the request"])
def test_F1_a_gap_stays_on_record_even_if_the_response_of_the_destination_is_lost(fault):
    """The destination anchored the stream behind the gap, but the answer was lost, or the process died before it."""

    class LosesTheAnswer(BucketDestination):
        lost = False

        async def begin(self, stream, definition, position, *, gap=None):
            first, self.lost = gap and not self.lost, self.lost or gap is not None
            if first and fault == "killed before the request":
                await asyncio.Event().wait()
            answer = await BucketDestination.begin(self, stream, definition, position, gap=gap)
            if first and fault == "killed before it":
                await asyncio.Event().wait()
            if first:
                raise DownError(fault)
            return answer

    class Stored(FlakyStateStore):
        async def load_resume_token(self, stream):
            checkpoint = await FlakyStateStore.load_resume_token(self, stream)
            return load_checkpoint(stream, dump_checkpoint(stream, checkpoint), "memory") if checkpoint else None

    async def main():
        log, state, bucket = log_of(10), Stored(), Bucket()
        first = BucketDestination(bucket=bucket)
        await pipeline(ScriptedSource(logs={"a.b": log}, start=0), first, state).run(once=True)
        log.grow(30)
        for destination in (LosesTheAnswer(bucket=bucket), BucketDestination(bucket=bucket)):
            running = pipeline(
                ScriptedSource(logs={"a.b": log}, lost_before=20),
                destination,
                state,
                on_lost_position="restart_from_now",
            )
            task = asyncio.create_task(running.run())
            await asyncio.sleep(20)
            running.stop()
            running.stop()
            await task
            log.grow(5)
        assert [gap.resumed.resume_token for gap in state._checkpoints["p/a.b"].gaps] == ["mark:40"]

    run_virtual(main())


def test_once_ends_behind_the_servers_time_at_start_though_the_stream_never_rests():
    class Restless(ScriptedSource):
        async def read(self, stream, *, after):
            async for reply in ScriptedSource.read(self, stream, after=after):
                self.logs[stream.name].grow(1)  # before anything is known to be the last
                yield reply

    async def main():
        log, destination = log_of(20), RecordingDestination()
        report = await pipeline(Restless(logs={"a.b": log}, start=0, reply_events=5), destination, batch_size=1).run(
            once=True
        )
        assert report.ok
        assert len(destination.tokens) >= 20

    run_virtual(main())


def test_a_worker_reports_whether_it_started_fresh_or_resumed_and_its_position():
    async def main():
        log, state, heard = log_of(5), FlakyStateStore(), Heard()
        for _ in range(2):
            source = ScriptedSource(logs={"a.b": log}, start=0)
            await pipeline(source, RecordingDestination(), state, heard=heard).run(once=True)
        first, second = heard.of(WorkerStarted)
        assert (first.resumed, first.position.resume_token) == (False, "mark:0")
        assert (second.resumed, second.position.order) == (True, state.saves[-1].position.order)

    run_virtual(main())
