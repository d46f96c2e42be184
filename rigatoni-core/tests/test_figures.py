"""What the commands show of a stream: plain values, errors with their age."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import ReplyRead, Retrying, WorkerRecovered, WorkerStarted
from rigatoni_core.api.words import error_in_words, is_current
from rigatoni_core.cli.figures import plain
from rigatoni_core.observe.metrics import FIGURES
from rigatoni_core.observe.statistics import Statistics

STREAM = Stream("p", "shop.orders")


def position(seconds):
    return Position(ResumeToken("t"), "f", Timestamp(seconds, 1))


@pytest.fixture
def figures():
    """25 s of the stream are read and not delivered, after an error."""
    statistics = Statistics()
    for notice in (
        WorkerStarted(stream=STREAM, position=position(100), resumed=True),
        Retrying(stream=STREAM, error=OSError("the disk is full"), attempt=1, delay=1.0),
        ReplyRead(
            stream=STREAM,
            events=2,
            bytes=2048,
            end=position(125),
            source_time=Timestamp(125, 1),
            caught_up=False,
            paused=False,
        ),
    ):
        statistics.notify(notice)
    return statistics


def test_the_plain_figures_are_json_with_both_lags_and_what_is_buffered(figures):
    shown = json.loads(json.dumps(plain(figures.by_stream[STREAM])))
    assert (shown["read_lag"], round(shown["delivery_lag"]), shown["buffered_bytes"]) == (0, 25, 2048)
    assert not [name for name in shown if name.startswith("_")]
    assert shown["last_error"]["message"] == "the disk is full"


def test_no_metric_is_missing_from_the_plain_figures(figures):
    """`status --json` says what Prometheus says, by the same count."""
    names = {figure.name.replace(".", "_") for figure in FIGURES}
    other = {"found_events": "found", "realigned_batches": "realigned", "duplicates_dropped": "duplicates"}
    other |= {"rejected_events": "rejected", "buffered": "buffered_bytes", "worker_state": "state"}
    other |= {"snapshot_found_chunks": "snapshot_found"}
    other |= dict.fromkeys(("snapshot_fraction", "snapshot_time_left", "snapshot_paused"), "snapshot")
    assert {other.get(name, name) for name in names} <= set(plain(figures.by_stream[STREAM]))


def test_an_error_is_shown_with_its_age_until_and_after_the_stream_has_recovered(figures):
    stream = figures.by_stream[STREAM]
    assert is_current(plain(stream)["last_error"])
    stream.last_error.time = datetime.now(UTC) - timedelta(minutes=5)
    assert error_in_words(plain(stream)["last_error"]) == "5 min ago: the disk is full"
    figures.notify(WorkerRecovered(stream=STREAM, error_id="bug", seconds=1.0))
    assert not is_current(plain(stream)["last_error"])
    assert error_in_words(plain(stream)["last_error"]) == "5 min ago, recovered: the disk is full"
    stream.last_error = None
    assert not is_current(plain(stream)["last_error"])
    assert error_in_words(plain(stream)["last_error"]) == ""
