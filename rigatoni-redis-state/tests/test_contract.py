"""What the testing kit asks of every state store and lease keeper."""

import pytest
from rigatoni_testing.contracts import LeaseContract, PluginContract, StateStoreContract


class TestRedisState(StateStoreContract, LeaseContract):
    @pytest.fixture
    def make(self, make_store):
        return make_store


class TestPlugin(PluginContract):
    distribution = "rigatoni-redis-state"
