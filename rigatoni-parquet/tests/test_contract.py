"""What the testing kit asks of every serializer."""

import pytest
from rigatoni_core.testing.contracts import PluginContract, SerializerContract
from rigatoni_parquet.serializer import ParquetSerializer


class TestParquet(SerializerContract):
    @pytest.fixture
    def make(self):
        return ParquetSerializer


class TestPlugin(PluginContract):
    distribution = "rigatoni-parquet"
