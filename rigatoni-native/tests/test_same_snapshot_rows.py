"""Rows of snapshots that the accelerator makes are what the pure path makes, byte for byte."""

from array import array
from itertools import accumulate

import attrs
import pytest
from bson import ObjectId, decode, encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_bson.testing.reading import bson_document, bson_string
from rigatoni_bson.testing.strategies import DAMAGED, VALUES
from rigatoni_core.api.events import Namespace, Timestamp
from rigatoni_core.api.segments import Segment
from rigatoni_mongodb.snapshots import rows
from rigatoni_mongodb.snapshots.rows import RowShape, rows_of
from rigatoni_native import fallbacks, snapshot_rows
from rigatoni_testing.strategies import damaged

SHAPE = RowShape("shop.orders#3", Namespace("shop", "orders"), Timestamp(1_796_040_037, 27))
PROPERTY = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
POINTER = bson_document([(b"_id", 0x0C, bson_string(b"a") + bytes(12))])
"""A document whose `_id` has a deprecated type."""

IDS = st.builds(lambda value: (b"_id", *value), VALUES)
OTHERS = st.builds(lambda name, value: (name, *value), st.sampled_from([b"a", b"_i", b"_id1", b"_id"]), VALUES)
DOCUMENTS = st.builds(
    lambda before, id_, after: bson_document([*before, id_, *after]),
    st.lists(OTHERS, max_size=1),
    IDS,
    st.lists(OTHERS, max_size=3),
)


def segment(documents):
    """The documents as a segment that does not begin at the start of its buffer."""
    parts = [b"before", *documents]
    return Segment(memoryview(b"".join(parts)), array("Q", accumulate(map(len, parts)) if documents else [6]))


def outcome(documents, shape=SHAPE):
    try:
        made = rows_of(segment(documents), shape)
    except ValueError as error:
        return str(error)
    return made.copies()


def both(documents):
    """The outcome with and without the accelerator."""
    accelerated = outcome(documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_ACCELERATOR", None)
        return accelerated, outcome(documents)


def grown(call):
    """Return the reasons whose counts grow during a call, with the growth."""
    before = fallbacks()
    call()
    return {reason: count - before[reason] for reason, count in fallbacks().items() if count != before[reason]}


@PROPERTY
@given(documents=st.lists(DOCUMENTS, max_size=4))
def test_rows_of_documents_of_any_shape_are_the_same(documents):
    accelerated, pure = both(documents)
    assert accelerated == pure


@PROPERTY
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=3), data=st.data())
def test_rows_of_damaged_documents_are_the_same_or_refused_alike(documents, data):
    broken = [*documents, data.draw(damaged(*documents) | DAMAGED)]
    accelerated, pure = both(broken)
    assert accelerated == pure


@pytest.mark.parametrize("length", [-(2**31), -9, -1, 0, 1, 4, 2**31 - 1])
@pytest.mark.parametrize("value", [b"x", "x", {"x": 1}, [1]], ids=lambda value: type(value).__name__)
def test_a_damaged_length_leads_nowhere(length, value):
    whole = encode({"a": value, "bid": value}).replace(b"bid\0", b"_id\0")  # PyMongo writes `_id` first
    for field in (b"a\0", b"_id\0"):
        start = whole.index(field) + len(field)
        accelerated, pure = both(
            [whole, whole[:start] + length.to_bytes(4, "little", signed=True) + whole[start + 4 :]]
        )
        assert accelerated == pure


@pytest.mark.parametrize("id_", [ObjectId(), 1, "a", {"a": 1, "b": b"x"}, 1.5, None])
def test_rows_of_usual_documents_are_not_left_to_the_pure_path(id_):
    documents = [encode({"_id": id_, "status": "open", "lines": [{"sku": 1}]})] * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_pure_rows_of", lambda *_: pytest.fail("left to the pure path"))
        assert grown(lambda: rows_of(segment(documents), SHAPE)) == {}


def test_documents_with_a_shard_key_are_made_by_the_pure_path():
    shape = attrs.evolve(SHAPE, shard_key=("zip", "_id"))
    (row,) = outcome([encode({"_id": 1, "zip": 2})], shape)
    assert decode(row)["documentKey"] == {"zip": 2, "_id": 1}


@pytest.mark.parametrize(
    ("document", "reason"), [(encode({"a": 1}), "damaged"), (b"\x05\0\0\0\1", "damaged"), (POINTER, "type")]
)
def test_documents_left_to_the_pure_path_are_counted_once(document, reason):
    shared = encode({"operationType": "read"})[4:-1]
    offsets = array("Q", [0, len(document)])
    assert grown(lambda: snapshot_rows(document, offsets, b"", shared)) == {reason: 1}
    assert snapshot_rows(document, offsets, b"", shared) is None


@pytest.mark.parametrize("offsets", [[0, 6], [3, 0], [0, 5, 2**64 - 1]])
def test_offsets_outside_of_the_buffer_lead_nowhere(offsets):
    assert snapshot_rows(b"\x05\0\0\0\0", array("Q", offsets), b"", b"") is None
