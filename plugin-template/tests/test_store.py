"""The state store keeps its contract."""

from functools import partial

import pytest
from rigatoni_template.store import TemplateStateStore
from rigatoni_testing.contracts import PluginContract, StateStoreContract


class TestTemplateState(StateStoreContract):
    @pytest.fixture
    def make(self, tmp_path):
        return partial(TemplateStateStore, path=tmp_path / "state.sqlite")


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"
