"""Hypothesis strategies for change events with values of every BSON type, as PyMongo writes them.

Raw BSON that PyMongo cannot write (texts that are not UTF-8, repeated names) is in `rigatoni_bson.testing`.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson import DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex
from bson.binary import Binary, UuidRepresentation
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.timestamp import Timestamp as BsonTimestamp
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from rigatoni_core.api.batch import EventBatch

from rigatoni_testing.batches import batch_of, event_document

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES: SearchStrategy[str] = st.one_of(st.sampled_from(["_id", "a.b", "$x", "", "é"]), _TEXTS).map(
    lambda name: name.replace("\0", "")
)
"""Field names, including awkward ones."""

SCALARS: SearchStrategy[Any] = st.one_of(
    st.floats(),
    _TEXTS,
    st.binary(max_size=16),
    st.builds(Binary, st.binary(max_size=16), st.sampled_from([0, 1, 5, 128])),
    st.uuids().map(lambda value: Binary.from_uuid(uuid.UUID(str(value)), UuidRepresentation.STANDARD)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.booleans(),
    st.datetimes(timezones=st.just(UTC)),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.none(),
    st.builds(Regex, st.sampled_from(["", "^a.*b$"]), st.sampled_from([0, re.IGNORECASE])),
    st.builds(Code, _TEXTS),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.builds(BsonTimestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.sampled_from(["0", "-0", "1.10", "NaN", "Infinity", "1E-6176"]).map(Decimal128),
    st.sampled_from([MinKey(), MaxKey(), DBRef("c", 1), datetime(1, 1, 1, tzinfo=UTC)]),
)
"""Values of each BSON type except documents and arrays."""

VALUES: SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
DOCUMENTS: SearchStrategy[dict[str, Any]] = st.dictionaries(NAMES, VALUES, max_size=4)


def _event(number: int, document: Mapping[str, Any], key: Any, kind: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"documentKey": {"_id": key}, "fullDocument": {"_id": key, **document}}
    if kind == "update":
        fields["updateDescription"] = {"updatedFields": dict(document), "removedFields": ["gone"]}
    event = {**event_document(number), **fields, "operationType": kind}
    if kind in ("delete", "drop"):
        del event["fullDocument"]
    if kind == "drop":
        del event["documentKey"]
    return event


_EVENTS = st.tuples(DOCUMENTS, SCALARS, st.sampled_from(["insert", "update", "replace", "delete", "drop", "newer"]))


def batches(max_events: int = 5) -> SearchStrategy[EventBatch]:
    """Returns batches of 1 to `max_events` change events, in order, whose documents hold values of all BSON types.

    Their raw documents have the format that tests write their events in when an example is drawn (`batches.using`).
    """
    return st.lists(_EVENTS, min_size=1, max_size=max_events).map(
        lambda events: batch_of([_event(number, *event) for number, event in enumerate(events)])
    )


def damaged(*intact: bytes) -> SearchStrategy[bytes]:
    """Generate inputs in which a few bytes are changed, removed, duplicated or moved.

    Readers of foreign bytes must raise their own error for each, or return the intact contents.

    Args:
        intact: Intact inputs.

    Returns:
        The strategy.
    """

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        content = bytearray(draw(st.sampled_from(intact)))
        for _ in range(draw(st.integers(1, 4))):
            place = draw(st.integers(0, max(len(content) - 1, 0)))
            length = draw(st.integers(1, 8))
            piece = bytes(content[place : place + length])
            new = draw(st.one_of(_PIECES, st.just(piece * 2), st.just(piece.swapcase()), st.binary(max_size=8)))
            if draw(st.booleans()):
                content[place : place + len(new)] = new
            else:
                content[place : place + length] = new
        return bytes(content)

    return change()


_PIECES: SearchStrategy[bytes] = st.sampled_from(
    [
        *(b"", b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x05\0\0\0"),
        *(b"null", b"-1", b"1e999", b"NaN", b"[]", b"{}", b'""', b'"\\ud800"', b"9" * 40, b"true", b"1.5"),
        *(b"'", b'"', b"}", b"]", b"=", b"\n", b"#", b"$", b"../"),
    ]
)
"""Fragments that break readers: lengths of zero and of too much, values of another type, quotes and brackets."""
