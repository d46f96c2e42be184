"""What the testing kit asks of every serializer."""

from functools import partial

import pytest
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_core.testing.contracts import PluginContract, SerializerContract
from rigatoni_json.serializer import JsonSerializer


class TestCompression(SerializerContract):
    @pytest.fixture(params=[GzipSerializer, ZstdSerializer])
    def make(self, request):
        return partial(request.param, inner=JsonSerializer())


class TestPlugin(PluginContract):
    distribution = "rigatoni-compression"
