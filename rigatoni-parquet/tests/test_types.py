"""Type by type: what a nested column takes and what stays in the rest, as the README says."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    encode,
)
from bson.raw_bson import RawBSONDocument
from rigatoni_bson.testing.reading import bson_document, bson_string
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of, event_document

OID, UUID = ObjectId("000102030405060708090a0b"), Binary(bytes(range(16)), 4)
DATE = datetime(2024, 5, 1, 12, 0, 5, 120_000, UTC)

FITTING = [
    ("string", "é\0", "é\0"),
    ("int", 7, 7),
    ("int", Int64(-(2**31)), -(2**31)),
    ("int", 7.0, 7),
    ("long", Int64(2**63 - 1), 2**63 - 1),
    ("long", -(2.0**63), -(2**63)),
    ("double", 0.1, 0.1),
    ("double", -0.0, -0.0),
    ("double", float("-inf"), float("-inf")),
    ("double", 7, 7.0),
    ("double", Int64(2**53), 2.0**53),
    ("double", Int64(-(2**63)), -(2.0**63)),
    ("decimal", Decimal128("1.10"), "1.10"),
    ("decimal", Decimal128("NaN"), "NaN"),
    ("decimal(4, 2)", Decimal128("1.1"), Decimal("1.10")),
    ("decimal(4, 2)", Decimal128("-99.990"), Decimal("-99.99")),
    ("decimal(4, 2)", 99, Decimal("99.00")),
    ("decimal(38, 0)", Int64(2**63 - 1), Decimal(2**63 - 1)),
    ("bool", True, True),
    ("date", DATE, 1_714_564_805_120),
    ("date", DatetimeMS(-62_198_755_200_000), -62_198_755_200_000),  # the year -1
    ("date", DatetimeMS(8_640_000_000_000_000), 8_640_000_000_000_000),  # the year 275760
    ("date", DatetimeMS(-9_223_372_036_854_775), -9_223_372_036_854_775),
    ("objectId", OID, "000102030405060708090a0b"),
    ("uuid", UUID, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ("binData", b"\xff", b"\xff"),
    (["string"], [], []),
    (["string"], ["a", None], ["a", None]),
    ([["int"]], [[1], []], [[1], []]),
    ({"a": "int"}, {}, {"a": None}),
    ({"a": "int"}, {"a": 1}, {"a": 1}),
    ({"$ref": "string", "$id": "objectId"}, DBRef("users", OID), {"$ref": "users", "$id": str(OID)}),
]

NOT_FITTING = [
    ("string", OID),
    ("string", 1),
    ("string", None),
    ("int", 2**31),
    ("int", 1.5),
    ("int", True),
    ("int", -0.0),
    ("int", float("nan")),
    ("int", Decimal128("1")),
    ("long", 2.0**63),
    ("double", Int64(2**53 + 1)),
    ("double", Int64(2**63 - 1)),
    ("double", Decimal128("1")),
    ("decimal", 1),
    ("decimal(4, 2)", Decimal128("1.001")),
    ("decimal(4, 2)", Decimal128("100")),
    ("decimal(4, 2)", Decimal128("-0")),
    ("decimal(4, 2)", Decimal128("Infinity")),
    ("decimal(4, 2)", Decimal128("1E+6144")),
    ("decimal(4, 2)", 1.5),
    ("bool", 1),
    ("date", DatetimeMS(9_223_372_036_854_776)),
    ("date", Timestamp(1, 2)),
    ("objectId", str(OID)),
    ("uuid", Binary(bytes(16), 3)),
    ("uuid", Binary(bytes(15), 4)),
    ("binData", UUID),
    ("binData", Binary(b"", 128)),
    (["string"], "a"),
    (["string"], {"0": "a"}),
    ({"a": "int"}, [1]),
    *[("string", value) for value in (Regex("^a"), Code("f()"), Code("f()", {}), MinKey(), MaxKey(), Timestamp(1, 2))],
]


@pytest.fixture
def put(read, tmp_path):
    """Writes a value as field `v` of a document, with a schema that gives it this type; the field and the rest back."""

    def written(kind, value):
        (tmp_path / "schema.json").write_text(json.dumps({"_id": "int", "v": kind}))
        serializer = ParquetSerializer(documents="nested", mode="canonical", schema=tmp_path / "schema.json")
        (row,) = read(serializer.serialize(batch_of([event_document(0, fullDocument={"_id": 1, "v": value})])))
        rest = row["full_document_rest"]
        assert row["full_document"]["_id"] == 1
        return row["full_document"]["v"], rest and json.loads(rest)

    return written


@pytest.mark.parametrize(("kind", "value", "expected"), FITTING, ids=str)
def test_C6_what_fits(put, kind, value, expected):
    found, rest = put(kind, value)
    assert found == expected
    assert str(found) == str(expected)  # minus zero, and how many digits
    assert rest is None


@pytest.mark.parametrize(("kind", "value"), NOT_FITTING, ids=str)
def test_C6_what_does_not_fit_is_null_and_in_the_rest(put, kind, value):
    found, rest = put(kind, value)
    assert found is None
    assert list(rest) == ["v"]


def test_the_example_of_the_readme(read, tmp_path):
    (tmp_path / "s.toml").write_text('_id = "int"\na = "int"\nb = "string"\ntags = ["string"]\n')
    serializer = ParquetSerializer(documents="nested", schema=tmp_path / "s.toml")
    document = {"a": 1, "b": None, "tags": ["x", 7]}
    (row,) = read(serializer.serialize(batch_of([event_document(0, fullDocument=document)])))
    assert row["full_document"] == {"_id": None, "a": 1, "b": None, "tags": ["x", None]}
    assert row["full_document_rest"] == '{"b":null,"tags":{"1":7}}'


WHOLE = [
    bson_document([(b"a", 0x10, bytes(4)), (b"a", 0x10, bytes(4))]),
    bson_document([(b"a", 0x06, b"")]),
    bson_document([(b"a", 0x0E, bson_string(b"symbol"))]),
    bson_document([(b"a", 0x0C, bson_string(b"db.c") + bytes(12))]),
    bson_document([(b"a", 0x02, bson_string(b"\xff"))]),
    bson_document([(b"a", 0x03, bson_document([(b"$oid", 0x10, bytes(4))]))]),
    bson_document([(b"a", 0x04, bson_document([(b"7", 0x10, bytes(4))]))]),
]


@pytest.mark.parametrize("raw", WHOLE)
def test_documents_that_no_struct_can_say_stay_whole_and_disturb_no_other(read, batch_of_any, raw):
    events = [encode(event_document(number, fullDocument={"_id": number})) for number in range(3)]
    events[1] = encode(event_document(1, fullDocument=RawBSONDocument(raw)))
    rows = read(ParquetSerializer(documents="nested").serialize(batch_of_any(events)))
    assert [row["full_document"] for row in rows] == [{"_id": 0}, None, {"_id": 2}]
    assert [row["full_document_rest"] is None for row in rows] == [True, False, True]
