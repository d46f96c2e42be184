"""The log lines of a run: levels, recoveries, and summaries of what was written."""

import logging
from types import SimpleNamespace

import pytest
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import BatchWritten, CaughtUp, Resumed, WorkerRecovered
from rigatoni_core.cli import logs
from rigatoni_core.cli.logs import LogListener
from rigatoni_testing.notices import one_of_each

STREAM = Stream("p", "shop.orders")
END = Position(ResumeToken("t"), "f", Timestamp(1, 1))
IDLE = CaughtUp(stream=STREAM, end=END)


class Lines:
    """A log that keeps its lines from a level on."""

    def __init__(self, level=logging.INFO):
        self.level = level
        self.lines = []

    def is_enabled_for(self, level):
        return level >= self.level

    def log(self, level, event, **fields):
        self.lines.append((event, fields))

    def info(self, event, **fields):
        self.log(logging.INFO, event, **fields)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: Clock.now))
    return Clock


def written(events, *, found=False):
    return BatchWritten(stream=STREAM, events=events, bytes=events * 10, end=END, seconds=2.0, found=found)


def test_frequent_notices_are_logged_on_level_debug_only():
    heard = {}
    for level in (logging.INFO, logging.DEBUG):
        log = Lines(level)
        listener = LogListener(log)
        for notice in one_of_each():
            listener.notify(notice)
        heard[level] = {event for event, _ in log.lines}
    often = {"reply read", "batch read", "batch written", "caught up", "checkpoint saved", "lease renewed"}
    assert heard[logging.DEBUG] - heard[logging.INFO] == often | {
        "worker starting",
        "worker started",
        "streams succeeded",
    }


def test_a_recovery_and_a_resumed_stream_are_one_line_each():
    log = Lines()
    listener = LogListener(log)
    listener.notify(WorkerRecovered(stream=STREAM, error_id="down", seconds=12.34567))
    listener.notify(Resumed(stream=STREAM, reason="the connection was lost", seconds=0.25))
    assert log.lines == [
        ("worker recovered", {"stream": "p/shop.orders", "error_id": "down", "seconds": 12.346}),
        ("resumed", {"stream": "p/shop.orders", "reason": "the connection was lost", "seconds": 0.25}),
    ]


def test_a_summary_counts_what_was_written_and_the_time_that_it_took(clock):
    log = Lines()
    listener = LogListener(log)
    for _ in range(5):
        clock.now += 2.0
        listener.notify(written(10))
    listener.notify(written(7, found=True))
    ((event, fields),) = log.lines
    assert (event, fields["events"], fields["batches"], fields["events_per_second"]) == ("batches written", 50, 5, 5)


def test_the_last_batches_before_a_pause_are_in_a_summary_and_the_pause_is_not_in_its_rate(clock):
    log = Lines()
    listener = LogListener(log)
    listener.notify(written(30))
    for _ in range(3):
        clock.now += 5.0
        listener.notify(IDLE)
    clock.now += 3600.0
    listener.notify(written(40))
    assert [(fields["events"], fields["events_per_second"]) for _, fields in log.lines] == [(30, 15)]
    clock.now += 10.0
    listener.notify(IDLE)
    assert [(fields["events"], fields["events_per_second"]) for _, fields in log.lines] == [(30, 15), (40, 20)]
