"""Converts many documents of one shape to JSON at once: the same field names and types in the same order.

A shape is learned from one document. It is a regular expression over the raw bytes: type bytes, field names and closing
zeros are literals, values are wildcards of their size, and a string extends to the next zero. A document has the shape
if the expression matches all of it *and* each nested string and document has its declared size. This is equivalent to
reading it element by element. All other documents (another type, a zero inside a string, an invalid boolean) do not
have the shape. Each field of the documents is then a column, and columns are converted at C speed.
"""

import re
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs

from rigatoni_bson.modes import OpaqueDocumentError, Relaxed, text

Row = tuple[bytes, ...]
"""The matches of a shape's expression in a document: alternately bytes of fixed size and strings."""

_FIXED = {
    0x01: (b".{8}", "d"),
    0x07: (b".{12}", "12s"),
    0x08: (b"[\\x00\\x01]", "B"),
    0x09: (b".{8}", "q"),
    0x10: (b".{4}", "i"),
    0x11: (b".{8}", "Q"),
    0x12: (b".{8}", "q"),
    0x13: (b".{16}", "16s"),
}
_ESCAPED = bytes(range(32)) + b'"\\'
"""The characters that are escaped in JSON."""
_LARGEST = 65_536
"""The largest document in bytes from which a shape is learned."""
_LONGEST = 8_192
"""The longest expression in bytes. Longer ones are not worth their memory, which Python's `re` caches."""
_DEEPEST = 100
"""The deepest nesting of a document from which a shape is learned."""
_LARGEST_BINARY = 64
"""The longest binary value in bytes. Its length is part of the shape, and only short ones have a constant length."""


class NoShapeError(Exception):
    """The document contains something that shapes do not support."""


@attrs.frozen
class _Value:
    """A value in the text: its column, and its writer (None: a string, whose length is in the column)."""

    column: int
    kind: int
    write: Callable[[Any], bytes] | None


@attrs.frozen
class _Extent:
    """The size of a document with strings: the value in `column` must be `base` plus the lengths of these strings."""

    column: int
    base: int
    strings: slice


class _Learner:
    """Reads one document, and records its pattern, the layout of its fixed bytes, and the text between its values."""

    def __init__(self, mode: Relaxed) -> None:
        self._mode = mode
        self.pattern = [b"("]
        self.layout = ["<"]
        self.texts = [b""]
        self.values: list[_Value] = []
        self.extents: list[_Extent] = []
        self._columns = 0
        self._depth = 0
        self._lengths: list[int] = []

    def document(self, raw: bytes, start: int, *, array: bool) -> int:
        """Learn the document or array at `start`, and return its end."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NoShapeError
        size = int.from_bytes(raw[start : start + 4], "little")
        end, position, index = start + size - 1, start + 4, 0
        place, column, first = len(self.pattern), self._wildcard(b".{4}", "i"), len(self._lengths)
        self.texts[-1] += b"[" if array else b"{"
        while position < end:
            value = raw.index(0, position + 1) + 1
            kind, name = raw[position], raw[position + 1 : value - 1]
            if array and name != b"%d" % index:
                raise NoShapeError
            separated = b"," if array else self._mode.long_key(name)  # begins with the comma
            self.texts[-1] += separated[not index :]
            self._literal(raw[position:value])
            position = self._value(raw, kind, value)
            index += 1
        self._literal(b"\0")
        self.texts[-1] += b"]" if array else b"}"
        if first == len(self._lengths):
            self.pattern[place] = re.escape(raw[start : start + 4])
        else:
            strings = slice(first, len(self._lengths))
            self.extents.append(_Extent(column, size - sum(self._lengths[strings]), strings))
        self._depth -= 1
        return end + 1

    def _value(self, raw: bytes, kind: int, start: int) -> int:
        if kind in (0x03, 0x04):
            return self.document(raw, start, array=kind == 0x04)
        if kind in self._mode.constants:
            self.texts[-1] += self._mode.constants[kind]
            return start
        size = int.from_bytes(raw[start : start + 4], "little")
        if kind == 0x02:
            self.texts[-1] += b'"'
            self._hole(kind, self._wildcard(b".{4}", "i"), None)
            self.texts[-1] += b'"'
            self.pattern.append(b")([^\\0]*+)(")
            self._literal(b"\0")
            self._lengths.append(size)
            return start + 4 + size
        if kind == 0x05 and size <= _LARGEST_BINARY:
            self._literal(raw[start : start + 5])
            write = partial(self._mode.binary, raw[start + 4])
            self._hole(kind, self._wildcard(b".{%d}" % size, f"{size}s"), write)
            return start + 5 + size
        if kind not in _FIXED:
            raise NoShapeError
        pattern, layout = _FIXED[kind]
        self._hole(kind, self._wildcard(pattern, layout), self._mode.fixed[kind])
        return start + struct.calcsize(f"<{layout}")

    def _literal(self, raw: bytes) -> None:
        self.pattern.append(re.escape(raw))
        self.layout.append(f"{len(raw)}x")

    def _wildcard(self, pattern: bytes, layout: str) -> int:
        self.pattern.append(pattern)
        self.layout.append(layout)
        self._columns += 1
        return self._columns - 1

    def _hole(self, kind: int, column: int, write: Callable[[Any], bytes] | None) -> None:
        self.values.append(_Value(column, kind, write))
        self.texts.append(b"")


class Shape:
    """The shape of a document in one mode. Thread-safe, because it never changes."""

    def __init__(self, raw: bytes, mode: Relaxed) -> None:
        """Learn from `raw`, which `Walker` has accepted. Raises `NoShapeError`."""
        learner = _Learner(mode)
        if len(raw) > _LARGEST:
            raise NoShapeError
        try:
            learner.document(raw, 0, array=False)
        except OpaqueDocumentError:
            raise NoShapeError from None
        pattern = b"".join([*learner.pattern, b")"])
        if len(pattern) > _LONGEST:
            raise NoShapeError
        self._columns = mode.columns
        self._values = tuple(learner.values)
        self._extents = tuple(learner.extents)
        self._unpack = struct.Struct("".join(learner.layout)).iter_unpack
        self._template = [part for literal in learner.texts for part in (literal, b"")][:-1]
        self._match = re.compile(pattern, re.DOTALL).fullmatch

    def match(self, raw: bytes) -> Row | None:
        """Return the input of `lines` for a document that matches the expression, else None."""
        found = self._match(raw)
        return found.groups() if found else None

    def lines(self, rows: Sequence[Row]) -> list[bytes | None]:
        """Return the output of `Walker` for each of these (at least one); None for those without this shape."""
        strings = list(zip(*rows, strict=True))[1::2]
        fixed = b"".join([part for row in rows for part in row[::2]])
        columns = list(zip(*self._unpack(fixed), strict=True))
        if unfit := self._unfit(strings, columns):
            kept = [row for index, row in enumerate(rows) if index not in unfit]
            lines = iter(self.lines(kept) if kept else ())
            return [None if index in unfit else next(lines) for index in range(len(rows))]
        stride = len(self._template)
        parts = self._template * len(rows)
        texts = iter(strings)
        for place, value in enumerate(self._values):
            column = next(texts) if value.write is None else columns[value.column]
            parts[2 * place + 1 :: stride] = self._written(value, column)
        return [b"".join(parts[start : start + stride]) for start in range(0, len(parts), stride)]

    def _unfit(self, strings: Sequence[Sequence[bytes]], columns: Sequence[Sequence[int]]) -> set[int]:
        """Return the rows without this shape: a declared size is wrong, or a string is not UTF-8."""
        unfit: set[int] = set()
        lengths = [columns[value.column] for value in self._values if value.write is None]
        for length, column in zip(lengths, strings, strict=True):
            sizes = [size - 1 for size in length]
            if sizes != list(map(len, column)):
                unfit.update(row for row, text in enumerate(column) if len(text) != sizes[row])
            if not _is_utf8(b" ".join(column)):
                unfit.update(row for row, text in enumerate(column) if not _is_utf8(text))
        for extent in self._extents:
            sums = list(map(sum, zip(*lengths[extent.strings], strict=True)))
            if [size - extent.base for size in columns[extent.column]] != sums:
                unfit.update(row for row, size in enumerate(columns[extent.column]) if size - extent.base != sums[row])
        return unfit

    def _written(self, value: _Value, column: Sequence[Any]) -> Sequence[bytes]:
        """Return a column of values as JSON, strings without quotes."""
        if value.write is None:
            joined = b"".join(column)
            if len(joined.translate(None, _ESCAPED)) == len(joined):
                return column
            return [text(string)[1:-1] for string in column]
        if (write_all := self._columns.get(value.kind)) and (written := write_all(column)):
            return written
        return list(map(value.write, column))


def _is_utf8(raw: bytes) -> bool:
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
