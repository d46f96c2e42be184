"""A serializer to compress: the raw documents as they are."""

import attrs
import pytest
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Serializer


@attrs.define(kw_only=True, eq=False)
class RawSerializer(Serializer):
    """Stands for any inner serializer: the batch's BSON documents one after another, without a copy."""

    accepts = frozenset({"*"})
    media_type = "application/bson"
    suffix = ".bson"

    def serialize(self, events: EventBatch) -> memoryview:
        return events.documents


@pytest.fixture
def inner() -> RawSerializer:
    return RawSerializer()
