"""Figures: what each notice does to them, and the metrics that are read off them."""

import asyncio
from collections import Counter

import attrs
import pytest
from rigatoni_core.api import statistics
from rigatoni_core.api.errors import DestinationError, LeaseLostError, StateStoreError, Transient
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.metrics import DISTRIBUTIONS, FIGURES
from rigatoni_core.api.notices import (
    BatchRead,
    BatchWritten,
    CheckpointFailed,
    CheckpointSaved,
    LeaseAcquired,
    LeaseAwaited,
    LeaseLost,
    Retrying,
    WorkerFailed,
    WorkerFailing,
    WorkerStarted,
    WorkerStarting,
    WorkerStopped,
)
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.statistics import Statistics, StreamStatistics
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import FlakyStateStore, Log, RecordingDestination, ScriptedSource

STREAM = Stream("p", "shop.orders")


class DownError(DestinationError, Transient):
    id = "down"


def position(seconds, token="t"):
    return Position(ResumeToken(token), "f", Timestamp(seconds, 1))


def read(events=0, *, at=100, server=100, caught_up=False, waited=0.0):
    return BatchRead(
        stream=STREAM,
        events=events,
        bytes=events * 10,
        end=position(at),
        source_time=Timestamp(server, 1),
        caught_up=caught_up,
        waited=waited,
        buffered_bytes=0,
    )


STARTED = WorkerStarted(stream=STREAM, position=position(1), resumed=True)
WRITTEN = BatchWritten(stream=STREAM, events=3, bytes=30, seconds=0.5)
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
    monkeypatch.setattr(statistics, "monotonic", clock)
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
        ([FAILING, STARTED, read(3), RETRYING], "failing"),
        ([FAILING, STARTED, read(3), WRITTEN], "running"),
        ([FAILING, STARTED, read(0)], "failing"),
        ([FAILING, STARTED, read(0, caught_up=True)], "running"),
        ([LeaseAwaited(stream=STREAM)], "standby"),
        ([LeaseAwaited(stream=STREAM), LeaseAcquired(stream=STREAM, fencing_token=1)], "starting"),
        ([STARTED, LeaseLost(stream=STREAM, error=LeaseLostError("gone"))], "standby"),
        ([STARTED, WorkerFailed(stream=STREAM, error=ValueError())], "failed"),
        ([STARTED, STOPPED], "stopped"),
    ],
)
def test_the_worker_state(told, notices, state):
    assert told(*notices).state == state


def test_lag_is_absent_until_the_source_has_said_it_and_0_when_caught_up(told, clock):
    assert told(STARTED).lag is None
    assert told(read(at=100, server=160)).lag == 60
    assert told(read(at=100, server=170, caught_up=True)).lag == 0
    clock.now = 3600.0
    assert told().lag == 0
    assert told(LeaseAwaited(stream=STREAM)).lag is None


def test_lag_grows_while_a_batch_waits_or_the_worker_is_in_trouble(told, clock):
    told(STARTED, read(3, at=100, server=110))
    clock.now = 50.0
    assert told(RETRYING).lag == 60
    assert told(WRITTEN).lag == 10
    told(read(0, caught_up=True), FAILING)
    clock.now = 70.0
    assert told(STARTED).lag == 20
    assert told(read(0, caught_up=True)).lag == 0


def test_lag_counts_from_when_the_source_answered_not_from_when_the_batch_was_taken_up(told, clock):
    clock.now = 1000.0
    assert told(read(3, at=100, server=110, waited=270.0)).lag == 280


def test_a_slow_destination_shows_as_lag(monkeypatch):
    """What waits in the buffer is behind, though the source had said that there was no lag when it was read."""
    monkeypatch.setattr(statistics, "monotonic", lambda: asyncio.get_running_loop().time())

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
        assert (figures.batches, figures.lag) == (9, pytest.approx(295.0, abs=1.0))
        assert figures.checkpoint_age == pytest.approx(25.0, abs=1.0)
        await asyncio.sleep(10.0)
        assert (figures.batches, figures.lag) == (10, 0.0)
        pipeline.stop()
        assert (await task).ok

    run_virtual(main())


def test_the_checkpoints_age_grows_only_while_something_is_not_saved(told, clock):
    assert told(STARTED).checkpoint_age is None
    told(read(3), WRITTEN, CheckpointSaved(stream=STREAM, position=position(100), events=3, seconds=0.1))
    clock.now = 30.0
    assert told().checkpoint_age == 30
    assert told(read(0, at=100)).checkpoint_age == 30, "an anchor says nothing about what is to come"
    assert told(read(0, at=100, caught_up=True)).checkpoint_age == 0, "an idle stream that does not move is up to date"
    clock.now = 60.0
    assert told(read(0, at=200, caught_up=True)).checkpoint_age == 30, "this position is newer than the saved one"
    failed = CheckpointFailed(stream=STREAM, error=StateStoreError("full"), unsaved=1, seconds=0.1)
    assert told(failed).checkpoint_age == 30
    assert told(STOPPED).checkpoint_age is None


def test_errors_are_counted_by_id_whether_overcome_or_not(told):
    figures = told(RETRYING, FAILING, WorkerFailed(stream=STREAM, error=ValueError("a bug")))
    assert figures.errors == Counter({"down": 2, "bug": 1})
    assert figures.retries == 1


def test_a_lost_lease_is_counted_and_not_held(told):
    assert told(STARTED).lease_held is None
    assert told(LeaseAcquired(stream=STREAM, fencing_token=1)).lease_held is True
    lost = LeaseLost(stream=STREAM, error=LeaseLostError("gone"))
    figures = told(lost)
    assert (figures.leases_lost, figures.lease_held) == (1, False)
    assert figures.errors == Counter({"lease-lost": 1})
    assert told(LeaseAcquired(stream=STREAM, fencing_token=3), STOPPED).lease_held is False


def test_the_total_adds_up_all_streams_and_shows_the_greatest_lag(clock):
    listener = Statistics()
    for name, server in (("a.b", 110), ("a.c", 190)):
        stream = Stream("p", name)
        for notice in (read(3, server=server), WRITTEN, RETRYING):
            listener.notify(attrs.evolve(notice, stream=stream))
    total = listener.total
    assert (total.events, total.bytes, total.batches, total.retries, total.lag) == (6, 60, 2, 2, 90)
    assert total.errors == Counter({"down": 2})
    assert listener.streams.keys() == {"a.b", "a.c"}


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
    assert len(set(names)) == len(names)


def test_absent_figures_have_no_samples_and_attributes_are_few(told):
    told(STARTED, RETRYING)
    samples = {figure.name: list(figure.samples(told())) for figure in FIGURES}
    assert samples["lag"] == samples["checkpoint.age"] == samples["lease.held"] == []
    assert samples["errors"] == [({"error.type": "down"}, 1)]
    assert [value for _, value in samples["worker.state"]].count(1.0) == 1
    assert ({"state": "retrying"}, 1.0) in samples["worker.state"]


def test_counters_count_what_was_written_not_what_an_earlier_run_had_written(told):
    found = attrs.evolve(WRITTEN, found=True)
    figures = told(STARTED, read(3), WRITTEN, read(3), found)
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
