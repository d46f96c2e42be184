"""`rigatoni top` where it looks twice: one table, JSON, exit codes. The live screen and browsers: tests/test_top.py."""

import re

import pytest
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.errors import NoAnswerError
from rigatoni_testing.commands import RecordingApplication
from rigatoni_top.command import top
from rigatoni_top.history import History


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)


def test_one_table_shows_every_column_and_the_last_error(status):
    error = {"message": "the disk is full", "time": "2026-11-30T12:00:00+00:00", "recovered": None}
    app = RecordingApplication(running=[(7, status(state="failing", error=error))])
    assert app.call(top, "--once") == ExitCode.DONE
    (text,) = app.output
    assert re.search(r"p/shop\.orders +7 +failing +0 +0 B +1 s +2 s +4 s +30 +3 +1\.5 KiB +0", text)
    assert "p/shop.orders is failing; last error" in text
    assert "ago: the disk is full" in text


def test_json_has_every_figure_of_the_status_and_rates(status):
    told = status()
    app = RecordingApplication(running=[(7, told), (8, NoAnswerError("process 8 does not respond"))])
    assert app.call(top, "--json") == ExitCode.DONE
    (record,) = app.values
    (stream,) = record["streams"]
    assert told["pipelines"][0]["streams"][0].items() <= stream.items()
    assert {"process", "pipeline", "events_rate", "bytes_rate", "history"} <= stream.keys()
    assert record["silent"] == [{"process": 8, "reason": "process 8 does not respond"}]


def test_nothing_that_runs_is_an_exit_code_of_its_own(status):
    app = RecordingApplication(running=[(7, status(file="/srv/other.toml"))])
    assert app.call(top, "pipeline.toml", "--once") == ExitCode.CANNOT_START
    assert app.diagnostics == ["no pipeline from that file is running on this machine"]
    assert RecordingApplication().call(top, "--json") == ExitCode.CANNOT_START


def test_rates_come_from_the_last_looks_and_silence_keeps_the_counts(status, monkeypatch):
    answers = [[(7, status(events=100))], [(7, status(events=150))], [(7, NoAnswerError("it hangs"))], []]
    clock = iter(range(10, 20))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    history = History(lambda: answers.pop(0))
    history.look()
    history.look()
    (stream,) = history.streams.values()
    assert (stream.events_rate, stream.bytes_rate) == (50, 5000)
    history.look()
    (stream,) = history.streams.values()
    assert (stream.figures["state"], stream.figures["events"], stream.figures["read_lag"]) == ("silent", 150, None)
    assert stream.events_rate == 0
    assert history.silent == {7: "it hangs"}
    history.look()
    assert not history.streams
