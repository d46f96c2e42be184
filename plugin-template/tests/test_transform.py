"""The transform keeps its contract."""

from functools import partial

import pytest
from rigatoni_template.transform import TemplateTransform
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import PluginContract, TransformContract


class TestTemplateTransform(TransformContract):
    @pytest.fixture
    def make(self):
        return partial(TemplateTransform, operations=["delete", "update"])


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"


def test_only_events_of_these_operations_are_left_out():
    operations = ["insert", "delete", "replace"]
    batch = batch_of([event_document(n, operationType=operation) for n, operation in enumerate(operations)])
    rest = TemplateTransform(operations=["delete"]).transform(batch)
    assert [event.operation for event in rest] == ["insert", "replace"]
