"""Conversions of values between the types of BSON, named as MongoDB names them. None loses anything."""

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from rigatoni_transforms.errors import LossError
from rigatoni_transforms.fields import document_of
from rigatoni_transforms.matching import Element

_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_NULL = 0x0A
_WHOLE = re.compile(r"[+-]?\d{1,40}", re.ASCII).fullmatch
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII).fullmatch
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


def converted(name: str, kind: int, value: bytes) -> Element:
    """Convert a value.

    Args:
        name: The type to convert to, a key of `CONVERSIONS`.
        kind: The type that it has, a number of the BSON specification.
        value: Its raw bytes.

    Returns:
        The type and the raw bytes of the new value; the given ones if it has the type or is null.

    Raises:
        ValueError: It has no counterpart. The text names types, and no value.
    """
    number, convert = CONVERSIONS[name]
    if kind in (number, _NULL):
        return kind, value
    given = bson.decode(document_of([(kind, b"v", value)]), _CODEC)["v"]
    try:
        made = convert(given)
    except (ArithmeticError, ValueError, TypeError) as error:
        raise ValueError(_reason(error, given)) from None
    return number, bson.encode({"v": made}, codec_options=_CODEC)[7:-1]


def _reason(error: Exception, given: object) -> str:
    if isinstance(error, LossError):
        return str(error)
    kind = _NAMES.get(type(given), type(given).__name__)
    return f"it is {kind}" if isinstance(error, TypeError) else f"it is {kind} of another form"


_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "an int",
    Int64: "a long",
    float: "a double",
    bool: "a bool",
    dict: "a document",
    list: "an array",
    Decimal128: "a decimal",
    DatetimeMS: "a date",
    ObjectId: "an objectId",
}


def _integer(value: Any) -> int:
    match value:
        case int():
            return int(value)
        case float() | Decimal128():
            number = value.to_decimal() if isinstance(value, Decimal128) else value
            if number != number // 1:  # also of infinities and of what is no number
                raise LossError("it is no whole number")
            return int(number)
        case str() if _WHOLE(value):
            return int(value)
        case str():
            raise ValueError
        case DatetimeMS():
            return int(value)
    raise TypeError


def _int(value: Any) -> int:
    number = _integer(value)
    if not -(2**31) <= number < 2**31:
        raise LossError("it is out of range")
    return number


def _long(value: Any) -> Int64:
    number = _integer(value)
    if not -(2**63) <= number < 2**63:
        raise LossError("it is out of range")
    return Int64(number)


def _double(value: Any) -> float:
    match value:
        case int():
            if int(float(value)) != value:
                raise LossError("a double cannot represent it exactly")
            return float(value)
        case Decimal128():
            return float(value.to_decimal())
        case str() if _NUMBER(value):
            return float(value)
        case str():
            raise ValueError
    raise TypeError


def _decimal(value: Any) -> Decimal128:
    match value:
        case int():
            return Decimal128(str(int(value)))
        case float():
            return Decimal128(repr(value))
        case str() if _NUMBER(value):
            return Decimal128(value)
        case str():
            raise ValueError
    raise TypeError


def _string(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | ObjectId() | Decimal128():
            return str(value)
        case float():
            return repr(value)
        case DatetimeMS():
            time = _EPOCH + int(value) * _MILLISECOND
            return time.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
        case Binary() if value.subtype == 4 and len(value) == 16:
            return str(uuid.UUID(bytes=bytes(value)))
    raise TypeError


def _bool(value: Any) -> bool:
    match value:
        case str() if value in ("true", "false"):
            return value == "true"
        case int() | float() if value in (0, 1):
            return bool(value)
        case str() | int() | float():
            raise ValueError
    raise TypeError


def _date(value: Any) -> DatetimeMS:
    match value:
        case bool():
            raise TypeError
        case int():
            return DatetimeMS(int(value))
        case str():
            time = datetime.fromisoformat(value)
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
            return DatetimeMS((time - _EPOCH) // _MILLISECOND)
        case Timestamp():
            return DatetimeMS(value.time * 1000)
        case ObjectId():
            return DatetimeMS(int(value.generation_time.timestamp()) * 1000)
    raise TypeError


def _object_id(value: Any) -> ObjectId:
    if not isinstance(value, str):
        raise TypeError
    if not re.fullmatch("[0-9A-Fa-f]{24}", value):
        raise ValueError
    return ObjectId(value)


CONVERSIONS: Final[Mapping[str, tuple[int, Callable[[Any], Any]]]] = {
    "int": (0x10, _int),
    "long": (0x12, _long),
    "double": (0x01, _double),
    "decimal": (0x13, _decimal),
    "string": (0x02, _string),
    "bool": (0x08, _bool),
    "date": (0x09, _date),
    "objectId": (0x07, _object_id),
}
"""By name: the type's number in the BSON specification, and what makes a value of it from a decoded one."""
