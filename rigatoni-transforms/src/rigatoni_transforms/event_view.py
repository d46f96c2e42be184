"""The parts of a raw event under the names that expressions use, as values of their language."""

import uuid
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from struct import Struct
from typing import Any

import attrs
import bson
from bson import json_util
from bson.binary import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from rigatoni_bson.elements import elements

from rigatoni_transforms.errors import ExpressionFailedError, UnreadableEventError

_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_DOCUMENT = 0x03
_PARTS = {
    b"fullDocument": "document",
    b"fullDocumentBeforeChange": "before",
    b"documentKey": "key",
    b"updateDescription": "update",
}
_NAMES = ("database", "collection")
_SIZE = Struct("<i").pack


@attrs.frozen
class EventView:
    """A raw event, of which only the parts that are asked for are decoded."""

    event: bytes

    def values(self, names: Collection[str], fields: Mapping[str, Collection[str]]) -> dict[str, Any]:
        """Return parts of the event by their names in expressions, without those that the event does not have.

        Args:
            names: The parts.
            fields: For parts of which only fields at the top are needed, the names of these fields.

        Raises:
            UnreadableEventError: The bytes are not an event.
            ExpressionFailedError: A text contains the character U+0000, which the language cannot represent.
            ValueError: The bytes of the event cannot be read.
        """
        event, found, wanted = self.event, dict[str, Any](), {"operation", *names}
        for kind, key, value, after in elements(event):
            if key == b"operationType":
                found["operation"] = event[value + 4 : after - 1].decode()
            elif key == b"ns" and kind == _DOCUMENT and not wanted.isdisjoint(_NAMES):
                space = bson.decode(event[value:after])
                found |= {"database": space.get("db", ""), "collection": space.get("coll", "")}
            elif (name := _PARTS.get(key)) in wanted and kind == _DOCUMENT:
                assert name is not None
                top = fields.get(name)
                raw = event[value:after] if top is None else selected(event, value, top)
                found[name] = as_value(bson.decode(raw, _CODEC))
            else:
                continue
            if found.keys() >= wanted:
                break
        if "operation" not in found:
            raise UnreadableEventError("it is no event; unwrap must be the last transform")
        return {name: found.get(name, "") for name in names if name in found or name in _NAMES}


def selected(data: bytes, start: int, names: Collection[str]) -> bytes:
    """Return the document at `start` with only the elements of these names, as they are."""
    wanted = {name.encode() for name in names}
    parts = [
        data[value - len(key) - 2 : after] for _, key, value, after in elements(data, start) if key in wanted
    ]  # an element begins with its type and its name, which ends in a zero
    body = b"".join(parts)
    return _SIZE(len(body) + 5) + body + b"\0"


def as_value(value: Any) -> Any:
    """Return a decoded value as expressions see it.

    Dates are texts as in RFC 3339, ObjectIds 24 hexadecimal digits, decimals the nearest doubles, UUIDs texts, other
    binary data bytes. Types that the language does not have are as in relaxed Extended JSON.
    """
    return _CONVERSIONS.get(type(value), _other)(value)


def _same(value: Any) -> Any:
    return value


def _text(value: str) -> str:
    if "\0" in value:
        raise ExpressionFailedError("a text contains the character U+0000, which expressions cannot represent")
    return str(value)


def _date(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds") + "Z"


def _binary(value: Binary) -> bytes | str:
    return str(uuid.UUID(bytes=bytes(value))) if value.subtype == 4 and len(value) == 16 else bytes(value)


def _mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: as_value(item) for key, item in value.items()}


def _other(value: Any) -> Any:
    """Types that the language lacks: as relaxed Extended JSON."""
    return as_value(dict(json_util.default(value, json_util.RELAXED_JSON_OPTIONS)))


_CONVERSIONS: Mapping[type, Callable[[Any], Any]] = {
    **dict.fromkeys((int, float, bool, bytes, type(None)), _same),
    str: _text,
    Int64: int,
    dict: _mapping,
    list: lambda value: [as_value(item) for item in value],
    datetime: _date,
    ObjectId: str,
    Decimal128: lambda value: float(value.to_decimal()),
    Binary: _binary,
    DBRef: lambda value: _mapping(value.as_doc()),
}
