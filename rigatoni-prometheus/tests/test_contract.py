"""What the testing kit asks of every listener."""

from functools import partial

import pytest
from rigatoni_prometheus.listener import PrometheusListener
from rigatoni_testing.contracts import ListenerContract, PluginContract


class TestPrometheus(ListenerContract):
    @pytest.fixture
    def make(self):
        return partial(PrometheusListener, port=0)


class TestPlugin(PluginContract):
    distribution = "rigatoni-prometheus"
