"""Figures: what each notice does to them, and the metrics that are read off them."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import attrs
import pytest
from rigatoni_core.api.errors import DestinationError, LeaseLostError, StateStoreError, Transient
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import (
    BatchRead,
    BatchRealigned,
    BatchWritten,
    CaughtUp,
    CheckpointFailed,
    CheckpointSaved,
    LeaseAcquired,
    LeaseAwaited,
    LeaseLost,
    ReplyRead,
    Retrying,
    SchemaDrifted,
    WorkerFailed,
    WorkerFailing,
    WorkerRecovered,
    WorkerStarted,
    WorkerStarting,
    WorkerStopped,
)
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.snapshot_notices import ChunkWritten, SnapshotDone, SnapshotPaused, SnapshotPlanned
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.observe import backlog, statistics
from rigatoni_core.observe.metrics import DISTRIBUTIONS, FIGURES
from rigatoni_core.observe.snapshot_figures import snapshot_in_words
from rigatoni_core.observe.statistics import Statistics, StreamStatistics
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import FlakyStateStore, Log, RecordingDestination, ScriptedSource

STREAM = Stream("p", "shop.orders")


class DownError(DestinationError, Transient):
    id = "down"


def position(seconds, token="t"):
    return Position(ResumeToken(token), "f", Timestamp(seconds, 1))


def reply(events=0, *, at=100, server=100, caught_up=False, paused=False):
    return ReplyRead(
        stream=STREAM,
        events=events,
        bytes=events * 10,
        end=position(at),
        source_time=Timestamp(server, 1),
        caught_up=caught_up,
        paused=paused,
    )


def taken(events=3):
    return BatchRead(stream=STREAM, events=events, bytes=events * 10)


def written(events=3, *, at=100, **more):
    return BatchWritten(stream=STREAM, events=events, bytes=events * 10, end=position(at), seconds=0.5, **more)


def caught_up(at=100):
    return CaughtUp(stream=STREAM, end=position(at))


STARTED = WorkerStarted(stream=STREAM, position=position(1), resumed=True)
WRITTEN = written()
RETRYING = Retrying(stream=STREAM, error=DownError("down"), attempt=1, delay=1.0)
FAILING = WorkerFailing(stream=STREAM, error=DownError("down"), delay=9.0)
STOPPED = WorkerStopped(stream=STREAM, position=None)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (backlog, statistics):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
def told():
    """Tells a fresh `Statistics` and gives the figures of the stream."""
    listener = Statistics()

    def tell(*notices):
        for notice in notices:
            listener.notify(notice)
        return listener.by_stream[STREAM]

    return tell


@pytest.mark.parametrize(
    ("notices", "state"),
    [
        ([WorkerStarting(stream=STREAM)], "starting"),
        ([STARTED], "running"),
        ([STARTED, RETRYING], "retrying"),
        ([STARTED, RETRYING, WRITTEN], "running"),
        ([STARTED, FAILING], "failing"),
        ([FAILING, STARTED], "failing"),
        ([FAILING, LeaseAcquired(stream=STREAM, fencing_token=2), STARTED], "failing"),
        ([FAILING, STARTED, reply(3), taken(), RETRYING], "failing"),
        ([FAILING, STARTED, reply(3), taken(), WRITTEN], "running"),
        ([FAILING, STARTED, reply(0)], "failing"),
        ([FAILING, STARTED, reply(0, caught_up=True)], "failing"),
        ([FAILING, STARTED, reply(0, caught_up=True), caught_up()], "running"),
        ([LeaseAwaited(stream=STREAM)], "standby"),
        ([LeaseAwaited(stream=STREAM), LeaseAcquired(stream=STREAM, fencing_token=1)], "starting"),
        ([STARTED, LeaseLost(stream=STREAM, error=LeaseLostError("gone"))], "standby"),
        ([STARTED, WorkerFailed(stream=STREAM, error=ValueError())], "failed"),
        ([STARTED, STOPPED], "stopped"),
    ],
)
def test_the_worker_state(told, notices, state):
    assert told(*notices).state == state


def lags(figures):
    return figures.read_lag, figures.delivery_lag


def test_both_lags_are_absent_until_the_source_has_replied_and_0_while_an_idle_stream_has_caught_up(told, clock):
    assert lags(told(STARTED)) == (None, None)
    assert lags(told(reply(at=100, server=160))) == (60, 60)
    assert lags(told(reply(at=100, server=170, caught_up=True))) == (0, 0)
    clock.now = 3600.0
    assert lags(told()) == (0, 0)
    assert lags(told(LeaseAwaited(stream=STREAM))) == (None, None)


def test_events_that_are_gathered_and_not_delivered_are_delivery_lag_and_buffered_bytes(told, clock):
    told(STARTED, reply(server=200, caught_up=True))
    for second in range(25):  # an event in each of the first ones
        clock.now = float(second)
        told(reply(second < 10, at=200 + second, server=200 + second), reply(server=200 + second, caught_up=True))
    clock.now = 25.0
    figures = told(reply(server=210, caught_up=True))  # an idle deployment does not say that time has passed
    assert (lags(figures), figures.buffered_bytes) == ((0, 25), 100)
    figures = told(taken(10))
    assert (lags(figures), figures.buffered_bytes) == ((0, 25), 100)
    figures = told(written(10, at=209))
    assert (lags(figures), figures.buffered_bytes) == ((0, 0), 0)


def test_what_is_durable_ends_where_the_last_batch_ends_while_more_is_ahead(told, clock):
    told(STARTED, reply(3, at=110, server=180), taken(3), reply(5, at=150, server=180))
    figures = told()
    assert (lags(figures), figures.buffered_bytes) == ((30, 179), 80)  # since the position at the start
    figures = told(written(3, at=110))
    assert (lags(figures), figures.buffered_bytes) == ((30, 70), 50)
    clock.now = 8.0
    assert lags(told(taken(5))) == (30, 78)
    figures = told(written(5, at=150))
    assert (lags(figures), figures.buffered_bytes) == ((30, 30), 0)


def test_rejected_events_and_a_realigned_batch_leave_the_buffer_whole(told, clock):
    told(STARTED, reply(9), taken(6), BatchRealigned(stream=STREAM, events=4, bytes=40))
    assert told(written(3)).buffered_bytes == 50  # one of the four was rejected


def test_read_lag_grows_while_the_stream_does_not_read(told, clock):
    told(STARTED, reply(3, at=100, server=110, paused=True))
    clock.now = 50.0
    assert lags(told()) == (60, 159)
    assert lags(told(reply(3, at=160, server=160))) == (0, 159)
    clock.now = 100.0
    assert lags(told()) == (0, 209), "the source is waited for, and would respond if it had something"


def test_a_failing_worker_has_not_read_what_it_had_not_delivered(told, clock):
    told(STARTED, reply(3, at=100, server=110), taken(3), written(3, at=100), reply(3, at=110, server=110))
    figures = told(FAILING)
    assert (lags(figures), figures.buffered_bytes) == ((10, 10), 0)
    clock.now = 20.0
    assert lags(told()) == (30, 30)
    started = WorkerStarted(stream=STREAM, position=position(100), resumed=True)
    assert lags(told(started)) == (30, 30)
    assert lags(told(reply(server=130, caught_up=True))) == (0, 0)


def test_a_slow_destination_shows_as_delivery_lag_and_as_buffered_bytes(monkeypatch):
    """What waits in memory is not delivered, though the stream has read everything."""
    for module in (backlog, statistics):
        monkeypatch.setattr(module, "monotonic", lambda: asyncio.get_running_loop().time())

    async def main():
        log = Log()
        log.grow(100)
        pipeline = Pipeline(
            name="p",
            source=ScriptedSource(logs={"a.b": log}, start=0),
            destination=RecordingDestination(seconds=30.0),
            state=FlakyStateStore(),
            settings=Settings(batch_size=10),
        )
        task = asyncio.create_task(pipeline.run())
        await asyncio.sleep(295.0)
        figures = pipeline.statistics.by_stream[Stream("p", "a.b")]
        assert (figures.batches, figures.read_lag) == (9, 0)
        assert figures.delivery_lag == pytest.approx(295.0, abs=1.0)
        assert figures.buffered_bytes == sum(map(len, log.raws[90:]))
        assert figures.checkpoint_age == pytest.approx(25.0, abs=1.0)
        await asyncio.sleep(10.0)
        assert (figures.batches, figures.read_lag, figures.delivery_lag) == (10, 0, 0)
        assert figures.buffered_bytes == 0
        pipeline.stop()
        assert (await task).ok

    run_virtual(main())


def test_a_full_buffer_shows_as_read_lag_too(monkeypatch):
    for module in (backlog, statistics):
        monkeypatch.setattr(module, "monotonic", lambda: asyncio.get_running_loop().time())

    async def main():
        log = Log()
        log.grow(100)
        room = ByteSize(sum(map(len, log.raws[:30])))
        pipeline = Pipeline(
            name="p",
            source=ScriptedSource(logs={"a.b": log}, start=0, reply_events=10),
            destination=RecordingDestination(seconds=1000.0),
            state=FlakyStateStore(),
            settings=Settings(batch_size=10, batch_bytes=room, max_buffered_bytes=room, write_timeout=2000.0),
        )
        task = asyncio.create_task(pipeline.run())
        await asyncio.sleep(100.0)
        figures = pipeline.statistics.by_stream[Stream("p", "a.b")]
        assert lags(figures) == (pytest.approx(100.0, abs=2.0), None)  # where the stream began is unknown
        assert figures.buffered_bytes == room
        pipeline.stop()
        pipeline.stop()  # at once
        await task

    run_virtual(main())


def test_the_checkpoints_age_grows_only_while_something_is_not_saved(told, clock):
    assert told(STARTED).checkpoint_age is None
    told(reply(3), taken(), WRITTEN, CheckpointSaved(stream=STREAM, position=position(100), events=3, seconds=0.1))
    clock.now = 30.0
    assert told().checkpoint_age == 30
    assert told(reply(0, at=100)).checkpoint_age == 30, "an anchor says nothing about what is to come"
    assert told(caught_up(100)).checkpoint_age == 0, "an idle stream that does not move is up to date"
    clock.now = 60.0
    assert told(caught_up(200)).checkpoint_age == 30, "this position is newer than the saved one"
    failed = CheckpointFailed(stream=STREAM, error=StateStoreError("full"), unsaved=1, seconds=0.1)
    assert told(failed).checkpoint_age == 30
    assert told(STOPPED).checkpoint_age is None


def test_errors_are_counted_by_id_whether_overcome_or_not(told):
    figures = told(RETRYING, FAILING, WorkerFailed(stream=STREAM, error=ValueError("a bug")))
    assert figures.errors == Counter({"down": 2, "bug": 1})
    assert figures.retries == 1


def test_places_that_deviate_from_a_schema_are_counted(told):
    drifted = SchemaDrifted(stream=STREAM, deviation="shop.orders: the schema does not have the field note")
    assert told(STARTED, drifted, drifted).schema_deviations == 2


def test_a_lost_lease_is_counted_and_not_held(told):
    assert told(STARTED).lease_held is None
    assert told(LeaseAcquired(stream=STREAM, fencing_token=1)).lease_held is True
    lost = LeaseLost(stream=STREAM, error=LeaseLostError("gone"))
    figures = told(lost)
    assert (figures.leases_lost, figures.lease_held) == (1, False)
    assert figures.errors == Counter({"lease-lost": 1})
    assert told(LeaseAcquired(stream=STREAM, fencing_token=3), STOPPED).lease_held is False


def test_the_total_adds_up_all_streams_and_shows_the_greatest_lags(clock):
    listener = Statistics()
    for name, server in (("a.b", 110), ("a.c", 190)):
        stream = Stream("p", name)
        for notice in (STARTED, reply(3, server=server), taken(), WRITTEN, RETRYING):
            listener.notify(attrs.evolve(notice, stream=stream))
    total = listener.total
    assert (total.events, total.bytes, total.batches, total.retries) == (6, 60, 2, 2)
    assert (*lags(total), total.buffered_bytes) == (90, 90, 0)
    assert total.errors == Counter({"down": 2})
    assert listener.streams.keys() == {"a.b", "a.c"}
    for notice in (reply(2, at=115, server=120), reply(1, at=118, server=120)):
        listener.notify(attrs.evolve(notice, stream=Stream("p", "a.b")))
    clock.now = 300.0
    assert (*lags(listener.total), listener.total.buffered_bytes) == (90, 320, 30)
    assert lags(Statistics().total) == (None, None)


def test_an_error_carries_its_time_and_whether_the_stream_has_recovered_from_it(told):
    before = datetime.now(UTC)
    figures = told(STARTED, RETRYING)
    error = figures.last_error
    assert (error.message, error.recovered) == ("down", None)
    assert before <= error.time <= datetime.now(UTC)
    told(reply(3), taken(), WRITTEN)
    assert figures.last_error.recovered is None, "only the engine knows whether something else still fails"
    recovered = WorkerRecovered(stream=STREAM, error_id="down", seconds=1.0)
    assert told(recovered).last_error.recovered >= error.time
    assert told(RETRYING).last_error.recovered is None


def test_an_error_that_ended_a_run_is_not_the_next_runs(told):
    assert told(STARTED, WorkerFailed(stream=STREAM, error=ValueError("a bug"))).last_error.message == "a bug"
    assert told(WorkerStarting(stream=STREAM)).last_error is None
    assert told(FAILING, WorkerStarting(stream=STREAM)).last_error.message == "down", "while components were opened"


def test_every_figure_is_a_metric_and_names_are_unique():
    """A new count in `StreamStatistics` needs a metric in the same change."""
    shown = StreamStatistics()
    for number, field in enumerate(attrs.fields(StreamStatistics)):
        if field.type is int:
            setattr(shown, field.name, 1000 + number)
    values = {value for figure in FIGURES for _, value in figure.samples(shown)}
    missing = [
        field.name
        for field in attrs.fields(StreamStatistics)
        if field.type is int and getattr(shown, field.name) not in values
    ]
    assert not missing
    names = [metric.name for metric in (*FIGURES, *DISTRIBUTIONS)]
    assert {"read.lag", "delivery.lag", "buffered", "checkpoint.age"} <= set(names)
    assert len(set(names)) == len(names)


def test_absent_figures_have_no_samples_and_attributes_are_few(told):
    told(STARTED, RETRYING)
    samples = {figure.name: list(figure.samples(told())) for figure in FIGURES}
    assert samples["read.lag"] == samples["delivery.lag"] == samples["checkpoint.age"] == samples["lease.held"] == []
    assert samples["errors"] == [({"error.type": "down"}, 1)]
    assert [value for _, value in samples["worker.state"]].count(1.0) == 1
    assert ({"state": "retrying"}, 1.0) in samples["worker.state"]


def test_counters_count_what_was_written_not_what_an_earlier_run_had_written(told):
    found = attrs.evolve(WRITTEN, found=True)
    figures = told(STARTED, reply(6), taken(), WRITTEN, taken(), found)
    assert (figures.events, figures.bytes, figures.batches, figures.found) == (3, 30, 1, 3)
    assert figures.state == "running"
    distributions = [each for each in DISTRIBUTIONS if each.notice is BatchWritten]
    assert [each.read(found) for each in distributions] == [None] * len(distributions)
    assert None not in [each.read(WRITTEN) for each in distributions]


def test_the_next_run_continues_the_counters_of_its_streams_and_drops_streams_that_were_removed():
    statistics = Statistics()
    kept, removed, other = Stream("p", "shop.kept"), Stream("p", "shop.removed"), Stream("q", "shop.removed")
    for stream in (STREAM, kept, removed, other):
        statistics.notify(WorkerStarting(stream=stream))
    statistics.notify(STARTED)
    statistics.notify(WRITTEN)
    for stream in (STREAM, kept, removed, other):
        statistics.notify(WorkerStopped(stream=stream, position=None))
    for stream in (STREAM, kept):
        statistics.notify(WorkerStarting(stream=stream))
    statistics.notify(STARTED)
    assert {stream: figures.state for stream, figures in statistics.by_stream.items()} == {
        STREAM: "running",
        kept: "starting",
        other: "stopped",
    }
    assert statistics.by_stream[STREAM].events == WRITTEN.events


def test_the_progress_of_a_snapshot_is_counted_and_shown_in_words():
    statistics, stream = Statistics(), Stream("p", "shop.orders")
    statistics.notify(SnapshotPlanned(stream=stream, number=1, ranges=4, bytes=1000, resumed=False))
    chunk = ChunkWritten(
        stream=stream,
        number=1,
        events=5,
        bytes=500,
        at=None,
        seconds=0.1,
        found=False,
        total_rows=5,
        total_bytes=500,
        complete_ranges=1,
    )
    statistics.notify(chunk)
    statistics.notify(attrs.evolve(chunk, found=True, total_rows=7, total_bytes=600))
    figures = statistics.streams["shop.orders"]
    assert (figures.snapshot_rows, figures.snapshot_chunks, figures.snapshot_found) == (5, 1, 1)
    assert "snapshot #1: 7 rows, 60%, 1 of 4 ranges" in snapshot_in_words(figures.snapshot.plain())
    statistics.notify(SnapshotPaused(stream=stream, number=1, reason="the stream is behind"))
    assert snapshot_in_words(figures.snapshot.plain()).endswith("paused: the stream is behind")
    statistics.notify(SnapshotDone(stream=stream, number=1, rows=9, seconds=1.0))
    assert snapshot_in_words(figures.snapshot.plain()) == "snapshot #1: 9 rows, done"
    assert figures.snapshot.fraction == 1.0
