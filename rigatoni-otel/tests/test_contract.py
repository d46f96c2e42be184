"""What the testing kit asks of every listener."""

import pytest
from rigatoni_core.testing.contracts import ListenerContract, PluginContract
from rigatoni_otel.listener import OtelListener


class TestOtel(ListenerContract):
    @pytest.fixture
    def make(self):
        return OtelListener


class TestPlugin(PluginContract):
    distribution = "rigatoni-otel"
