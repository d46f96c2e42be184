"""The scalar types, and the values that fit each.

Their names are MongoDB's own (manual, "$type": the string aliases), and `uuid` and `decimal(p, s)`.
"""

import decimal
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
import pyarrow as pa
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from rigatoni_bson.decimals import number_of, text_of

from rigatoni_arrow.types import MISSING, Rest, Type

FURTHEST_DATE = 9_223_372_036_854_775
"""The largest distance from 1970 in milliseconds that 64-bit microseconds can represent."""

_ABSENT = frozenset({type(None), type(MISSING)})
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")


@attrs.frozen
class Scalar(Type):
    """A scalar type. `fit` converts a BSON value to a column's value, or returns None if it does not fit.

    `whole` contains the Python classes whose values all fit without conversion.
    """

    name: str
    arrow: pa.DataType
    fit: Callable[[Any], Any] = attrs.field(eq=False)
    whole: frozenset[type] = frozenset()

    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
        """See `Type`."""
        kinds = set(map(type, values)) - self.whole
        if not kinds:
            return pa.array(values, self.arrow), {}
        if kinds <= _ABSENT:
            fitting = [None if value is MISSING else value for value in values]
        else:
            fitting = [None if value is None or value is MISSING else self.fit(value) for value in values]
        rest = {row: value for row, value in enumerate(values) if fitting[row] is None and value is not MISSING}
        return pa.array(fitting, self.arrow), rest

    def spelled(self) -> str:
        """Return the name of the type."""
        return self.name


def _integer(bits: int) -> Callable[[Any], int | None]:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def fit(value: Any) -> int | None:
        if type(value) is float:
            if not value.is_integer() or (value == 0 and math.copysign(1, value) < 0):
                return None
            value = int(value)
        elif type(value) is not int and type(value) is not Int64:
            return None
        return value if least <= value <= most else None

    return fit


def _double(value: Any) -> float | None:
    if type(value) is float:
        return value
    if type(value) is int or type(value) is Int64:
        number = float(value)
        return number if int(number) == value else None
    return None


def _exactly(precision: int, scale: int) -> Callable[[Any], decimal.Decimal | None]:
    unit = decimal.Decimal(1).scaleb(-scale)
    context = decimal.Context(prec=precision, traps=[decimal.Inexact, decimal.InvalidOperation])

    def fit(value: Any) -> decimal.Decimal | None:
        if type(value) is Decimal128:
            number = number_of(value)
        elif type(value) is int or type(value) is Int64:
            number = decimal.Decimal(value)
        else:
            return None
        if not number.is_finite() or (number.is_zero() and number.is_signed()):
            return None
        try:
            return number.quantize(unit, context=context)
        except (decimal.Inexact, decimal.InvalidOperation):
            return None

    return fit


def _date(value: Any) -> int | None:
    if not isinstance(value, datetime | DatetimeMS):
        return None
    milliseconds = int(DatetimeMS(value) if isinstance(value, datetime) else value)
    return milliseconds if abs(milliseconds) <= FURTHEST_DATE else None


def _uuid(value: Any) -> str | None:
    fits = type(value) is Binary and value.subtype == 4 and len(value) == 16
    return str(UUID(bytes=bytes(value))) if fits else None


def _only(cls: type, convert: Callable[[Any], Any] = lambda value: value) -> Callable[[Any], Any]:
    return lambda value: convert(value) if type(value) is cls else None


SCALARS = {
    scalar.name: scalar
    for scalar in (
        Scalar("string", pa.string(), _only(str), frozenset({str})),
        Scalar("int", pa.int32(), _integer(32)),
        Scalar("long", pa.int64(), _integer(64), frozenset({int, Int64})),
        Scalar("double", pa.float64(), _double, frozenset({float})),
        Scalar("bool", pa.bool_(), _only(bool), frozenset({bool})),
        Scalar("date", pa.timestamp("ms", "UTC"), _date, frozenset({datetime})),
        Scalar("objectId", pa.string(), _only(ObjectId, lambda value: value.binary.hex())),
        Scalar("decimal", pa.string(), _only(Decimal128, text_of)),
        Scalar("uuid", pa.string(), _uuid),
        Scalar("binData", pa.binary(), _only(bytes), frozenset({bytes})),
    )
}
"""The scalar types by name."""


def scalar(name: str) -> Scalar:
    """Return the type of this name. Raises ValueError with a list of all names."""
    if match := _DECIMAL.fullmatch(name):
        precision, scale = int(match[1]), int(match[2])
        if not (1 <= precision <= 38 and scale <= precision):
            raise ValueError(f"{name!r}: a decimal has 1 to 38 digits, and no more of them behind the point")
        kind = pa.decimal128(precision, scale)
        return Scalar(f"decimal({precision}, {scale})", kind, _exactly(precision, scale))
    if name not in SCALARS:
        raise ValueError(f"{name!r} is no type; there are {', '.join(SCALARS)} and decimal(precision, scale)")
    return SCALARS[name]
