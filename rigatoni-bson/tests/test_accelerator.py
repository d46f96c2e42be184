"""The accelerator, if it is installed, registers its fallbacks as a count of the process."""

import sys
from types import SimpleNamespace

from rigatoni_bson.accelerator import find_accelerator
from rigatoni_core.api import process_counts


def test_the_fallbacks_of_the_accelerator_are_a_count_of_the_process(monkeypatch):
    monkeypatch.setattr(process_counts, "_counts", {})
    monkeypatch.setitem(sys.modules, "rigatoni_native", SimpleNamespace(fallbacks=lambda: {"damaged": 2}))
    assert find_accelerator() is sys.modules["rigatoni_native"]
    (count,) = process_counts.process_counts()
    assert count.name == "accelerator.fallbacks"
    assert count.read() == {"damaged": 2}


def test_without_the_accelerator_nothing_is_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "rigatoni_native", None)
    assert find_accelerator() is None
