"""What the testing kit asks of every state store."""

from functools import partial

import pytest
from rigatoni_file_state.store import FileStateStore
from rigatoni_testing.contracts import LeaseContract, PluginContract, StateStoreContract


class TestFileState(StateStoreContract, LeaseContract):
    @pytest.fixture
    def make(self, tmp_path):
        return partial(FileStateStore, path=tmp_path / "state")


class TestPlugin(PluginContract):
    distribution = "rigatoni-file-state"
