"""The transform `cast`: each conversion, and what has none."""

from datetime import UTC, datetime
from functools import partial

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.binary import Binary
from bson.timestamp import Timestamp
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_transforms.cast import CastTransform
from rigatoni_transforms.errors import FieldError, PathError

DATE = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
OID = ObjectId("5f5e100000000000000000ff")


class TestCast(TransformContract):
    @pytest.fixture(params=[{"value": "string"}, {"é": "long", "$x": "double", '"a.b"': "bool", '""': "date"}])
    def make(self, request):
        return partial(CastTransform, fields=request.param)


def cast(event, **fields):
    after = CastTransform(fields=fields).transform(batch_of([event]))
    return bson.decode(bytes(after.raw(0)), bson.CodecOptions(tz_aware=True))


def value(given, to):
    return cast(event_document(0, fullDocument={"v": given}), v=to)["fullDocument"]["v"]


@pytest.mark.parametrize(
    ("given", "to", "expected"),
    [
        ("12", "int", 12),
        ("-12", "long", Int64(-12)),
        (12.0, "int", 12),
        (True, "int", 1),
        (Int64(12), "int", 12),
        (12, "long", Int64(12)),
        (Decimal128("12.00"), "long", Int64(12)),
        (DATE, "long", Int64(1767323045678)),
        (2**53, "double", float(2**53)),
        (Decimal128("0.1"), "double", 0.1),
        ("1e3", "double", 1000.0),
        (1, "decimal", Decimal128("1")),
        (0.1, "decimal", Decimal128("0.1")),
        ("1.10", "decimal", Decimal128("1.10")),
        (1.5, "string", "1.5"),
        (Int64(5), "string", "5"),
        (False, "string", "false"),
        (OID, "string", str(OID)),
        (DATE, "string", "2026-01-02T03:04:05.678Z"),
        (Decimal128("1.10"), "string", "1.10"),
        (Binary(bytes(16), 4), "string", "00000000-0000-0000-0000-000000000000"),
        ("true", "bool", True),
        (0, "bool", False),
        ("2026-01-02T03:04:05.678Z", "date", DATE),
        ("2026-01-02T05:04:05.678999+02:00", "date", DATE),
        ("2026-01-02", "date", datetime(2026, 1, 2, tzinfo=UTC)),
        (1767323045678, "date", DATE),
        (Timestamp(1_600_000_000, 5), "date", datetime.fromtimestamp(1_600_000_000, UTC)),
        (OID, "date", datetime.fromtimestamp(0x5F5E1000, UTC)),
        (str(OID), "objectId", OID),
        (None, "int", None),
        ("x", "string", "x"),
    ],
    ids=str,
)
def test_values_that_have_a_counterpart(given, to, expected):
    found = value(given, to)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("given", "to", "reason"),
    [
        ("secret", "int", "it is a string of another form"),
        ("1.5", "int", "it is a string of another form"),
        (1.5, "int", "no whole number"),
        (float("nan"), "long", "no whole number"),
        (float("inf"), "long", "no whole number"),
        (Decimal128("NaN"), "int", ""),
        (2**31, "int", "out of range"),
        (1e300, "long", "out of range"),
        (2**53 + 1, "double", "cannot represent it exactly"),
        ("nan", "double", "another form"),
        ({"secret": 1}, "string", "it is a document"),
        (["secret"], "string", "it is an array"),
        (b"secret", "string", ""),
        ("yes", "bool", "another form"),
        (2, "bool", "another form"),
        ("secret", "date", "another form"),
        (True, "date", "it is a bool"),
        (1.5, "date", "it is a double"),
        ("secret", "objectId", "another form"),
        (5, "objectId", "it is an int"),
    ],
    ids=str,
)
def test_a_value_without_a_counterpart_rejects_the_event_and_is_not_quoted(given, to, reason):
    with pytest.raises(RejectedEventsError) as caught:
        value(given, to)
    error = caught.value.events[0]
    assert isinstance(error, FieldError)
    assert f'the field "v" cannot be cast to {to}: ' in str(error)
    assert reason in str(error)
    assert "secret" not in str(error)


def test_both_images_the_key_inner_documents_and_arrays():
    document = {"_id": 1, "a": {"n": "1"}, "tags": [1, 2], "lines": [{"n": "1"}, {"n": "2"}]}
    event = event_document(
        0, fullDocument=document, fullDocumentBeforeChange=document, documentKey={"_id": 1, "a": {"n": "1"}}
    )
    after = cast(event, **{"a.n": "int", "tags.*": "string", "lines.n": "int", "missing.x": "int"})
    expected = {"_id": 1, "a": {"n": 1}, "tags": ["1", "2"], "lines": [{"n": 1}, {"n": 2}]}
    assert after["fullDocument"] == after["fullDocumentBeforeChange"] == expected
    assert after["documentKey"] == {"_id": 1, "a": {"n": 1}}


def test_an_update_description_has_the_same_types():
    updated = {"a.n": "1", "a": {"n": "2"}, "tags.0": 1, "lines.3.n": "4", "a.x": "5"}
    description = {"updatedFields": updated, "removedFields": ["a.n"]}
    after = cast(
        event_document(0, updateDescription=description), **{"a.n": "int", "tags.*": "string", "lines.n": "int"}
    )
    assert after["updateDescription"] == {
        "updatedFields": {"a.n": 1, "a": {"n": 2}, "tags.0": "1", "lines.3.n": 4, "a.x": "5"},
        "removedFields": ["a.n"],
    }


def test_a_change_inside_a_value_that_is_cast_rejects_the_event():
    with pytest.raises(RejectedEventsError, match="a part of a value"):
        cast(event_document(0, updateDescription={"updatedFields": {"a.n.x": 1}}), **{"a.n": "int"})


def test_values_of_the_type_keep_their_bytes():
    events = batch_of([event_document(0)])
    assert CastTransform(fields={"value": "string", "other": "int"}).transform(events) is events


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match='unknown type "text"'):
        CastTransform(fields={"a": "text"})
    with pytest.raises(PathError, match="names _id"):
        CastTransform(fields={"_id": "string"})
