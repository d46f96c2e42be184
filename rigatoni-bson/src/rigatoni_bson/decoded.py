"""Converts raw BSON to JSON with PyMongo's decoder and orjson, if this provably loses nothing.

The proof: encoding the decoded document again gives the same bytes. So the decoder has neither omitted nor changed
anything (Symbol, undefined, DBPointer, repeated field names, text that is not UTF-8, unusual array indexes, ...), and
each Python value represents exactly one BSON value. Values that orjson would write differently are left to
`json_encoder`.
"""

import re
from collections.abc import Callable
from typing import Any

import orjson
from bson import decode, encode
from bson.binary import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from rigatoni_bson.modes import Relaxed

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_ORJSON = orjson.OPT_PASSTHROUGH_SUBCLASS  # Code is a str, Int64 an int: `_default` sees them
_NOT_FINITE = re.compile(rb"\x01[^\0]*\0.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL).search
"""Finds every double that is infinite or NaN, which orjson would write as null (and, rarely, something else)."""


def decoded(raw: bytes, options: CodecOptions[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the document as Python values, or None if these would lose data, or if it is damaged."""
    try:
        document = decode(raw, options)
        whole = encode({"": document}, codec_options=options)[6:-1]  # outermost, `_id` would be moved
    except (BSONError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return document if whole == raw else None


class Decoded:
    """Writes documents in the mode `relaxed` or `plain`. Holds no state but the mode: thread-safe."""

    def __init__(self, mode: Relaxed) -> None:
        self._mode = mode
        self._writers: dict[type[Any], Callable[[Any], bytes]] = {
            ObjectId: lambda value: mode.object_id(value.binary),
            DatetimeMS: lambda value: mode.date(int(value)),
            Int64: mode.int64,
            Timestamp: lambda value: mode.timestamp(value.time << 32 | value.inc),
            Decimal128: lambda value: mode.decimal(value.bid),
            bytes: lambda value: mode.data(0, value),
            Binary: lambda value: mode.data(value.subtype, value),
        }

    def line(self, raw: bytes) -> bytes | None:
        """Return the document as JSON, or None if it is left to `Walker`."""
        if b"$" in raw and self._mode.reserved(raw):
            return None
        if (document := decoded(raw, _OPTIONS)) is None:
            return None  # the walker finds out what is wrong, or that nothing is
        try:
            line = orjson.dumps(document, default=self._default, option=_ORJSON)
        except (ValueError, TypeError, OverflowError, RecursionError):
            return None
        return None if b"null" in line and _NOT_FINITE(raw) else line

    def _default(self, value: object) -> orjson.Fragment:
        if (write := self._writers.get(value.__class__)) is None:
            raise TypeError
        return orjson.Fragment(write(value))
