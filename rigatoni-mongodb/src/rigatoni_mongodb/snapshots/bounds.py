"""Bounds of ranges: `_id`s as raw documents `{_id: value}`, and as the text that plans and records hold.

Raw documents keep every type: a decoded Symbol or DBPointer would become another value, which sorts elsewhere.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import bson
from bson import json_util
from bson.decimal128 import Decimal128
from bson.raw_bson import RawBSONDocument
from rigatoni_bson.elements import elements
from rigatoni_core.api.snapshots import Bound

from rigatoni_mongodb.decoding import CODEC

_RAW = "raw:"
"""Marks a bound that JSON cannot express: its raw document in hexadecimal digits follows."""

MAX_KEY = 0x7F
"""The type of MaxKey (BSON specification 1.1)."""


_NUMBERS = {0x01, 0x10, 0x12, 0x13}
_TEXT, _OBJECT_ID, _DATE = 0x02, 0x07, 0x09

_NO_IDS = {0x04: "an array", 0x06: "an undefined value", 0x0B: "a regular expression"}
"""The types that no `_id` has (MongoDB manual, "The _id Field")."""


def id_of(document: bytes) -> bytes:
    """Return the `_id` of a raw document as a raw document `{_id: value}`. Raises ValueError if it has none."""
    for kind, key, value, after in elements(document):
        if key == b"_id":
            return with_id(kind, document[value:after])
    raise ValueError("a document without an _id")


def with_id(kind: int, value: bytes) -> bytes:
    """Return the raw document `{_id: value}` of a value of this type."""
    return _document(_element(kind, b"_id", value))


def is_max_key(bound: bytes) -> bool:
    """Return whether the `_id` is MaxKey."""
    return bound[4] == MAX_KEY


def to_text(bound: bytes) -> Bound:
    """Return the text of a bound: canonical Extended JSON if it is exact, otherwise hexadecimal digits."""
    try:
        text = json_util.dumps(bson.decode(bound, CODEC), json_options=json_util.CANONICAL_JSON_OPTIONS)
        if _parsed(text) == bound:
            return Bound(text)
    except (ValueError, TypeError, OverflowError, bson.errors.BSONError):
        pass
    return Bound(_RAW + bound.hex())


def from_text(text: Bound) -> bytes:
    """Return the bound of a text made by `to_text`. Raises ValueError if it is not one."""
    if text.startswith(_RAW):
        return bytes.fromhex(text.removeprefix(_RAW))
    return _parsed(text)


def parse_id(text: str) -> bytes:
    """Return the bound of an `_id` that a person wrote as Extended JSON, such as `5`, `"a"` or `{"$oid": "…"}`.

    Raises ValueError, which does not quote the text.
    """
    try:
        bound = _parsed(f'{{"_id": {text}}}')
    except Exception as error:
        raise ValueError(f"it is not Extended JSON ({type(error).__name__})") from None
    if refused := _NO_IDS.get(bound[4]):
        raise ValueError(f"no document has {refused} as its _id")
    return bound


def is_empty(lowest: bytes, highest: bytes, *, collated: bool) -> bool:
    """Return whether a range is certainly empty: its bounds have one type, and the lower one is not below the other.

    Only numbers, texts, ObjectIds and dates are compared; the server compares all others.

    Args:
        lowest: The bound from which the range begins.
        highest: The bound before which it ends.
        collated: Whether the collection has a collation, or may have one: then only equal texts are compared.
    """
    first, last = _comparable(lowest), _comparable(highest)
    if first is None or last is None or first[0] != last[0]:
        return False
    return first == last if first[0] == _TEXT and collated else first >= last


def _comparable(bound: bytes) -> tuple[Any, ...] | None:
    """Return a type and values in the order of the server (MongoDB manual, "Comparison/Sort Order")."""
    kind, value = bound[4], bound[9:-1]
    if kind in _NUMBERS:
        number = bson.decode(bound)["_id"]
        number = number.to_decimal() if isinstance(number, Decimal128) else Decimal(number)
        return (0x01, False, 0) if number.is_nan() else (0x01, True, number)  # NaN is the lowest number
    if kind == _DATE:
        return kind, int.from_bytes(value, "little", signed=True)
    if kind in (_TEXT, _OBJECT_ID):
        return kind, value[4:-1] if kind == _TEXT else value
    return None


def document(bound: bytes) -> RawBSONDocument:
    """Return the bound as a document for commands, such as the value of `min`."""
    return RawBSONDocument(bound)


def literal(bound: bytes) -> RawBSONDocument:
    """Return the `_id` as an expression."""
    return RawBSONDocument(_document(_element(bound[4], b"$literal", bound[9:-1])))


def equal(bound: bytes) -> RawBSONDocument:
    """Return the condition that an `_id` equals this one."""
    return RawBSONDocument(_document(_element(bound[4], b"$eq", bound[9:-1])))


def among(bounds: Iterable[bytes]) -> RawBSONDocument:
    """Return the condition that an `_id` is one of these."""
    values = b"".join(_element(bound[4], b"%d" % index, bound[9:-1]) for index, bound in enumerate(bounds))
    return RawBSONDocument(_document(_element(0x04, b"$in", _document(values))))


def _element(kind: int, name: bytes, value: bytes) -> bytes:
    return bytes((kind,)) + name + b"\0" + value


def _document(content: bytes) -> bytes:
    return (len(content) + 5).to_bytes(4, "little") + content + b"\0"


def _parsed(text: str) -> bytes:
    try:
        document: dict[str, Any] = json_util.loads(text, json_options=json_util.CANONICAL_JSON_OPTIONS)
    except (TypeError, KeyError, bson.errors.BSONError) as error:
        raise ValueError(f"not Extended JSON ({type(error).__name__})") from None
    if list(document) != ["_id"]:
        raise ValueError("not an _id")
    return bson.encode(document, codec_options=CODEC)
