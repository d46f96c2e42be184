"""What the testing kit asks of every serializer."""

import pytest
from rigatoni_core.testing.contracts import PluginContract, SerializerContract
from rigatoni_csv.serializer import CsvSerializer


class TestCsv(SerializerContract):
    @pytest.fixture
    def make(self):
        return CsvSerializer


class TestPlugin(PluginContract):
    distribution = "rigatoni-csv"
