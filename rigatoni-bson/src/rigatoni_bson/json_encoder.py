"""Converts raw BSON to JSON, element by element: every type and every field name, in the order of the bytes.

This is the reference: the faster `template_cache` must give the same bytes. BSON is bsonspec.org, version 1.1.
"""

import struct
from collections.abc import Callable

from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.modes import OpaqueDocumentError, Relaxed, opaque, text

_INT32 = struct.Struct("<i").unpack_from

FIXED = {
    0x01: struct.Struct("<d"),
    0x07: struct.Struct("12s"),
    0x08: struct.Struct("B"),
    0x09: struct.Struct("<q"),
    0x10: struct.Struct("<i"),
    0x11: struct.Struct("<Q"),
    0x12: struct.Struct("<q"),
    0x13: struct.Struct("16s"),
}
"""The types of fixed size by their number."""

_INDEX: dict[int, int | None] = {0x03: None, 0x04: 0}
"""Documents and arrays by their number, with the first index of arrays."""

_LONG_NAME = 128
"""Field names of this length and longer are not cached, to limit memory."""

DEEPEST = 250
"""The maximum nesting depth. MongoDB supports 100 levels ("MongoDB Limits and Thresholds"), and servers stop at 200."""


class Walker:
    """Writes raw documents in one mode. Thread-safe, because its only state is the mode."""

    def __init__(self, mode: Relaxed) -> None:
        self._mode = mode
        self._fixed = {kind: (FIXED[kind].unpack_from, FIXED[kind].size, mode.fixed[kind]) for kind in FIXED}
        self._other: dict[int, Callable[[bytes, int, list[bytes], int], int]] = {
            0x02: self._string,
            0x05: self._binary,
            0x0B: self._regex,
            0x0C: self._db_pointer,
            0x0D: self._code,
            0x0E: self._symbol,
            0x0F: self._code_with_scope,
        }

    def line(self, raw: bytes) -> bytes:
        """Return the whole document as JSON, without a newline. Raises `MalformedEventError`."""
        out: list[bytes] = []
        end = self._elements(raw, 0, out, 0, None)
        if end != len(raw):
            raise MalformedEventError(f"the document has {len(raw)} bytes, but declares {end}", 0)
        return b"".join(out)

    def _elements(self, raw: bytes, start: int, out: list[bytes], depth: int, index: int | None) -> int:
        """Write the document or array at `start`, and return the start of the next element. Arrays pass `index`."""
        end = _extent(raw, start, depth)
        fixed, names = self._fixed, self._mode.keeps_array_names
        key, long_key = self._mode.key, self._mode.long_key
        mark, position, whole, array = len(out), start + 4, True, index is not None
        try:
            while position < end:
                value = raw.index(0, position + 1, end) + 1
                if index is not None:
                    if names and raw[position + 1 : value - 1] != b"%d" % index:
                        whole = False
                    out.append(b",")
                    index += 1
                else:
                    try:
                        write_key = key if value - position < _LONG_NAME else long_key
                        out.append(write_key(raw[position + 1 : value - 1]))
                    except OpaqueDocumentError:
                        out.append(b"")
                        whole = False  # the rest is still read, so that damage in it is found
                kind = raw[position]
                if kind in fixed:
                    unpack, size, write = fixed[kind]
                    out.append(write(*unpack(raw, value)))
                    position = value + size
                elif kind in _INDEX:
                    position = self._elements(raw, value, out, depth + 1, _INDEX[kind])
                else:
                    position = self._value(raw, position, value, out, depth)
        except (ValueError, IndexError, struct.error):
            raise MalformedEventError("a value is incomplete or invalid", position) from None
        if position != end:
            raise MalformedEventError("a value extends beyond its document", position)
        if not whole:
            out[mark:] = [opaque(0x04 if array else 0x03, raw[start : end + 1])]
        elif len(out) == mark:
            out.append(b"[]" if array else b"{}")
        else:
            out[mark] = (b"[" if array else b"{") + out[mark][1:]
            out.append(b"]" if array else b"}")
        return end + 1

    def _value(self, raw: bytes, element: int, position: int, out: list[bytes], depth: int) -> int:
        """Write a value of variable size that is not a document, and return the start of the next element."""
        kind = raw[element]
        if kind in self._mode.constants:
            out.append(self._mode.constants[kind])
            return position
        if kind not in self._other:
            raise MalformedEventError(f"unknown BSON type 0x{kind:02x}", element)
        mark = len(out)
        try:
            return self._other[kind](raw, position, out, depth + 1)
        except UnicodeDecodeError:  # text that is not UTF-8: nothing is guessed at, nothing is lost
            after = _end_of_text(kind, raw, position)
            out[mark:] = [opaque(kind, raw[position:after])]
            return after

    def _string(self, raw: bytes, position: int, out: list[bytes], depth: int) -> int:
        end = _string_end(raw, position)
        out.append(text(raw[position + 4 : end - 1]))
        return end

    def _symbol(self, raw: bytes, position: int, out: list[bytes], depth: int) -> int:
        end = _string_end(raw, position)
        out.append(self._mode.symbol(raw[position + 4 : end - 1]))
        return end

    def _code(self, raw: bytes, position: int, out: list[bytes], depth: int) -> int:
        end = _string_end(raw, position)
        out.append(self._mode.code(raw[position + 4 : end - 1]))
        return end

    def _code_with_scope(self, raw: bytes, position: int, out: list[bytes], depth: int) -> int:
        code_end = _string_end(raw, position + 4)
        scope: list[bytes] = []
        end = self._elements(raw, code_end, scope, depth, None)
        if end - position != _INT32(raw, position)[0]:
            raise MalformedEventError("code with scope does not have its declared size", position)
        out.append(self._mode.code_with_scope(raw[position + 8 : code_end - 1], b"".join(scope)))
        return end

    def _db_pointer(self, raw: bytes, position: int, out: list[bytes], depth: int) -> int:
        end = _string_end(raw, position)
        raw[end + 11]  # IndexError where the identifier is cut off
        out.append(self._mode.db_pointer(raw[position + 4 : end - 1], raw[end : end + 12]))
        return end + 12

    def _regex(self, raw: bytes, position: int, out: list[bytes], depth: int) -> int:
        middle = raw.index(0, position)
        end = raw.index(0, middle + 1)
        out.append(self._mode.regex(raw[position:middle], raw[middle + 1 : end]))
        return end + 1

    def _binary(self, raw: bytes, position: int, out: list[bytes], depth: int) -> int:
        size = _INT32(raw, position)[0]
        end: int = position + 5 + size
        if size < 0 or end > len(raw):
            raise MalformedEventError(f"binary data declare an impossible size of {size} bytes", position)
        out.append(self._mode.binary(raw[position + 4], raw[position + 5 : end]))
        return end


def _extent(raw: bytes, start: int, depth: int) -> int:
    """Return the index of the closing zero of the document at `start`."""
    if depth > DEEPEST:
        raise MalformedEventError(f"the document has more than {DEEPEST} levels", start)
    if len(raw) < start + 5:
        raise MalformedEventError("a document is incomplete", start)
    size: int = _INT32(raw, start)[0]
    end = start + size - 1
    if size < 5 or end >= len(raw):
        raise MalformedEventError(f"a document declares an impossible size of {size} bytes", start)
    if raw[end]:
        raise MalformedEventError("a document does not end with a zero", end)
    return end


def _string_end(raw: bytes, position: int) -> int:
    """Return the end of the string whose length field is at `position`, after its closing zero."""
    size: int = _INT32(raw, position)[0]
    end = position + 4 + size
    if size < 1 or end > len(raw) or raw[end - 1]:
        raise MalformedEventError(f"a string declares an impossible size of {size} bytes", position)
    return end


def _end_of_text(kind: int, raw: bytes, position: int) -> int:
    """Return the end of a value whose text is not UTF-8."""
    if kind == 0x0B:
        return raw.index(0, raw.index(0, position) + 1) + 1
    if kind == 0x0F:
        return position + int(_INT32(raw, position)[0])
    return _string_end(raw, position) + (12 if kind == 0x0C else 0)
