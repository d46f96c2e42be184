"""The transform `filter`: what an expression sees, what is missing, what is rejected."""

import re
from datetime import UTC, datetime
from functools import partial

import pytest
from bson import DBRef, Decimal128, Int64, MinKey, ObjectId, Regex
from bson.binary import Binary
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_transforms.errors import ExpressionError, ExpressionFailedError
from rigatoni_transforms.event_view import EventView
from rigatoni_transforms.expression import compiled
from rigatoni_transforms.filter import FilterTransform


class TestFilter(TransformContract):
    @pytest.fixture(
        params=[
            'operation != "update" && document.?value.orValue("") != "value 1"',
            "document.value == 1 || size(key) > 1",
            'size(document) > 1 && "a.b" in document',
        ]
    )
    def make(self, request):
        return partial(FilterTransform, expression=request.param)


def kept(expression, *events):
    return list(FilterTransform(expression=expression).transform(batch_of(events)).indices)


def document_events(*documents):
    return [event_document(number, fullDocument=document) for number, document in enumerate(documents)]


def delete(number=0, **fields):
    event = event_document(number, operationType="delete", **fields)
    del event["fullDocument"]
    return event


def test_events_for_which_it_is_false_are_dropped_and_the_others_are_unchanged():
    events = batch_of(document_events({"n": 1}, {"n": 2}, {"n": 3}))
    after = FilterTransform(expression="document.n != 2").transform(events)
    assert list(after.indices) == [0, 2]
    assert [bytes(after.raw(index)) for index in range(2)] == [bytes(events.raw(0)), bytes(events.raw(2))]


def test_an_expression_sees_operation_names_document_image_key_and_update():
    update = {"updatedFields": {"a.b": 1}, "removedFields": ["c"], "truncatedArrays": []}
    event = event_document(
        0, operationType="update", updateDescription=update, fullDocumentBeforeChange={"a": {"b": 0}}, fullDocument={}
    )
    expression = (
        'operation == "update" && database == "shop" && collection == "orders" && key._id == 0 && before.a.b == 0'
        ' && update.updatedFields["a.b"] == 1 && "c" in update.removedFields && document == {}'
    )
    assert kept(expression, event) == [0]
    assert kept(f"!({expression})", event) == []


def test_a_value_that_depends_on_a_missing_part_keeps_the_event():
    assert kept('document.status == "paid"', delete()) == [0]
    assert kept("has(document.status)", delete()) == [0]
    assert kept("!has(document.status)", delete()) == [0]
    assert kept("document.n == 1", event_document(0, operationType="update", fullDocument=None)) == [0]


def test_deletes_are_dropped_if_the_expression_is_false_without_the_document():
    assert kept('operation != "delete" && document.n == 1', delete()) == []
    assert kept('document.n == 1 && operation != "delete"', delete()) == []
    assert kept('has(key._id) ? operation != "delete" : document.n == 1', delete()) == []


def test_an_event_without_a_collection_has_an_empty_name():
    assert kept('collection == "" && database == "shop"', event_document(0, ns={"db": "shop"})) == [0]
    gone = event_document(0, operationType="invalidate")
    del gone["ns"]
    assert kept('collection == "" && database == ""', gone) == [0]


def test_an_event_on_which_it_fails_is_rejected_and_the_reason_quotes_no_value():
    events = document_events({"n": 1}, {}, {"n": "secret"}, {"n": {"secret": 1}}, {"n": None})
    with pytest.raises(RejectedEventsError) as caught:
        kept("document.n > 0", *events)
    assert sorted(caught.value.events) == [1, 2, 3, 4]
    assert str(caught.value.events[1]) == 'the expression failed: a document has no field "n"'
    assert all(isinstance(error, ExpressionFailedError) for error in caught.value.events.values())
    assert not any("secret" in str(error) for error in caught.value.events.values())
    assert "has(document.status)" in caught.value.remedy


@pytest.mark.parametrize("expression", ["document[document.n] == 1", "timestamp(document.n) > timestamp(0)"])
def test_a_key_and_a_text_of_the_document_are_not_quoted(expression):
    with pytest.raises(RejectedEventsError) as caught:
        kept(expression, *document_events({"n": "secret"}))
    assert "secret" not in str(caught.value.events[0])


def test_a_value_that_is_not_true_or_false_is_rejected():
    with pytest.raises(RejectedEventsError, match="gave STRING, not bool"):
        kept("document.n", *document_events({"n": "x"}))


def test_missing_fields_can_have_a_default():
    assert kept('document.?status.orValue("new") == "new"', *document_events({}, {"status": "paid"})) == [0]


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ('operation = "insert"', "line 1, column 11"),
        ("documnt.n == 1", "line 1, column 8: undeclared reference to 'documnt.n'"),
        ('operation == "a" ||\n  document.n >', "line 2, column 15"),
        ('document.n.startWith("a")', "line 1, column 21: undeclared reference to 'startWith'"),
        ("operation == 1", "line 1, column 11: found no matching overload"),
        ("", "line 1, column 1"),
    ],
)
def test_a_wrong_expression_is_an_error_that_says_where(expression, place):
    with pytest.raises(ExpressionError, match=re.escape(place)) as caught:
        FilterTransform(expression=expression)
    assert "document, before, key and update" in caught.value.remedy


@pytest.mark.parametrize("expression", ["operation", "size(document)", '"a\0" == "a"'])
def test_an_expression_must_be_true_or_false(expression):
    with pytest.raises(ExpressionError):
        FilterTransform(expression=expression)


@pytest.mark.parametrize(
    ("value", "expression"),
    [
        (1, "document.v == 1 && document.v < 1.5"),
        (Int64(2**62), "document.v == 4611686018427387904"),
        (1.5, "document.v > 1"),
        (True, "document.v"),
        (None, "document.v == null"),
        ("é", 'document.v == "é" && size(document.v) == 1'),
        (b"ab", 'document.v == b"ab"'),
        (Binary(b"ab", 5), 'document.v == b"ab"'),
        (Binary(bytes(16), 4), 'document.v == "00000000-0000-0000-0000-000000000000"'),
        (ObjectId(b"a" * 12), 'document.v == "616161616161616161616161"'),
        (Decimal128("1.25"), "document.v == 1.25"),
        (
            datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
            'document.v == "2026-01-02T03:04:05.678Z" && timestamp(document.v).getFullYear() == 2026',
        ),
        ([1, {"a": 2}], "document.v[1].a == 2 && document.v.exists(item, item == 1)"),
        (Regex("^a", "i"), 'document.v["$regularExpression"].pattern == "^a"'),
        (MinKey(), 'document.v["$minKey"] == 1'),
        (DBRef("c", 1), 'document.v["$ref"] == "c"'),
    ],
    ids=str,
)
def test_values_of_each_type(value, expression):
    assert kept(expression, *document_events({"v": value})) == [0]
    assert kept(f"!({expression})", *document_events({"v": value})) == []


def test_a_text_that_the_language_cannot_represent_is_rejected_not_cut():
    with pytest.raises(RejectedEventsError, match=r"U\+0000"):
        kept('document.v == "a"', *document_events({"v": "a\0b"}))
    assert kept('document.v == "a"', *document_events({"v": "a", "other": "a\0b"})) == [0]


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("document.a.b == 1 && has(document.c)", {"a", "c"}),
        ('document["a b"] == 1 || document.?d.orValue(1) == 1', {"a b", "d"}),
        ("document . a == 1", {"a"}),
        ("document.size() == 1", None),
        ('"a" in document', None),
        ('document[operation] == 1 || document.a == "document"', None),
        ('document.a == "document.b"', {"a", "b"}),
        (r'document["\x61"] == 1', None),
    ],
)
def test_only_the_fields_that_it_names_are_decoded(expression, fields):
    found = compiled(expression, "bool")
    assert found.fields.get("document") == fields
    event = bytes(batch_of([event_document(0, fullDocument={"a": 1, "z": 1})]).raw(0))
    document = EventView(event).values({"document"}, found.fields)["document"]
    assert ("z" in document) == (fields is None)
