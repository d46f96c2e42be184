"""The types of nested columns: what each holds, and how a column of values is split into what fits and the rest.

Type names are MongoDB's own (manual, "$type": the string aliases), and `uuid` and `decimal(p, s)`.
"""

import decimal
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, chain
from typing import Any
from uuid import UUID

import attrs
import pyarrow as pa
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "MISSING"})()
"""Stands in a column where a document has no such field; None is BSON's null."""

Rest = dict[int, Any]
"""What a column does not hold, by row: the value itself where the column says null, else only the parts left out."""

FURTHEST_DATE = 9_223_372_036_854_775
"""Milliseconds before or after 1970: readers that count microseconds in 64 bits know no date beyond."""

_ABSENT = frozenset({type(None), type(MISSING)})
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")


class Type(ABC):
    """A column's type."""

    arrow: pa.DataType

    @abstractmethod
    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
        """Decoded BSON values as a column, null where a value does not fit, and the rest."""

    @abstractmethod
    def spelled(self) -> Any:
        """The type as a schema file spells it."""


@attrs.frozen
class Scalar(Type):
    """A type without parts. `whole` are the Python classes all of whose values fit and are taken as they are;
    any other value is given to `fit`, which answers None where it does not fit."""

    name: str
    arrow: pa.DataType
    whole: frozenset[type]
    fit: Callable[[Any], Any] = attrs.field(eq=False)

    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
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
        return self.name


@attrs.frozen
class Array(Type):
    """An array of one type. The rest of an array is a document: index -> the rest of that element."""

    item: Type

    @property
    def arrow(self) -> pa.DataType:
        return pa.list_(pa.field("element", self.item.arrow))

    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
        fits = [type(value) is list for value in values]
        lengths = [len(value) if fit else 0 for value, fit in zip(values, fits, strict=True)]
        ends = list(accumulate(lengths, initial=0))
        flat = list(chain.from_iterable(value for value, fit in zip(values, fits, strict=True) if fit))
        items, item_rest = self.item.column(flat)
        offsets = pa.array(ends, pa.int32())
        mask = None if all(fits) else pa.array([not fit for fit in fits])
        rest: Rest = {row: value for row, value in enumerate(values) if not fits[row] and value is not MISSING}
        row = 0
        for index in sorted(item_rest):
            value = item_rest[index]
            if value is None:  # a null element is a null element
                continue
            while index >= ends[row + 1]:
                row += 1
            rest.setdefault(row, {})[str(index - ends[row])] = value
        return pa.ListArray.from_arrays(offsets, items, type=self.arrow, mask=mask), rest

    def spelled(self) -> list[Any]:
        return [self.item.spelled()]


@attrs.frozen
class Struct(Type):
    """A document of these fields (at least one). The rest of a document is one: field -> the rest of its value."""

    fields: Mapping[str, Type]

    @property
    def arrow(self) -> pa.DataType:
        return pa.struct([pa.field(name, kind.arrow) for name, kind in self.fields.items()])

    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
        documents = [value.as_doc() if type(value) is DBRef else value for value in values]
        fits = [isinstance(document, dict) for document in documents]
        rest: Rest = {row: value for row, value in enumerate(values) if not fits[row] and value is not MISSING}
        mask = None
        if not all(fits):
            mask = pa.array([not fit for fit in fits])
            documents = [document if fit else {} for document, fit in zip(documents, fits, strict=True)]
        columns = []
        for name, kind in self.fields.items():
            column, field_rest = kind.column([document.get(name, MISSING) for document in documents])
            columns.append(column)
            for row, value in field_rest.items():
                rest.setdefault(row, {})[name] = value
        knows = frozenset(self.fields).issuperset
        for row, document in enumerate(documents):
            if not knows(document):
                others = {name: value for name, value in document.items() if name not in self.fields}
                rest.setdefault(row, {}).update(others)
        fields = list(self.arrow)
        return pa.StructArray.from_arrays(columns, fields=fields, mask=mask), rest

    def spelled(self) -> dict[str, Any]:
        return {name: kind.spelled() for name, kind in self.fields.items()}


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
            number = value.to_decimal()
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
        Scalar("string", pa.string(), frozenset({str}), _only(str)),
        Scalar("int", pa.int32(), frozenset(), _integer(32)),
        Scalar("long", pa.int64(), frozenset({int, Int64}), _integer(64)),
        Scalar("double", pa.float64(), frozenset({float}), _double),
        Scalar("bool", pa.bool_(), frozenset({bool}), _only(bool)),
        Scalar("date", pa.timestamp("ms", "UTC"), frozenset({datetime}), _date),
        Scalar("objectId", pa.string(), frozenset(), _only(ObjectId, lambda value: value.binary.hex())),
        Scalar("decimal", pa.string(), frozenset(), _only(Decimal128, str)),
        Scalar("uuid", pa.string(), frozenset(), _uuid),
        Scalar("binData", pa.binary(), frozenset({bytes}), _only(bytes)),
    )
}
"""The types without parts, by name."""


def scalar(name: str) -> Scalar:
    """The type of this name. Raises ValueError that lists those that there are."""
    if match := _DECIMAL.fullmatch(name):
        precision, scale = int(match[1]), int(match[2])
        if not (1 <= precision <= 38 and scale <= precision):
            raise ValueError(f"{name!r}: a decimal has 1 to 38 digits, and no more of them behind the point")
        kind = pa.decimal128(precision, scale)
        return Scalar(f"decimal({precision}, {scale})", kind, frozenset(), _exactly(precision, scale))
    if name not in SCALARS:
        raise ValueError(f"{name!r} is no type; there are {', '.join(SCALARS)} and decimal(precision, scale)")
    return SCALARS[name]
