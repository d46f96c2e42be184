"""The order in which MongoDB compares values (MongoDB manual, "Comparison/Sort Order"), for servers of tests."""

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import DatetimeMS
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

_TYPES: tuple[tuple[type | tuple[type, ...], int], ...] = (
    (MinKey, 0),
    (type(None), 1),
    (bool, 8),  # before numbers: a bool is an int in Python
    ((int, float, Decimal128), 2),
    (str, 3),
    (Mapping, 4),
    (list, 5),
    ((bytes, Binary), 6),
    (ObjectId, 7),
    ((datetime, DatetimeMS), 9),
    (Timestamp, 10),
    (MaxKey, 12),
)


def order(value: Any) -> tuple[Any, ...]:
    """Return a key that sorts values of any type as the server does. Equal values have equal keys: 1 and 1.0."""
    rank = next(rank for kinds, rank in _TYPES if isinstance(value, kinds))
    match value:
        case Mapping():
            return rank, tuple((*order(each)[:1], name, order(each)) for name, each in value.items())
        case list():
            return rank, tuple(map(order, value))
        case bytes():
            return rank, len(value), getattr(value, "subtype", 0), bytes(value)
        case Timestamp():
            return rank, value.time, value.inc
        case ObjectId():
            return rank, value.binary
    return (rank, *_scalar(value))


def _scalar(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (int, float, Decimal128)) and not isinstance(value, bool):
        number = value.to_decimal() if isinstance(value, Decimal128) else value
        if (isinstance(number, float) and math.isnan(number)) or (isinstance(number, Decimal) and number.is_nan()):
            return (0,)  # NaN is less than all other numbers
        return 1, number
    if isinstance(value, (datetime, DatetimeMS)):
        return (int(value if isinstance(value, DatetimeMS) else DatetimeMS(value)),)
    return () if isinstance(value, (MinKey, MaxKey, type(None))) else (value,)
