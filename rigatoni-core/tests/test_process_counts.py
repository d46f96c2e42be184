"""Counts of the process: registered by libraries, shown by `rigatoni status`."""

import pytest
from click.testing import CliRunner
from rigatoni_core.api import process_counts as module
from rigatoni_core.api.process_counts import ProcessCount, process_counts, register_count
from rigatoni_core.cli import sockets
from rigatoni_core.cli.status import status


@pytest.fixture(autouse=True)
def no_counts(monkeypatch):
    monkeypatch.setattr(module, "_counts", {})


def count_of(name, numbers):
    return ProcessCount(name=name, meaning="Things", read=lambda: numbers)


def test_counts_are_sorted_and_a_count_with_the_same_name_is_replaced():
    for name, number in (("b.things", 1), ("a.things", 2), ("b.things", 3)):
        register_count(count_of(name, {"odd": number}))
    assert [(count.name, count.read()) for count in process_counts()] == [
        ("a.things", {"odd": 2}),
        ("b.things", {"odd": 3}),
    ]


def test_status_prints_the_reasons_that_occurred(monkeypatch):
    counts = {"accelerator.fallbacks": {"damaged": 1200, "text": 0, "type": 3}, "other": {"odd": 0}}
    process = {"file": "p.toml", "pid": 1, "started": "", "pipelines": [], "counts": counts}
    monkeypatch.setattr(sockets, "running", lambda: [(1, process)])
    printed = CliRunner().invoke(status).stdout
    assert "accelerator.fallbacks: 1,200 damaged, 3 type\n" in printed
    assert "other" not in printed
