"""The log lines of a run: levels, recoveries, and summaries of what was written."""

import json
import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import attrs
import pytest
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import BatchWritten, CaughtUp, Resumed, WorkerRecovered
from rigatoni_core.cli import logs
from rigatoni_core.cli.logs import LogListener, make_log
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


@pytest.fixture
def root(monkeypatch):
    """A root logger that is as before after the test: a log of a run also listens to it."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    yield
    logging.captureWarnings(False)


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


def test_a_heartbeat_counts_what_was_written_and_the_time_that_it_took(clock):
    log = Lines()
    listener = LogListener(log)
    for _ in range(31):
        listener.notify(written(10))
        clock.now += 2.0
    listener.notify(written(7, found=True))
    ((event, fields),) = log.lines
    assert (event, fields["events"], fields["batches"], fields["events_per_second"]) == ("heartbeat", 310, 31, 5)


def test_a_stream_has_a_heartbeat_every_minute_also_if_it_is_idle_and_a_pause_is_not_in_its_rate(clock):
    log = Lines()
    listener = LogListener(log)
    listener.notify(IDLE)
    for _ in range(25):
        clock.now += 5.0
        listener.notify(IDLE)
    clock.now += 30.0
    listener.notify(written(40))
    assert [(fields["events"], fields["events_per_second"]) for _, fields in log.lines] == [(0, 0), (0, 0)]
    clock.now += 30.0
    listener.notify(IDLE)
    assert [(fields["events"], fields["events_per_second"]) for _, fields in log.lines][2:] == [(40, 20)]


@pytest.mark.parametrize("notice", one_of_each(), ids=lambda notice: type(notice).__name__)
def test_the_json_line_of_each_notice_has_a_constant_event_typed_fields_and_no_token(notice, capsys, root):
    LogListener(make_log("debug", human=False)).notify(notice)
    (line,) = capsys.readouterr().err.splitlines()
    fields = json.loads(line)
    assert fields.pop("event").replace(" ", "") == type(notice).__name__.lower()
    assert fields.pop("level") in {"debug", "info", "warning", "error"}
    assert datetime.fromisoformat(fields.pop("timestamp"))
    for name, value in fields.items():
        assert isinstance(value, (str, int, float, bool, list)), name
        if isinstance(value, float):
            assert name.endswith("seconds"), name
        if name in {"position", "end", "saved", "after", "before", "source_time"}:
            assert datetime.fromisoformat(value).tzinfo is UTC, name
    positions = [value for value in attrs.astuple(notice, recurse=False) if isinstance(value, Position)]
    assert not any(str(position.resume_token) in line for position in positions)


def test_a_sentence_is_the_message_of_a_constant_event_in_json_and_plain_for_people(capsys, root):
    make_log("info", human=False).info("p: starts", kind="message")
    record = json.loads(capsys.readouterr().err)
    assert (record["event"], record["message"]) == ("message", "p: starts")
    make_log("info", human=True).info("p: starts", kind="message", at=Timestamp(1, 1))
    line = capsys.readouterr().err
    assert "p: starts" in line
    assert "kind" not in line
    assert "at='1970-01-01 00:00:01 UTC" in line
