"""What the testing kit asks of every serializer."""

from functools import partial

import pytest
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.contracts import PluginContract, SerializerContract


class TestJson(SerializerContract):
    @pytest.fixture(params=["relaxed", "canonical", "plain"])
    def make(self, request):
        return partial(JsonSerializer, mode=request.param)


class TestPlugin(PluginContract):
    distribution = "rigatoni-json"
