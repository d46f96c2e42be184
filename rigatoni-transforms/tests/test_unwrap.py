"""The transform `unwrap`: what each operation becomes."""

from datetime import UTC, datetime
from functools import partial

import bson
import pytest
from bson.timestamp import Timestamp
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Namespace
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_transforms.errors import FieldError, UnreadableEventError, UnwrapError
from rigatoni_transforms.filter import FilterTransform
from rigatoni_transforms.flatten import FlattenTransform
from rigatoni_transforms.unwrap import UnwrapTransform

EVERYTHING = ["operation", "time", "cluster_time", "wall_time", "database", "collection", "deleted"]


class TestUnwrap(TransformContract):
    @pytest.fixture(params=[{}, {"add": EVERYTHING, "other_events": "reject"}, {"deletes": "drop", "add": []}])
    def make(self, request):
        return partial(UnwrapTransform, **request.param)


def rows(*events, **options):
    after = UnwrapTransform(**options).transform(batch_of(events))
    return {
        number: bson.decode(bytes(after.raw(index)), bson.CodecOptions(tz_aware=True))
        for index, number in enumerate(after.indices)
    }


def event_without(*fields, number=0, **changes):
    event = event_document(number, **changes)
    return {name: value for name, value in event.items() if name not in fields}


@pytest.mark.parametrize("operation", ["read", "insert", "replace", "update"])
def test_a_change_becomes_its_document_with_operation_and_time(operation):
    event = event_document(0, operationType=operation)
    assert list(rows(event)[0].items()) == [
        ("_id", 0),
        ("value", "value 0"),
        ("__operation", operation),
        ("__time", datetime.fromtimestamp(1_700_000_000, UTC)),
    ]


def test_everything_of_the_event_that_can_be_added():
    wall = datetime(2026, 1, 2, tzinfo=UTC)
    assert rows(event_document(0, wallTime=wall), add=EVERYTHING, prefix="m.")[0] == {
        "_id": 0,
        "value": "value 0",
        "m.operation": "insert",
        "m.time": datetime.fromtimestamp(1_700_000_000, UTC),
        "m.cluster_time": Timestamp(1_700_000_000, 1),
        "m.wall_time": wall,
        "m.database": "shop",
        "m.collection": "orders",
        "m.deleted": False,
    }


def test_what_an_event_does_not_have_is_null():
    assert rows(event_without("clusterTime", "ns"), add=["time", "wall_time", "database"])[0] == {
        "_id": 0,
        "value": "value 0",
        "__time": None,
        "__wall_time": None,
        "__database": None,
    }


def test_a_delete_becomes_the_document_before_it_or_its_key_or_is_dropped():
    key_only = event_without("fullDocument", operationType="delete")
    image = {**key_only, "fullDocumentBeforeChange": {"_id": 0, "v": 1}}
    assert rows(key_only, add=["deleted"])[0] == {"_id": 0, "__deleted": True}
    assert rows(image, add=["deleted"])[0] == {"_id": 0, "v": 1, "__deleted": True}
    assert rows(key_only, image, deletes="drop") == {}


def test_an_update_without_a_document_is_rejected_and_one_whose_document_is_gone_is_dropped():
    delta = event_without("fullDocument", operationType="update")
    with pytest.raises(RejectedEventsError) as caught:
        rows(event_document(0), delta)
    assert isinstance(caught.value.events[1], UnwrapError)
    assert "full_document" in caught.value.remedy
    assert rows(event_document(0, operationType="update", fullDocument=None)) == {}


def test_events_without_a_document_are_dropped_or_rejected():
    drop = event_without("fullDocument", "documentKey", operationType="drop")
    assert rows(drop) == {}
    with pytest.raises(RejectedEventsError) as caught:
        rows(drop, other_events="reject")
    assert isinstance(caught.value.events[0], UnwrapError)


def test_a_document_with_the_name_of_an_added_field_is_rejected():
    with pytest.raises(RejectedEventsError) as caught:
        rows(event_document(0, fullDocument={"_id": 0, "__time": 1}))
    assert isinstance(caught.value.events[0], FieldError)


def test_a_row_belongs_to_the_collection_of_its_event():
    after = UnwrapTransform().transform(batch_of([event_document(0)]))
    assert after.namespace(0) == Namespace("shop", "orders")


@pytest.mark.parametrize(
    "later", [FilterTransform(expression="document.n == 1"), FlattenTransform(), UnwrapTransform()]
)
def test_a_transform_after_it_rejects_its_rows_instead_of_doing_nothing(later):
    after = UnwrapTransform().transform(batch_of([event_document(0)]))
    with pytest.raises(RejectedEventsError, match="unwrap must be the last") as caught:
        later.transform(after)
    assert isinstance(caught.value.events[0], UnreadableEventError)


@pytest.mark.parametrize("add", [["operaton"], ["time", "time"]])
def test_unknown_fields_are_refused(add):
    with pytest.raises(ValueError, match=r"unknown name|twice"):
        UnwrapTransform(add=add)
