"""What the testing kit asks of every transform."""

from functools import partial

import pytest
from rigatoni_core.api.options import Secret
from rigatoni_testing.contracts import PluginContract, TransformContract
from rigatoni_transforms.mask import MaskTransform
from rigatoni_transforms.select import SelectTransform

KEY = Secret("a key for tests that is no secret")


class TestSelect(TransformContract):
    @pytest.fixture(params=["include", "exclude"])
    def make(self, request):
        return partial(SelectTransform, **{request.param: ["value", "é", "a.b"]})


class TestMask(TransformContract):
    @pytest.fixture(params=["redact", "null", "hash", "partial", "truncate", "date_to_year"])
    def make(self, request):
        fields = dict.fromkeys(["value", "é", "$x.*"], request.param)
        return partial(MaskTransform, fields=fields, key=KEY, key_id="1", collections=["shop.orders", "x.*"])


class TestPlugin(PluginContract):
    distribution = "rigatoni-transforms"
