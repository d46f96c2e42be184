"""The serializer keeps its contract."""

import pytest
from rigatoni_core.testing.contracts import PluginContract, SerializerContract
from rigatoni_template.serializer import TemplateSerializer


class TestTemplateSerializer(SerializerContract):
    @pytest.fixture
    def make(self):
        return TemplateSerializer


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"
