"""Encodes columns of values as CSV cells (RFC 4180, section 2).

Text is always in double quotes, numbers and times never. So the only characters that a cell has to escape are quotes,
and an empty text differs from an absent one.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from rigatoni_bson.columns import Kind
from rigatoni_bson.dates import iso

_TRIGGERS = re.compile(rb"""[=+\-@\t\r\n\0']""").match
"""Characters that start a formula in a spreadsheet (OWASP, "CSV Injection"), and the apostrophe, which escapes them."""


@attrs.frozen
class Cells:
    """Encodes cells. `null` is the cell of an absent value. With `spreadsheet_safe` no text can start a formula."""

    null: bytes
    spreadsheet_safe: bool

    def column(self, values: Sequence[Any], kind: Kind) -> list[bytes]:
        """Return the cells of a column. Documents are passed as JSON in UTF-8, other values as `Kind` specifies."""
        write = _WRITERS[kind]
        if kind in _REPEATING:  # encode each distinct value once
            cells = {value: self._cell(write(value), kind) for value in set(values) - {None}}
            return [self.null if value is None else cells[value] for value in values]
        return [self.null if value is None else self._cell(write(value), kind) for value in values]

    def _cell(self, value: bytes, kind: Kind) -> bytes:
        if self.spreadsheet_safe and kind not in _BARE and _TRIGGERS(value):
            value = b"'" + value
        return value if kind in _BARE else b'"%b"' % value.replace(b'"', b'""')


def _identity(value: bytes) -> bytes:
    return value


def _number(value: int) -> bytes:
    return b"%d" % value


def _seconds(value: int) -> bytes:
    return iso(value * 1000)


_WRITERS: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.TOKEN: _identity,
    Kind.DOCUMENT: _identity,
    Kind.TEXT: str.encode,
    Kind.INTEGER: _number,
    Kind.SECONDS: _seconds,
    Kind.MILLISECONDS: iso,
}
_BARE = {Kind.INTEGER, Kind.SECONDS, Kind.MILLISECONDS}
_REPEATING = {Kind.TEXT, Kind.SECONDS}
