"""What the testing kit asks of every serializer."""

from functools import partial

import pytest
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.contracts import PluginContract, SerializerContract


class TestCompression(SerializerContract):
    @pytest.fixture(params=[GzipSerializer, ZstdSerializer])
    def make(self, request):
        return partial(request.param, inner=JsonSerializer())


class TestPlugin(PluginContract):
    distribution = "rigatoni-compression"
