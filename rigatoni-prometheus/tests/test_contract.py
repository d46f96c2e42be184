"""What the testing kit asks of every listener."""

from functools import partial

import pytest
from rigatoni_core.testing.contracts import ListenerContract, PluginContract
from rigatoni_prometheus.listener import PrometheusListener


class TestPrometheus(ListenerContract):
    @pytest.fixture
    def make(self):
        return partial(PrometheusListener, port=0)


class TestPlugin(PluginContract):
    distribution = "rigatoni-prometheus"
