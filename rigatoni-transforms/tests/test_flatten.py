"""The transform `flatten`: documents, keys and update descriptions."""

from functools import partial

import bson
import pytest
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_transforms.errors import FieldError
from rigatoni_transforms.flatten import FlattenTransform


class TestFlatten(TransformContract):
    @pytest.fixture(params=[{}, {"depth": 1, "separator": "."}])
    def make(self, request):
        return partial(FlattenTransform, **request.param)


def flattened(event, **options):
    after = FlattenTransform(**options).transform(batch_of([event]))
    return bson.decode(bytes(after.raw(0)))


DOCUMENT = {"_id": {"a": 1}, "n": 1, "a": {"b": {"c": 1, "d": []}, "e": [{"f": 1}]}, "empty": {}}


def test_fields_of_inner_documents_become_fields_at_the_top():
    event = event_document(0, fullDocument=DOCUMENT, documentKey={"_id": {"a": 1}, "a": {"e": 5}})
    after = flattened(event)
    assert after["fullDocument"] == {
        "_id": {"a": 1},
        "n": 1,
        "a_b_c": 1,
        "a_b_d": [],
        "a_e": [{"f": 1}],
        "empty": {},
    }
    assert after["documentKey"] == {"_id": {"a": 1}, "a_e": 5}
    assert {key: after[key] for key in ("_id", "ns", "clusterTime")} == {
        key: event[key] for key in ("_id", "ns", "clusterTime")
    }


def test_depth_and_separator():
    event = event_document(0, fullDocument=DOCUMENT, fullDocumentBeforeChange=DOCUMENT)
    after = flattened(event, depth=1, separator=".")
    assert after["fullDocument"] == after["fullDocumentBeforeChange"]
    assert after["fullDocument"]["a.b"] == {"c": 1, "d": []}


@pytest.mark.parametrize(
    ("options", "updated", "removed", "truncated"),
    [
        ({}, {"a_b_c": 1, "a_e.0.f": 2, "x_y_z": 1, "x_w": 2, "_id.a": 1}, ["a_b_d", "a"], "a_e"),
        ({"depth": 1}, {"a_b.c": 1, "a_e.0.f": 2, "x_y": {"z": 1}, "x_w": 2, "_id.a": 1}, ["a_b.d", "a"], "a_e"),
    ],
)
def test_an_update_description_names_the_same_fields(options, updated, removed, truncated):
    description = {
        "updatedFields": {"a.b.c": 1, "a.e.0.f": 2, "x": {"y": {"z": 1}, "w": 2}, "_id.a": 1},
        "removedFields": ["a.b.d", "a"],
        "truncatedArrays": [{"field": "a.e", "newSize": 1}],
        "other": 1,
    }
    after = flattened(event_document(0, operationType="update", updateDescription=description), **options)
    assert after["updateDescription"] == {
        "updatedFields": updated,
        "removedFields": removed,
        "truncatedArrays": [{"field": truncated, "newSize": 1}],
        "other": 1,
    }


def test_names_with_dots_or_digits_are_read_as_the_event_says():
    description = {
        "updatedFields": {"a.b.0": 1},
        "removedFields": [],
        "truncatedArrays": [],
        "disambiguatedPaths": {"a.b.0": ["a.b", "0"]},
    }
    after = flattened(event_document(0, operationType="update", updateDescription=description), separator="/")
    assert after["updateDescription"]["updatedFields"] == {"a.b/0": 1}
    assert after["updateDescription"]["disambiguatedPaths"] == {"a.b/0": ["a.b/0"]}


@pytest.mark.parametrize(
    "event",
    [
        event_document(0, fullDocument={"a": {"b": 1}, "a_b": 2}),
        event_document(0, updateDescription={"updatedFields": {"a.b": 1, "a_b": 2}}),
    ],
)
def test_two_fields_of_one_name_reject_the_event(event):
    with pytest.raises(RejectedEventsError) as caught:
        flattened(event)
    assert isinstance(caught.value.events[0], FieldError)


def test_documents_without_inner_documents_keep_their_bytes():
    events = batch_of([event_document(0), event_document(1, fullDocument={"_id": {"a": 1}, "a": [{"b": 1}]})])
    assert FlattenTransform().transform(events) is events


@pytest.mark.parametrize("options", [{"separator": ""}, {"separator": "\0"}, {"depth": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        FlattenTransform(**options)
