"""The serializer keeps its contract."""

import pytest
from rigatoni_template.serializer import TemplateSerializer
from rigatoni_testing.contracts import PluginContract, SerializerContract


class TestTemplateSerializer(SerializerContract):
    @pytest.fixture
    def make(self):
        return TemplateSerializer


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"
