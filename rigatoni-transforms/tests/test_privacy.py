"""`select` and `mask`: what they make of documents, and of every part of an event that holds parts of documents."""

import hashlib
import hmac
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, decode, encode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from rigatoni_core.api.errors import ConfigurationError, RejectedEventsError
from rigatoni_core.api.options import Secret
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_transforms.errors import MaskedKeyError, MaskError
from rigatoni_transforms.mask import MaskTransform
from rigatoni_transforms.select import SelectTransform

KEY = Secret("a key for tests that is no secret")
OPTIONS = CodecOptions(tz_aware=True)


def made(transform, **fields):
    """The event after the transform."""
    (raw,) = transform.transform(batch_of([event_document(1, **fields)])).whole.copies()
    return decode(raw, OPTIONS)


def document(transform, value):
    event = made(transform, fullDocument={"_id": 1, **value}, fullDocumentBeforeChange={"_id": 1, **value})
    assert event["fullDocument"] == event["fullDocumentBeforeChange"], "both images are alike"
    assert event["fullDocument"].pop("_id") == 1
    return event["fullDocument"]


def delta(transform, **description):
    return made(transform, operationType="update", updateDescription=description, fullDocument=None)[
        "updateDescription"
    ]


def mask(method="redact", *paths, **options):
    return MaskTransform(fields=dict.fromkeys(paths, method), key=KEY, key_id="1", **options)


def include(*paths):
    return SelectTransform(include=paths)


def exclude(*paths):
    return SelectTransform(exclude=paths)


@pytest.mark.parametrize(
    ("path", "value", "left"),
    [
        ("a", {"a": 1, "b": 2}, {"b": 2}),
        ("a.b", {"a": {"b": 1, "c": 2}, "b": 3}, {"a": {"c": 2}, "b": 3}),
        ("a.b", {"a": [{"b": 1, "c": 2}, 5, [{"b": 1}]]}, {"a": [{"c": 2}, 5, [{}]]}),
        ("a.0", {"a": [1, 2]}, {"a": [None, 2]}),
        ("a.0", {"a": {"0": 1, "1": 2}}, {"a": {"1": 2}}),
        ("a.*", {"a": {"b": 1}, "c": 1}, {"a": {}, "c": 1}),
        ("a.*", {"a": [1, 2]}, {"a": [None, None]}),
        ("a.*.c", {"a": {"x": {"c": 1, "d": 2}, "c": 3}}, {"a": {"x": {"d": 2}, "c": 3}}),
        ('"a.b".c', {"a.b": {"c": 1, "d": 2}, "a": {"b": {"c": 1}}}, {"a.b": {"d": 2}, "a": {"b": {"c": 1}}}),
        ("a.b", {"a": 1}, {"a": 1}),
    ],
)
def test_exclude_removes_what_the_path_names_and_elements_become_null(path, value, left):
    assert document(exclude(path), value) == left


@pytest.mark.parametrize(
    ("paths", "value", "left"),
    [
        (["a"], {"a": {"b": 1}, "b": 2}, {"a": {"b": 1}}),
        (["a.b"], {"a": {"b": 1, "c": 2}, "b": 3}, {"a": {"b": 1}}),
        (["a.b"], {"a": [{"b": 1, "c": 2}, 5]}, {"a": [{"b": 1}, None]}),
        (["a.b", "_id"], {"a": 5}, {}),
        (["*.b"], {"a": {"b": 1, "c": 2}, "d": {"c": 1}, "e": 1}, {"a": {"b": 1}, "d": {}}),
    ],
)
def test_include_keeps_only_what_the_paths_name_and_the_id(paths, value, left):
    assert document(include(*paths), value) == left


def digest(content):
    return hmac.new(KEY.reveal().encode(), content, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("method", "value", "masked"),
    [
        *(("redact", value, "***") for value in ["x", 1, None, {"a": 1}, [1, 2]]),
        *(("null", value, None) for value in ["x", 1, {"a": 1}, [1, 2]]),
        ("hash", "é", digest("é".encode())),
        *(("hash", value, digest(b"5")) for value in [5, Int64(5), 5.0]),
        ("hash", ObjectId("0123456789abcdef01234567"), digest(b"0123456789abcdef01234567")),
        ("hash", True, digest(b"\x08\0\1")),
        ("hash", ["a", ["b"], None], [digest(b"a"), [digest(b"b")], None]),
        *(
            ("partial", value, masked)
            for value, masked in [("12345678", "****5678"), ("1234567", "****"), ("", "****")]
        ),
        *(("partial", value, masked) for value, masked in [(12345678, "****5678"), ("ääääéééé", "****éééé")]),
        *(("truncate", value, masked) for value, masked in [("éèà-1", "éèà"), ("ab", "ab"), (["abcd"], ["abc"])]),
        ("date_to_year", datetime(1984, 5, 17, 3, tzinfo=UTC), datetime(1984, 1, 1, tzinfo=UTC)),
        ("date_to_year", datetime(1969, 12, 31, 23, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC)),
        ("date_to_year", None, None),
    ],
)
def test_a_method_makes_this_of_a_value(method, value, masked):
    assert document(mask(method, "a"), {"a": value, "b": 1}) == {"a": masked, "b": 1}


def test_a_key_longer_than_a_block_of_the_hash_is_hashed_first():
    key = "k" * 65
    transform = MaskTransform(fields={"a": "hash"}, key=Secret(key), key_id="1")
    expected = hmac.new(key.encode(), b"x", hashlib.sha256).hexdigest()
    assert document(transform, {"a": "x"}) == {"a": expected}


@pytest.mark.parametrize(
    ("given", "year"), [(2**63 - 1, 292278994), (-(2**63), None), (253402300800000, 10000), (-62135596800001, 0)]
)
def test_dates_beyond_the_years_of_python_become_years_too(given, year):
    raw = mask("date_to_year", "a").raw(encode(event_document(1, fullDocument={"a": DatetimeMS(given)})))
    options = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
    masked = int(decode(raw, options)["fullDocument"]["a"])
    assert masked <= given
    assert given - masked < 366 * 86_400_000
    if year is not None:
        days_before = (year - 1970) * 365.2425
        assert masked == pytest.approx(days_before * 86_400_000, abs=2 * 86_400_000)
    else:
        assert masked == given, "it cannot say an earlier one"


@pytest.mark.parametrize(
    ("method", "value"),
    [
        *(("hash", {"a": 1}), ("hash", [{"a": 1}]), ("partial", {"a": 1}), ("partial", 1.5), ("truncate", 1)),
        *(
            ("date_to_year", "1984-05-17"),
            ("partial", Binary(b"12345678")),
            ("hash", {}),
            ("truncate", Decimal128("1")),
        ),
    ],
)
def test_a_value_that_does_not_suit_the_method_is_rejected_and_not_quoted(method, value):
    with pytest.raises(RejectedEventsError) as caught:
        document(mask(method, "a"), {"a": value})
    (error,) = caught.value.events.values()
    assert isinstance(error, MaskError)
    assert "1984" not in f"{error} {caught.value}"


def test_the_exact_path_comes_before_a_star():
    transform = MaskTransform(fields={"a.*": "redact", "a.b": "null"})
    assert document(transform, {"a": {"b": 1, "c": 1}}) == {"a": {"b": None, "c": "***"}}


UPDATED = [
    # transform, updatedFields, after
    (exclude("address.street"), {"address.street": 1, "address.city": 2}, {"address.city": 2}),
    (exclude("address.street"), {"address.street.0": 1, "address.street.x.y": 1}, {}),
    (exclude("address.street"), {"address": {"street": 1, "city": 2}}, {"address": {"city": 2}}),
    (exclude("lines.price"), {"lines.0.price": 1, "lines.1": {"price": 1, "x": 2}}, {"lines.1": {"x": 2}}),
    (exclude("lines.0"), {"lines.0": 1, "lines.1": 2}, {"lines.1": 2}),
    (exclude("lines.*"), {"lines.7": 1, "lines": [1, {"a": 1}]}, {"lines": [None, None]}),
    (exclude('"a.b".c'), {"a.b.c": 1, "a.b": {"c": 1, "d": 2}}, {"a.b": {"d": 2}}),
    (include("a.b"), {"a.b": 1, "a.c": 2, "a.b.d": 3, "c": 1}, {"a.b": 1, "a.b.d": 3}),
    (include("a.b"), {"a": {"b": 1, "c": 2}, "a.0": {"b": 1, "c": 2}}, {"a": {"b": 1}, "a.0": {"b": 1}}),
    (mask("redact", "address"), {"address.street": 1, "address.city": 2, "b": 1}, {"address": "***", "b": 1}),
    (mask("redact", "address"), {"address": {"street": 1}}, {"address": "***"}),
    (
        mask("redact", "a.street"),
        {"a": {"street": 1, "c": 2}, "a.street": 3},
        {"a": {"street": "***", "c": 2}, "a.street": "***"},
    ),
    (mask("null", "a.b"), {"a.b.c.d": 1, "a.b.c.e": 1, "a.0.b.c": 1}, {"a.b": None, "a.0.b": None}),
    (mask("hash", "tags"), {"tags.0": "x", "tags": ["y"]}, {"tags.0": digest(b"x"), "tags": [digest(b"y")]}),
]


@pytest.mark.parametrize(("transform", "updated", "after"), UPDATED)
def test_a_delta_says_no_more_than_the_document(transform, updated, after):
    assert delta(transform, updatedFields=updated)["updatedFields"] == after


@pytest.mark.parametrize(
    ("transform", "removed", "after"),
    [
        (exclude("a.b"), ["a.b", "a.b.c", "a.c", "a"], ["a.c", "a"]),
        (include("a.b"), ["a.b", "a.b.c", "a.c", "a", "x"], ["a.b", "a.b.c", "a"]),
        (mask("redact", "a.b"), ["a.b", "a.b.c", "a.c", "a"], ["a.b", "a.c", "a"]),
        (mask("hash", "a.b"), ["a.b", "a.b.secret"], ["a.b"]),
    ],
)
def test_names_of_removed_fields_are_told_only_outside_of_masked_values(transform, removed, after):
    assert delta(transform, removedFields=removed)["removedFields"] == after


@pytest.mark.parametrize(
    ("transform", "names", "after"),
    [
        (exclude("a.b"), ["a.b", "a.b.c", "a", "x"], ["a", "x"]),
        (include("a.b"), ["a.b", "a.b.c", "a", "x"], ["a.b", "a.b.c", "a"]),
        (mask("redact", "a.b"), ["a.b", "a.b.c", "a"], ["a"]),
        (mask("hash", "a.b"), ["a.b", "a.b.0", "a.b.secret"], ["a.b", "a.b.0"]),
    ],
)
def test_truncated_arrays_are_told_only_outside_of_masked_values(transform, names, after):
    truncated = [{"field": name, "newSize": 3} for name in names]
    told = delta(transform, truncatedArrays=truncated)["truncatedArrays"]
    assert told == [{"field": name, "newSize": 3} for name in after]


def test_disambiguated_paths_decide_what_a_name_means():
    updated = {"a.b.c": 1, "a.0.c": 2}
    for paths, left in (
        ({"a.b.c": ["a.b", "c"], "a.0.c": ["a", 0, "c"]}, {"a.b.c": 1}),
        ({"a.b.c": ["a", "b", "c"], "a.0.c": ["a", "0", "c"]}, {"a.0.c": 2}),
    ):
        described = delta(exclude("a.b.c", "a.c"), updatedFields=updated, disambiguatedPaths=paths)
        assert described["updatedFields"] == left
        assert described["disambiguatedPaths"] == {name: paths[name] for name in left}


def test_without_disambiguated_paths_every_reading_counts():
    updated, transform = {"a.x.y.z": 1, "a.b": 2}, exclude("a.*.z")
    assert delta(transform, updatedFields=updated)["updatedFields"] == {"a.b": 2}, "`x.y` may be the name of a field"
    described = delta(transform, updatedFields=updated, disambiguatedPaths={})
    assert described["updatedFields"] == updated, "no name is ambiguous"


def test_parts_and_fields_that_are_not_known_are_removed():
    event = made(exclude("a"), updateDescription={"updatedFields": {"b": 1}, "newer": {"a": 1}}, newer={"a": 1})
    assert "newer" not in event
    assert event["updateDescription"] == {"updatedFields": {"b": 1}}


@pytest.mark.parametrize(
    "fields",
    [
        {"fullDocument": "text"},
        {"updateDescription": [1]},
        {"updateDescription": {"updatedFields": "x"}},
        {"updateDescription": {"removedFields": [1]}},
        {"updateDescription": {"truncatedArrays": ["a"]}},
        {"updateDescription": {"disambiguatedPaths": {"a": "x"}}},
    ],
)
def test_a_part_of_another_type_than_documented_is_rejected(fields):
    with pytest.raises(RejectedEventsError):
        made(exclude("a"), **fields)


@pytest.mark.parametrize("transform", [exclude("zip"), mask("redact", "zip"), include("name"), exclude("a.b")])
def test_a_path_that_hits_the_document_key_stops_since_resume_tokens_hold_it(transform):
    with pytest.raises(MaskedKeyError):
        made(transform, documentKey={"_id": 1, "zip": "12345", "a.b": 1})


def test_a_shard_key_that_no_path_names_stays():
    key = {"_id": {"zip": 1}, "x.y": {"z": 1}}
    assert made(exclude("zip", "x.y.a"), documentKey=key)["documentKey"] == key


def test_only_the_collections_that_are_named_are_changed():
    transform = mask("redact", "a", collections=["shop.users", "crm.*"])
    for database, collection, masked in (
        *(("shop", "users", True), ("shop", "orders", False), ("crm", "x", True), ("shop", "users2", False)),
    ):
        event = made(transform, database=database, collection=collection, fullDocument={"a": 1})
        assert (event["fullDocument"]["a"] == "***") == masked
    assert made(transform, ns=None, fullDocument={"a": 1})["fullDocument"] == {"a": "***"}, "it may be of any"


@pytest.mark.parametrize(
    ("collection", "streams", "possible"),
    [
        ("shop.users", ["shop.users"], True),
        ("shop.user", ["shop.users"], False),
        ("shop.users", ["shop.*"], True),
        ("shop.us*", ["shop.*rs"], True),
        ("shop.us*", ["shop.o*"], False),
        ("*", ["shop.users"], True),
        ("crm.x", ["shop.*", "*"], True),
        ("crm.x", ["shop.*", "crm.y"], False),
    ],
)
def test_a_collection_that_no_stream_has_is_refused_and_the_nearest_stream_named(collection, streams, possible):
    transform = mask("redact", "a", collections=[collection])
    with nullcontext() if possible else pytest.raises(ConfigurationError, match="no stream of the pipeline has"):
        transform.check_streams(streams)
    with pytest.raises(ConfigurationError, match=r'did you mean "shop\.users"\?'):
        mask("redact", "a", collections=["shop.user"]).check_streams(["crm.x", "shop.users"])


def test_an_event_without_anything_to_change_keeps_its_bytes():
    batch = batch_of([event_document(1), event_document(2, operationType="drop", fullDocument=None)])
    assert exclude("nothing").transform(batch) is batch


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: exclude("_id"), "resume tokens"),
        (lambda: mask("hash", "_id.email"), "resume tokens"),
        (lambda: mask("redact", "*"), "include _id"),
        (SelectTransform, "neither include nor exclude"),
        (lambda: SelectTransform(include=["a"], exclude=["b"]), "both include and exclude"),
        (lambda: MaskTransform(fields={}), "must name a field"),
        (lambda: MaskTransform(fields={"a": "hush"}), '"hush" is not one of redact, null, hash'),
        (lambda: MaskTransform(fields={"a": "hash"}), "key is missing"),
        (lambda: MaskTransform(fields={"a": "hash"}, key=Secret("short"), key_id="1"), "fewer than 16"),
        (lambda: MaskTransform(fields={"a": "hash"}, key=KEY), "key_id is missing"),
        (lambda: MaskTransform(fields={"a": "truncate"}, length=-1), "length"),
    ],
)
def test_options_that_cannot_work_are_refused(make, message):
    with pytest.raises((ConfigurationError, ValueError), match=message):
        make()
