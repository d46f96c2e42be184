"""The listener keeps its contract."""

import pytest
from rigatoni_template.listener import TemplateListener
from rigatoni_testing.contracts import ListenerContract, PluginContract
from rigatoni_testing.notices import one_of_each


class TestTemplateListener(ListenerContract):
    @pytest.fixture
    def make(self):
        return TemplateListener


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"


def test_workers_that_fail_and_gaps_are_logged(caplog):
    listener = TemplateListener()
    for notice in one_of_each():
        listener.notify(notice)
    assert len(caplog.records) == 3
