"""The transform `rename`: documents, keys and update descriptions."""

from functools import partial

import bson
import pytest
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_transforms.errors import FieldError, PathError
from rigatoni_transforms.rename import RenameTransform


class TestRename(TransformContract):
    @pytest.fixture(params=[{"value": "v"}, {"é": "e", '"a.b"': "ab", "$x.é": "_id"}])
    def make(self, request):
        return partial(RenameTransform, fields=request.param)


def renamed(event, **fields):
    after = RenameTransform(fields=fields).transform(batch_of([event]))
    return bson.decode(bytes(after.raw(0)))


def test_fields_get_their_names_and_keep_their_place():
    document = {"_id": 1, "a": {"zip": 1, "x": 2}, "lines": [{"n": 1}, {"n": 2}, 5], "zip": 3}
    event = event_document(
        0, fullDocument=document, fullDocumentBeforeChange=document, documentKey={"_id": 1, "zip": 3}
    )
    after = renamed(event, **{"a.zip": "postcode", "lines.n": "quantity", "zip": "code"})
    expected = {
        "_id": 1,
        "a": {"postcode": 1, "x": 2},
        "lines": [{"quantity": 1}, {"quantity": 2}, 5],
        "code": 3,
    }
    assert after["fullDocument"] == after["fullDocumentBeforeChange"] == expected
    assert list(after["fullDocument"]) == list(expected)
    assert after["documentKey"] == {"_id": 1, "code": 3}


def test_an_update_description_names_the_same_fields():
    description = {
        "updatedFields": {"a.zip": 1, "a.zip.0": 2, "a": {"zip": 3}, "lines.0.n": 4, "lines": [{"n": 5}], "a.x": 6},
        "removedFields": ["a.zip", "a"],
        "truncatedArrays": [{"field": "a.zip", "newSize": 1}],
        "disambiguatedPaths": {"lines.0.n": ["lines", 0, "n"]},
    }
    after = renamed(
        event_document(0, operationType="update", updateDescription=description), **{"a.zip": "code", "lines.n": "q"}
    )
    assert after["updateDescription"] == {
        "updatedFields": {
            "a.code": 1,
            "a.code.0": 2,
            "a": {"code": 3},
            "lines.0.q": 4,
            "lines": [{"q": 5}],
            "a.x": 6,
        },
        "removedFields": ["a.code", "a"],
        "truncatedArrays": [{"field": "a.code", "newSize": 1}],
        "disambiguatedPaths": {"lines.0.q": ["lines", 0, "q"]},
    }


def test_names_may_be_exchanged_but_not_taken():
    event = event_document(0, fullDocument={"a": 1, "b": 2})
    assert renamed(event, a="b", b="a")["fullDocument"] == {"b": 1, "a": 2}
    with pytest.raises(RejectedEventsError) as caught:
        renamed(event, a="b")
    assert isinstance(caught.value.events[0], FieldError)


def test_an_element_of_an_array_has_no_name():
    assert renamed(event_document(0, fullDocument={"a": {"0": 1}}), **{"a.0": "x"})["fullDocument"] == {"a": {"x": 1}}
    with pytest.raises(RejectedEventsError, match="element of an array"):
        renamed(event_document(0, fullDocument={"a": [1]}), **{"a.0": "x"})


def test_documents_without_the_field_keep_their_bytes():
    events = batch_of([event_document(0)])
    assert RenameTransform(fields={"a.b": "c", "value.x": "y"}).transform(events) is events


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"_id": "id"},
        {"_id.a": "b"},
        {"*": "x"},
        {"a": "b.c"},
        {"a": "*"},
        {"a.*": "b"},
        {"a": "_id"},
        {"a..b": "c"},
    ],
)
def test_wrong_fields_are_refused(fields):
    with pytest.raises(PathError):
        RenameTransform(fields=fields)
