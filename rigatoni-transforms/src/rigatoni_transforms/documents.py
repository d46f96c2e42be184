"""Raw BSON documents rewritten by rules: what no path leads to is copied byte for byte, and not decoded."""

from collections.abc import Iterable
from struct import Struct
from typing import Final

import attrs
from rigatoni_bson.elements import size_of

from rigatoni_transforms.matching import Element, State

NULL: Final = 0x0A
STRING: Final = 0x02
DOCUMENT: Final = 0x03
ARRAY: Final = 0x04

_LENGTH = Struct("<I").unpack_from
_PACK = Struct("<i").pack
_OTHERWISE = -100
SIZES: Final = [_OTHERWISE] * 256
"""By type: the size of a value; or, below zero, -1 less the bytes that it has besides the length that it says."""
for _kind, _size in {
    0x01: 8,
    0x06: 0,
    0x07: 12,
    0x08: 1,
    0x09: 8,
    NULL: 0,
    0x10: 4,
    0x11: 8,
    0x12: 8,
    0x13: 16,
}.items():
    SIZES[_kind] = _size
SIZES[0x7F] = SIZES[0xFF] = 0
for _kind, _size in {0x02: 4, DOCUMENT: 0, ARRAY: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}.items():
    SIZES[_kind] = -1 - _size


def end_of(raw: bytes, kind: int, value: int) -> int:
    """Return where a value ends. Raises ValueError, IndexError or struct.error if the bytes do not say."""
    size = SIZES[kind]
    if size >= 0:
        return value + size
    if size != _OTHERWISE:
        return int(value + _LENGTH(raw, value)[0] - 1 - size)
    return value + size_of(raw, kind, value)


def elements_of(raw: bytes, start: int) -> list[tuple[int, bytes, int, int]]:
    """Return the elements of the document at `start`: type, name, and where the value begins and ends.

    Raises ValueError, IndexError or struct.error if the bytes are no BSON.
    """
    end = start + _LENGTH(raw, start)[0] - 1
    position, found = start + 4, []
    while position < end:
        name = raw.index(0, position + 1)
        after = end_of(raw, raw[position], name + 1)
        found.append((raw[position], raw[position + 1 : name], name + 1, after))
        position = after
    if position != end or raw[end]:
        raise ValueError("a document does not end where it says")
    return found


def document_of(parts: Iterable[bytes]) -> bytes:
    """Return the document of these elements."""
    body = b"".join(parts)
    return b"%b%b\0" % (_PACK(len(body) + 5), body)


@attrs.frozen
class Rewriter:
    """Applies rules to documents.

    Attributes:
        keeps_others: Whether values that no path leads to stay. If not, they are removed.
    """

    keeps_others: bool

    def document(self, raw: bytes, start: int, state: State, *, array: bool = False) -> bytes | None:
        """Return the document (or array) at `start` after the rules; None if nothing changes.

        A removed element of an array becomes null, so that the others keep their index.

        Raises:
            ValueError, IndexError, struct.error: The bytes are no BSON.
        """
        end = start + _LENGTH(raw, start)[0] - 1
        position = copied = start + 4
        fields, other = (state.elements, state.any_element) if array else (state.fields, state.other)
        keeps, sizes, index = self.keeps_others, SIZES, raw.index
        parts: list[bytes] = []
        while position < end:
            kind = raw[position]
            name = index(0, position + 1)
            value = name + 1
            size = sizes[kind]
            if size >= 0:
                after = value + size
            elif size != _OTHERWISE:
                after = value + _LENGTH(raw, value)[0] - 1 - size
            else:
                after = value + size_of(raw, kind, value)
            below = fields.get(raw[position + 1 : name], other)
            if below is None:
                if keeps:
                    position = after
                    continue
                new = None
            else:
                new = self.value(raw, kind, value, after, below)
            if new is None:
                if copied != position:
                    parts.append(raw[copied:position])
                if array:
                    parts.append(b"\x0a" + raw[position + 1 : value])
                copied = after
            elif new[1] is not _SAME:
                parts += (raw[copied:position], b"%c%b%b" % (new[0], raw[position + 1 : value], new[1]))
                copied = after
            position = after
        if position != end or raw[end]:
            raise ValueError("a document does not end where it says")
        if copied == start + 4:
            return None
        parts.append(raw[copied:end])
        return document_of(parts)

    def value(self, raw: bytes, kind: int, value: int, after: int, state: State) -> Element | None:
        """Return the value at a place after the rules: None if it is removed, `SAME` if it stays."""
        if state.rule is not None:
            given = raw[value:after]
            new = state.rule.apply(kind, given)
            return SAME if new is not None and new[1] is given and new[0] == kind else new
        if kind in (DOCUMENT, ARRAY):
            document = self.document(raw, value, state, array=kind == ARRAY)
            return SAME if document is None else (kind, document)
        return SAME if self.keeps_others else None


_SAME = b"same"
SAME: Final[Element] = (0, _SAME)
"""In the place of a value that stays as it is."""
