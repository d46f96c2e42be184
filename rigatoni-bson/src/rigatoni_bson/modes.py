"""The JSON notation of each BSON type: the two modes of the Extended JSON v2 specification, and plain JSON.

A mode writes single values; `json_encoder` writes documents. The specification is github.com/mongodb/specifications,
"extended-json". A value that it cannot represent is written as an *opaque value*,
`{"$bson": {"type": "02", "base64": "..."}}`: the BSON type (two hexadecimal digits) and the bytes of the value.
"""

import re
import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isnan
from typing import Any
from uuid import UUID

import orjson
from bson.decimal128 import Decimal128

from rigatoni_bson.dates import iso
from rigatoni_bson.decimals import text_of

Fixed = Callable[[Any], bytes]

_RESERVED = frozenset(
    b"$bson $oid $symbol $numberInt $numberLong $numberDouble $numberDecimal $binary $uuid $code $scope $timestamp "
    b"$regularExpression $regex $dbPointer $date $minKey $maxKey $undefined".split()
)
_RESERVED_ELEMENT = re.compile(rb"[\x01-\x13\x7f\xff](?:%b)\0" % b"|".join(map(re.escape, sorted(_RESERVED)))).search
_NAN = struct.pack("<d", float("nan"))
_YEAR_10000 = 253_402_300_800_000


class OpaqueDocumentError(Exception):
    """A field name that JSON cannot represent without loss. Its document becomes an opaque value."""


def opaque(kind: int, value: bytes) -> bytes:
    """Return a value as its BSON type and bytes."""
    return b'{"$bson":{"type":"%02x","base64":"%b"}}' % (kind, b64encode(value))


def text(value: bytes) -> bytes:
    """Return UTF-8 as a JSON string. Raises UnicodeDecodeError."""
    return orjson.dumps(value.decode())


def _double(value: float) -> bytes:
    number = orjson.dumps(value)
    if number != b"null":
        return number
    return b'"NaN"' if isnan(value) else b'"Infinity"' if value > 0 else b'"-Infinity"'


def _numbers(values: Sequence[float]) -> list[bytes]:
    """Return the output of `_double` or `%d` for many values at once."""
    numbers = orjson.dumps(values)
    return numbers[1:-1].split(b",") if b"null" not in numbers else []


class Relaxed:
    """Extended JSON v2, relaxed: JSON numbers and ISO dates if they are exact enough, otherwise type wrappers."""

    name = "relaxed"
    keeps_array_names = False

    def __init__(self) -> None:
        self.key = lru_cache(maxsize=8192)(self.long_key)
        self.fixed: dict[int, Fixed] = {
            0x01: self.double,
            0x07: self.object_id,
            0x08: (b"false", b"true").__getitem__,  # IndexError for what is no boolean
            0x09: self.date,
            0x10: self.int32,
            0x11: self.timestamp,
            0x12: self.int64,
            0x13: self.decimal,
        }
        """The writers of unpacked values of fixed size, by the number of their type."""
        self.columns: dict[int, Callable[[Sequence[Any]], list[bytes]]] = {
            0x01: _numbers,
            0x10: _numbers,
            0x12: _numbers,
        }
        """The same for many values at once, if that is faster. An empty result means: one by one."""
        self.constants = {
            0x06: b'{"$undefined":true}',
            0x0A: b"null",
            0x7F: b'{"$maxKey":1}',
            0xFF: b'{"$minKey":1}',
        }

    def reserved(self, raw: bytes) -> bool:
        """Return whether this document may contain a UTF-8 field name that `key` rejects."""
        return _RESERVED_ELEMENT(raw) is not None

    def long_key(self, name: bytes) -> bytes:
        """Return a field name as a key: `,"name":`. Use `key` for short ones, which caches them."""
        if name in _RESERVED:  # a document that says {"$oid": ...} must not come back as an ObjectId
            raise OpaqueDocumentError
        try:
            return b",%b:" % text(name)
        except UnicodeDecodeError:
            raise OpaqueDocumentError from None

    def double(self, value: float) -> bytes:
        """Return a double as a JSON number, wrapped if it is not finite."""
        number = _double(value)
        return number if number[0] != 0x22 else b'{"$numberDouble":%b}' % number

    def int32(self, value: int) -> bytes:
        """Return an int32 as a JSON number."""
        return b"%d" % value

    def int64(self, value: int) -> bytes:
        """Return an int64 as a JSON number."""
        return b"%d" % value

    def decimal(self, value: bytes) -> bytes:
        """Return a decimal128 as `$numberDecimal`."""
        return b'{"$numberDecimal":"%b"}' % text_of(Decimal128.from_bid(value)).encode()

    def object_id(self, value: bytes) -> bytes:
        """Return an ObjectId as `$oid`."""
        return b'{"$oid":"%b"}' % value.hex().encode()

    def date(self, value: int) -> bytes:
        """Return milliseconds since the epoch as `$date`: ISO 8601 between 1970 and 9999, a number outside."""
        if 0 <= value < _YEAR_10000:
            return b'{"$date":"%b"}' % iso(value)
        return b'{"$date":{"$numberLong":"%d"}}' % value

    def timestamp(self, value: int) -> bytes:
        """Return a timestamp as `$timestamp`: seconds and increment."""
        return b'{"$timestamp":{"t":%d,"i":%d}}' % (value >> 32, value & 0xFFFFFFFF)

    def binary(self, subtype: int, value: bytes) -> bytes:
        """Return binary data as `data` writes it, without the length that the old subtype 2 repeats."""
        if subtype == 2:  # the old form repeats the length inside
            if int.from_bytes(value[:4], "little") != len(value) - 4:
                return opaque(0x05, struct.pack("<iB", len(value), subtype) + value)
            value = value[4:]
        return self.data(subtype, value)

    def data(self, subtype: int, value: bytes) -> bytes:
        """Return the bytes of a subtype as `$binary`."""
        return b'{"$binary":{"base64":"%b","subType":"%02x"}}' % (b64encode(value), subtype)

    def regex(self, pattern: bytes, options: bytes) -> bytes:
        """Return a regular expression as `$regularExpression`."""
        return b'{"$regularExpression":{"pattern":%b,"options":%b}}' % (text(pattern), text(options))

    def symbol(self, value: bytes) -> bytes:
        """Return a symbol as `$symbol`."""
        return b'{"$symbol":%b}' % text(value)

    def code(self, value: bytes) -> bytes:
        """Return code as `$code`."""
        return b'{"$code":%b}' % text(value)

    def code_with_scope(self, value: bytes, scope: bytes) -> bytes:
        """Return code as `$code` with `$scope`, whose JSON is given."""
        return b'{"$code":%b,"$scope":%b}' % (text(value), scope)

    def db_pointer(self, namespace: bytes, object_id: bytes) -> bytes:
        """Return a DBPointer as `$dbPointer`."""
        return b'{"$dbPointer":{"$ref":%b,"$id":{"$oid":"%b"}}}' % (text(namespace), object_id.hex().encode())


class Canonical(Relaxed):
    """Extended JSON v2, canonical: every value comes back as the same bytes."""

    name = "canonical"
    keeps_array_names = True

    def __init__(self) -> None:
        super().__init__()
        self.columns = {}

    def double(self, value: float) -> bytes:
        """Return a double as `$numberDouble`, every bit of it."""
        number = _double(value)
        if number == b'"NaN"' and (bits := struct.pack("<d", value)) != _NAN:
            return opaque(0x01, bits)
        return b'{"$numberDouble":"%b"}' % (number.strip(b'"') if number[0] == 0x22 else repr(value).encode())

    def int32(self, value: int) -> bytes:
        """Return an int32 as `$numberInt`."""
        return b'{"$numberInt":"%d"}' % value

    def int64(self, value: int) -> bytes:
        """Return an int64 as `$numberLong`."""
        return b'{"$numberLong":"%d"}' % value

    def decimal(self, value: bytes) -> bytes:
        """Return a decimal128 as `$numberDecimal`, or as `$bson` if text would lose bits."""
        number = text_of(Decimal128.from_bid(value))
        if Decimal128(number).bid != value:  # signalling or signed NaN, encodings that are not canonical
            return opaque(0x13, value)
        return b'{"$numberDecimal":"%b"}' % number.encode()

    def date(self, value: int) -> bytes:
        """Return milliseconds since the epoch as `$date` with `$numberLong`."""
        return b'{"$date":{"$numberLong":"%d"}}' % value


class Plain(Relaxed):
    """The closest plain JSON, for readers without knowledge of MongoDB. Some types cannot be distinguished."""

    name = "plain"

    def __init__(self) -> None:
        super().__init__()
        self.constants = {0x06: b"null", 0x0A: b"null", 0x7F: b'"MaxKey"', 0xFF: b'"MinKey"'}

    def reserved(self, raw: bytes) -> bool:
        """Return False: plain JSON has no wrappers that a name could imitate."""
        return False

    def long_key(self, name: bytes) -> bytes:
        """See `Relaxed`; here every name in UTF-8 is allowed."""
        try:
            return b",%b:" % text(name)
        except UnicodeDecodeError:
            raise OpaqueDocumentError from None

    def double(self, value: float) -> bytes:
        """Return a double as a JSON number, or as a string if it is not finite."""
        return _double(value)

    def decimal(self, value: bytes) -> bytes:
        """Return a decimal128 as a string."""
        return b'"%b"' % text_of(Decimal128.from_bid(value)).encode()

    def object_id(self, value: bytes) -> bytes:
        """Return an ObjectId as its hexadecimal digits."""
        return b'"%b"' % value.hex().encode()

    def date(self, value: int) -> bytes:
        """Return milliseconds since the epoch as ISO 8601."""
        return b'"%b"' % iso(value)

    def timestamp(self, value: int) -> bytes:
        """Return a timestamp as an object of seconds `t` and increment `i`."""
        return b'{"t":%d,"i":%d}' % (value >> 32, value & 0xFFFFFFFF)

    def data(self, subtype: int, value: bytes) -> bytes:
        """Return a UUID as its usual text, other data as Base64."""
        if subtype == 4 and len(value) == 16:
            return b'"%b"' % str(UUID(bytes=value)).encode()
        return b'"%b"' % b64encode(value)

    def regex(self, pattern: bytes, options: bytes) -> bytes:
        """Return a regular expression as `/pattern/options`."""
        return orjson.dumps(f"/{pattern.decode()}/{options.decode()}")

    def symbol(self, value: bytes) -> bytes:
        """Return a symbol as a string."""
        return text(value)

    def code(self, value: bytes) -> bytes:
        """Return code as a string."""
        return text(value)

    def code_with_scope(self, value: bytes, scope: bytes) -> bytes:
        """Return code and scope as an object."""
        return b'{"code":%b,"scope":%b}' % (text(value), scope)

    def db_pointer(self, namespace: bytes, object_id: bytes) -> bytes:
        """Return a DBPointer as an object of namespace and id."""
        return b'{"ref":%b,"id":"%b"}' % (text(namespace), object_id.hex().encode())


MODES: dict[str, Callable[[], Relaxed]] = {mode.name: mode for mode in (Relaxed, Canonical, Plain)}
"""The modes by the name that the option `mode` uses."""
