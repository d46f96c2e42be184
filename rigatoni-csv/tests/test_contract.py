"""What the testing kit asks of every serializer."""

import pytest
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_testing.contracts import PluginContract, SerializerContract


class TestCsv(SerializerContract):
    @pytest.fixture
    def make(self):
        return CsvSerializer


class TestPlugin(PluginContract):
    distribution = "rigatoni-csv"
