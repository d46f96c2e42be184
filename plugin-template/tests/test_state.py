"""The state store keeps its contract."""

from functools import partial

import pytest
from rigatoni_core.testing.contracts import PluginContract, StateStoreContract
from rigatoni_template.state import TemplateStateStore


class TestTemplateState(StateStoreContract):
    @pytest.fixture
    def make(self, tmp_path):
        return partial(TemplateStateStore, path=tmp_path / "state.sqlite")


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"
