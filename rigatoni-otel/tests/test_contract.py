"""What the testing kit asks of every listener."""

import pytest
from rigatoni_otel.listener import OtelListener
from rigatoni_testing.contracts import ListenerContract, PluginContract


class TestOtel(ListenerContract):
    @pytest.fixture
    def make(self):
        return OtelListener


class TestPlugin(PluginContract):
    distribution = "rigatoni-otel"
