"""The transform `schema`: each deviation, each action, in documents and in deltas."""

import re
from functools import partial

import bson
import pytest
from bson import Decimal128, Int64
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import SchemaDrifted
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_testing.contracts.transform import outcome
from rigatoni_transforms.errors import DeviationError, SchemaError, SchemaStopError
from rigatoni_transforms.schema import SchemaTransform

COLUMNS = {
    "total": "decimal",
    "address.zip": ["string", "null"],
    "lines.*.n": "integer",
    "tags.*": "string",
    "any.*": ["int", "object"],
}
ORDERS = {"required": ["total", "address.zip"], "columns": COLUMNS}
GOOD = {
    "_id": 1,
    "total": Decimal128("1"),
    "address": {"zip": None},
    "lines": [{"n": 1}, {"n": Int64(2)}],
    "tags": ["a"],
}
LIMITS = {
    "properties": {
        "state": {"enum": ["new", "paid"]},
        "n": {"bsonType": "int", "minimum": 0, "maximum": 10, "exclusiveMaximum": True},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3},
        "many": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "integer"}},
    }
}


class TestSchema(TransformContract):
    @pytest.fixture(
        params=[
            {"new_field": "drop_value", "other_type": "drop_value", "missing_field": "evolve"},
            {"new_field": "reject"},
            {"new_field": "drop_event", "other_type": "drop_event", "missing_field": "drop_event"},
        ]
    )
    def make(self, request):
        tables = {"shop.orders": {"required": ["value"], "columns": {"value": "string", "é": "int", "$x.é": "object"}}}
        return partial(SchemaTransform, collections=tables, **request.param)


def checked(event, table=None, **options):
    after = SchemaTransform(collections={"shop.orders": table or ORDERS}, **options).transform(batch_of([event]))
    return bson.decode(bytes(after.raw(0))) if len(after) else None


def inserted(document, table=None, **options):
    after = checked(event_document(0, fullDocument=document), table, **options)
    return after and after["fullDocument"]


def changed(updated, removed=(), table=None, **options):
    description = {"updatedFields": updated, "removedFields": list(removed)}
    event = event_document(0, operationType="update", updateDescription=description, fullDocument=GOOD)
    after = checked(event, table, **options)
    return after and after["updateDescription"]


STRICT = dict.fromkeys(("new_field", "missing_field", "other_type", "other_value"), "reject")


def test_documents_that_follow_the_schema_keep_their_bytes():
    events = batch_of([event_document(0, fullDocument=GOOD, fullDocumentBeforeChange=GOOD)])
    assert SchemaTransform(collections={"shop.orders": ORDERS}, **STRICT).transform(events) is events
    changed(
        {"total": Decimal128("2"), "address.zip": "1", "lines.0.n": 5, "tags.3": "x", "lines.0": {"n": 1}}, **STRICT
    )


DEVIATIONS = [
    ({**GOOD, "more": "secret"}, "new_field", 'does not have the field "more"', GOOD),
    ({**GOOD, "address": {"zip": None, "x": 1}}, "new_field", '"address.x"', GOOD),
    ({**GOOD, "lines": [{"n": 1, "m": 1}]}, "new_field", '"lines.*.m"', {**GOOD, "lines": [{"n": 1}]}),
    ({**GOOD, "a@b.example": 1}, "new_field", '"…"', GOOD),
    ({**GOOD, "tags": ["a", 5]}, "other_type", '"tags.*" has another type', {**GOOD, "tags": ["a", None]}),
    ({**GOOD, "tags": "secret"}, "other_type", '"tags" has', {k: v for k, v in GOOD.items() if k != "tags"}),
    ({**GOOD, "address": {"zip": 5}}, "other_type", '"address.zip"', {**GOOD, "address": {}}),
]


@pytest.mark.parametrize(("document", "kind", "message", "without"), DEVIATIONS)
def test_each_action_on_a_document_that_deviates(document, kind, message, without):
    quiet = {**dict.fromkeys(STRICT, "evolve"), "missing_field": "evolve"}
    assert inserted(document, **{**quiet, kind: "evolve"}) == document
    assert inserted(document, **{**quiet, kind: "drop_value"}) == without
    assert inserted(document, **{**quiet, kind: "drop_event"}) is None
    with pytest.raises(RejectedEventsError) as caught:
        inserted(document, **{**quiet, kind: "reject"})
    error = caught.value.events[0]
    assert isinstance(error, DeviationError)
    assert message in str(error)
    assert str(error).startswith("shop.orders: ")
    assert "secret" not in str(error)
    with pytest.raises(SchemaStopError, match=r"shop\.orders: "):
        inserted(document, **{**quiet, kind: "stop"})


def test_a_missing_field():
    document = {"_id": 1, "address": {}}
    assert inserted(document, missing_field="evolve") == document
    assert inserted(document, missing_field="drop_event") is None
    with pytest.raises(RejectedEventsError, match="required field"):
        inserted(document)
    with pytest.raises(RejectedEventsError, match=r'"address.zip" is missing'):
        inserted({**GOOD, "address": {}})


@pytest.mark.parametrize(
    ("updated", "kind", "left"),
    [
        ({"more": 1, "total": Decimal128("1")}, "new_field", {"total": Decimal128("1")}),
        ({"address.x.y": 1}, "new_field", {}),
        ({"address": {"zip": "1", "x": 1}}, "new_field", {"address": {"zip": "1"}}),
        ({"lines.0.m": 1}, "new_field", {}),
        ({"total": 1}, "other_type", {}),
        ({"total.x": 1}, "other_type", {}),
        ({"tags.0": 1}, "other_type", {}),
        ({"tags.0.x": 1}, "other_type", {}),
        ({"lines": [{"n": "1"}]}, "other_type", {"lines": [{}]}),
    ],
)
def test_deltas_are_checked_too(updated, kind, left):
    quiet = dict.fromkeys(STRICT, "evolve")
    assert changed(updated, **{**quiet, kind: "evolve"})["updatedFields"] == updated
    assert changed(updated, **{**quiet, kind: "drop_value"})["updatedFields"] == left
    assert changed(updated, **{**quiet, kind: "drop_event"}) is None
    with pytest.raises(RejectedEventsError):
        changed(updated, **{**quiet, kind: "reject"})
    with pytest.raises(SchemaStopError):
        changed(updated, **{**quiet, kind: "stop"})


def test_a_delta_that_removes_a_required_field():
    assert changed({}, ["address.other", "lines"])["removedFields"] == ["address.other", "lines"]
    for removed in ("total", "address.zip"):
        with pytest.raises(RejectedEventsError, match="is missing"):
            changed({}, [removed])


def test_what_lies_below_a_field_of_any_form_is_not_checked():
    assert changed({"any.0.x.y": 1, "_id.x": 1}, **STRICT)["updatedFields"] == {"any.0.x.y": 1, "_id.x": 1}


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("state", "paid", "secret"),
        ("n", 9, 10),
        ("name", "abc", "abcd"),
        ("name", "a", "A"),
        ("many", [1, 2], []),
        ("many", [1], [1, 1]),
    ],
)
def test_limits_of_values(field, good, bad):
    assert inserted({"_id": 1, field: good}, LIMITS) == {"_id": 1, field: good}
    with pytest.raises(RejectedEventsError, match="beyond the limits") as caught:
        inserted({"_id": 1, field: bad}, LIMITS)
    assert "secret" not in str(caught.value)
    assert inserted({"_id": 1, field: bad}, LIMITS, other_value="drop_value") == {"_id": 1}
    assert changed({field: bad}, table={**LIMITS, "additionalProperties": True}, other_value="drop_value") == {
        "updatedFields": {},
        "removedFields": [],
    }


def test_decimals_have_limits_as_numbers():
    table = {"properties": {"d": {"minimum": 1}}}
    assert inserted({"d": Decimal128("1.5")}, table)
    with pytest.raises(RejectedEventsError):
        inserted({"d": Decimal128("0.5")}, table)


def test_the_document_before_the_change_loses_values_and_never_rejects():
    event = event_document(0, fullDocument=GOOD, fullDocumentBeforeChange={"_id": 1, "total": "old", "x": 1})
    assert checked(event, **STRICT)["fullDocumentBeforeChange"] == {"_id": 1, "total": "old", "x": 1}
    after = checked(event, new_field="drop_value", other_type="drop_value")
    assert after["fullDocumentBeforeChange"] == {"_id": 1}


def test_an_id_of_another_type_is_rejected_rather_than_left_out():
    table = {"columns": {"_id": "objectId"}}
    with pytest.raises(RejectedEventsError, match="_id"):
        inserted({"_id": 1}, table, other_type="drop_value")


def test_a_collection_without_a_schema():
    other = event_document(0, collection="other")
    assert checked(other) is not None
    assert checked(other, new_collection="drop_event") is None
    with pytest.raises(RejectedEventsError, match=r"shop\.other: the collection has no schema"):
        checked(other, new_collection="reject")
    with pytest.raises(SchemaStopError):
        checked(other, new_collection="stop")
    drop = {**other, "operationType": "drop"}
    assert checked(drop, new_collection="stop") is not None


def test_what_passes_is_reported_once_without_values():
    transform = SchemaTransform(collections={"shop.orders": ORDERS})
    events = batch_of([event_document(n, fullDocument={**GOOD, "more": "secret"}) for n in range(3)])
    transform.transform(events)
    transform.transform(events)
    (notice,) = transform.reports(events.stream)
    assert notice == SchemaDrifted(
        stream=events.stream, deviation='shop.orders: the schema does not have the field "more"'
    )
    assert transform.reports(events.stream) == []
    transform.transform(batch_of([event_document(0, collection="other")], stream=Stream("p", "shop.other")))
    assert transform.reports(events.stream) == []
    assert [each.deviation for each in transform.reports(Stream("p", "shop.other"))] == [
        "shop.other: the collection has no schema"
    ]


def test_a_schema_without_properties_allows_any_field():
    assert inserted({"_id": 1, "x": 1}, {"bsonType": "object", "required": ["x"]}, **STRICT)
    with pytest.raises(RejectedEventsError):
        inserted({"_id": 1, "x": 1}, {"additionalProperties": False}, **STRICT)


def test_the_validator_of_a_collection_is_taken_as_text():
    validator = '{"$jsonSchema": {"bsonType": "object", "required": ["n"], "properties": {"n": {"bsonType": "int"}}}}'
    assert inserted({"n": 1}, {"json_schema": validator}, **STRICT) == {"n": 1}
    with pytest.raises(RejectedEventsError, match='"n" has another type'):
        inserted({"n": "1"}, {"json_schema": validator})
    with pytest.raises(RejectedEventsError, match='"x"'):
        inserted({"n": 1, "x": 1}, {"json_schema": validator.replace('{"$jsonSchema": ', "")[:-1]}, **STRICT)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"json_schema": "{"}, "json_schema is no JSON"),
        ({"json_schema": "5"}, "json_schema is no object"),
        ({"json_schema": 5}, "json_schema is no JSON"),
        ({"json_schema": "{}", "required": []}, "json_schema must stand alone"),
        ({"json_schema": '{"$jsonSchema": {}, "x": 1}'}, "$jsonSchema, x is not supported"),
        ({"anyOf": []}, "shop.orders: anyOf is not supported; supported are additionalProperties"),
        ({"properties": {"a": {"bsonType": "text"}}}, "shop.orders.a: unknown type text; known are"),
        ({"columns": {"a": ["int", "x"]}}, "shop.orders.a: unknown type x"),
        ({"columns": {"a": 5}}, "unknown type"),
        ({"columns": {"a..b": "int"}}, "cannot be parsed at character 3"),
        ({"columns": [], "required": []}, "columns must be a table"),
        ({"columns": {}, "properties": {}}, "cannot be combined with columns"),
        ({"required": "a"}, "required must be a list"),
        ({"properties": 5}, "properties must be a table"),
        ({"additionalProperties": {}}, "must be true or false"),
        ({"items": 5}, "a schema is a table"),
        ({"properties": {"a": {"pattern": "("}}}, "shop.orders.a: pattern: "),
        ({"properties": {"a": {"minimum": "x"}}}, "minimum"),
        (5, "is a table"),
    ],
)
def test_a_wrong_schema_is_an_error_that_says_where(table, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        SchemaTransform(collections={"shop.orders": table})
    assert isinstance(caught.value, SchemaError) or "parsed" in message


VALUES = st.sampled_from(
    [1, "x", None, Decimal128("1"), {"zip": 1}, {"zip": "1", "x": 2}, [{"n": 1}, {"m": 2}], ["a", 5]]
)
NAMES = st.sampled_from(["total", "address", "lines", "tags", "other"])
PATHS = st.sampled_from(["total", "address.zip", "lines.0.n", "lines.0.m", "tags.1", "address", "other.x", "total.x"])


@settings(max_examples=100, deadline=None)
@given(
    documents=st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=4),
    delta=st.dictionaries(PATHS, VALUES, max_size=3),
    actions=st.fixed_dictionaries(
        {
            name: st.sampled_from(["evolve", "reject", "drop_value", "drop_event"])
            for name in ("new_field", "other_type")
        }
    ),
)
def test_transforming_twice_gives_the_same(documents, delta, actions):
    transform = SchemaTransform(collections={"shop.orders": ORDERS}, missing_field="evolve", **actions)
    events = [
        event_document(n, fullDocument=each, updateDescription={"updatedFields": delta, "removedFields": []})
        for n, each in enumerate(documents)
    ]
    once = outcome(transform, batch_of(events))
    kept = [raw for raw in once.values() if raw is not None]
    if kept:
        assert list(outcome(transform, batch_of(kept)).values()) == kept
