"""Documents that the accelerator leaves to the pure path are counted by reason."""

from array import array
from itertools import accumulate

import pytest
from bson import encode
from bson.binary import Binary
from rigatoni_native import avro_rows, csv_rows, document_findings, documents_of, fallbacks, json_lines

REASONS = {
    "damaged",
    "text",
    "name",
    "type",
    "number",
    "date",
    "depth",
    "event",
    "schema",
    "inference",
    "delta",
    "mask",
}
DAMAGED = b"\x05\0\0\0\1"


def offsets_of(*documents: bytes) -> tuple[bytes, "array[int]"]:
    return b"".join(documents), array("Q", accumulate(map(len, documents), initial=0))


def grown(call):
    """Return the reasons whose counts grow during a call, with the growth."""
    before = fallbacks()
    call()
    return {reason: count - before[reason] for reason, count in fallbacks().items() if count != before[reason]}


def test_all_reasons_are_present_from_the_start():
    assert fallbacks().keys() == REASONS


def test_documents_that_the_accelerator_writes_count_nothing():
    assert grown(lambda: json_lines(*offsets_of(encode({"a": 1}), encode({"b": "x"})), "relaxed")) == {}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (DAMAGED, "damaged"),
        (encode({"$oid": 1}), "name"),
        (encode({"a": Binary(b"x", 2)}), "type"),
    ],
    ids=["damaged", "name", "type"],
)
def test_each_document_left_out_of_json_counts_once_under_its_reason(document, reason):
    counted = grown(lambda: json_lines(*offsets_of(document, encode({}), document), "relaxed"))
    assert counted == {reason: 2}


def test_events_left_out_of_rows_are_counted():
    event = encode({"operationType": 1})
    assert grown(lambda: csv_rows(*offsets_of(event), array("q", [0]), "relaxed", b",", b"", False)) == {"event": 1}
    assert grown(lambda: avro_rows(*offsets_of(event), array("q", [0]), None)) == {"event": 1}


def test_malformed_replies_and_failed_inference_are_counted():
    assert grown(lambda: documents_of(memoryview(DAMAGED))) == {"damaged": 1}
    assert grown(lambda: document_findings(*offsets_of(DAMAGED), 10)) == {"inference": 1}
