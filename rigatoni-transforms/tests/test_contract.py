"""What the testing kit asks of every transform."""

from functools import partial

import pytest
from rigatoni_testing.contracts import PluginContract, TransformContract
from rigatoni_transforms.select import SelectTransform


class TestSelect(TransformContract):
    @pytest.fixture(params=["include", "exclude"])
    def make(self, request):
        return partial(SelectTransform, **{request.param: ["value", "é"]})


class TestPlugin(PluginContract):
    distribution = "rigatoni-transforms"
