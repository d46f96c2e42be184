"""What the testing kit asks of every serializer."""

import pytest
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.contracts import PluginContract, SerializerContract


class TestParquet(SerializerContract):
    @pytest.fixture
    def make(self):
        return ParquetSerializer


class TestPlugin(PluginContract):
    distribution = "rigatoni-parquet"
