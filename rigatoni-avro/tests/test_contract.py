"""What the testing kit asks of every serializer."""

import pytest
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_testing.contracts import PluginContract, SerializerContract


class TestAvro(SerializerContract):
    @pytest.fixture
    def make(self):
        return AvroSerializer


class TestPlugin(PluginContract):
    distribution = "rigatoni-avro"
