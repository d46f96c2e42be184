"""The methods of `mask`: what becomes of a value."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import Final, Literal

from rigatoni_transforms.documents import ARRAY, NULL, STRING, document_of, elements_of
from rigatoni_transforms.errors import MaskError
from rigatoni_transforms.matching import Element, Rule

Method = Literal["redact", "null", "hash", "partial", "truncate", "date_to_year"]

_DOUBLE, _BINARY, _OBJECT_ID, _DATE, _INT32, _INT64 = 0x01, 0x05, 0x07, 0x09, 0x10, 0x12
_LENGTH = Struct("<i").pack
_DOUBLES = Struct("<d").unpack
_DATES = Struct("<q")
_BLOCK = 64
"""Bytes of a block of SHA-256."""
_DAY_MS = 86_400_000
_LARGEST = 2**31 - 1
"""Bytes; no value of BSON is larger, and so no string has more characters."""
_NAMES: Final = {
    0x01: "double",
    0x02: "string",
    0x03: "object",
    0x04: "array",
    0x05: "binData",
    0x06: "undefined",
    0x07: "objectId",
    0x08: "bool",
    0x09: "date",
    0x0B: "regex",
    0x0C: "dbPointer",
    0x0D: "javascript",
    0x0E: "symbol",
    0x0F: "javascriptWithScope",
    0x10: "int",
    0x11: "timestamp",
    0x12: "long",
    0x13: "decimal",
    0x7F: "maxKey",
    0xFF: "minKey",
}
"""The types of BSON as MongoDB's `$type` names them."""


def rule_of(method: Method, *, constant: str, key: str | None, length: int) -> Rule:
    """Return the rule of a method.

    Args:
        method: The name of the method.
        constant: What `redact` writes.
        key: The key of `hash`, which needs one.
        length: The number of characters that `truncate` keeps.
    """
    constants: Mapping[str, Element] = {"redact": (STRING, _text(constant)), "null": (NULL, b"")}
    if method in constants:
        result = constants[method]
        return Rule(lambda kind, value: result, constant=result, spelled=("constant", *result))
    secret = (key or "").encode()
    scalars: Mapping[str, tuple[Callable[[int, bytes], Element], int, bytes]] = {
        "hash": (_Hash(secret), 0, secret),
        "partial": (_partial, 0, b""),
        "truncate": (lambda kind, value: _truncate(kind, value, length), min(length, _LARGEST), b""),
        "date_to_year": (_date_to_year, 0, b""),
    }
    apply, number, content = scalars[method]
    return Rule(_OfElements(apply), whole=False, spelled=(method, number, content))


class _OfElements:
    """Applies a method to a value, or to each element of an array; null stays null."""

    def __init__(self, method: Callable[[int, bytes], Element]) -> None:
        self._method = method

    def __call__(self, kind: int, value: bytes) -> Element:
        if kind == NULL:
            return kind, value
        if kind != ARRAY:
            return self._method(kind, value)
        parts = []
        for inner, name, start, after in elements_of(value, 0):
            new = self(inner, value[start:after])
            parts.append(b"%c%b\0%b" % (new[0], name, new[1]))
        return ARRAY, document_of(parts)


class _Hash:
    """HMAC-SHA-256 (RFC 2104, FIPS 180-4) as 64 hexadecimal digits.

    Of a string, its UTF-8; of a whole number, its decimal digits, of any numeric type; of an ObjectId, its hexadecimal
    digits; of all else, the type and the bytes of BSON. So equal values have equal pseudonyms in all collections, and
    other programs can compute them.
    """

    def __init__(self, key: bytes) -> None:
        # RFC 2104: copies of two begun hashes take a third of the time of `hmac.digest`, which begins both each time.
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __call__(self, kind: int, value: bytes) -> Element:
        if kind == STRING:
            content = value[4:-1]
        elif kind in (_INT32, _INT64):
            content = b"%d" % int.from_bytes(value, "little", signed=True)
        elif kind == _DOUBLE and (number := _DOUBLES(value)[0]).is_integer():
            content = b"%d" % int(number)
        elif kind == _OBJECT_ID:
            content = value.hex().encode()
        elif kind == 0x03:
            raise _unsuited("hash", kind)
        else:
            content = b"%c\0%b" % (kind, value)
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(content)
        outer.update(inner.digest())
        return STRING, b"\x41\0\0\0%b\0" % outer.hexdigest().encode()


def _partial(kind: int, value: bytes) -> Element:
    """Stars, and the last four characters of at least eight."""
    if kind in (_INT32, _INT64):
        text = str(int.from_bytes(value, "little", signed=True))
    elif kind == STRING:
        text = _characters("partial", value)
    else:
        raise _unsuited("partial", kind)
    return STRING, _text("****" + (text[-4:] if len(text) >= 8 else ""))


def _truncate(kind: int, value: bytes, length: int) -> Element:
    if kind != STRING:
        raise _unsuited("truncate", kind)
    return STRING, _text(_characters("truncate", value)[:length])


def _date_to_year(kind: int, value: bytes) -> Element:
    """The first moment of the year, in UTC."""
    if kind != _DATE:
        raise _unsuited("date_to_year", kind)
    return _DATE, _start_of_year(_DATES.unpack(value)[0] // _DAY_MS)


@lru_cache(4096)
def _start_of_year(day: int) -> bytes:
    """The first moment of the year with this day, counted from the epoch, as a value of BSON."""
    # The Gregorian calendar repeats after 400 years, so years beyond those of Python are moved into them.
    cycles, rest = divmod(day, _CYCLE)
    year = (_EPOCH + timedelta(days=rest)).year
    start = (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).days + cycles * _CYCLE
    return _DATES.pack(max(start * _DAY_MS, -(2**63)))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CYCLE = 146_097


def _characters(method: str, value: bytes) -> str:
    try:
        return value[4:-1].decode()
    except UnicodeDecodeError:
        raise MaskError(f'"{method}" cannot be applied to a string that is not UTF-8') from None


def _text(text: str) -> bytes:
    """A string as a value of BSON."""
    raw = text.encode()
    return _LENGTH(len(raw) + 1) + raw + b"\0"


def _unsuited(method: str, kind: int) -> MaskError:
    return MaskError(f'"{method}" cannot be applied to a value of the type {_NAMES.get(kind, hex(kind))}')
