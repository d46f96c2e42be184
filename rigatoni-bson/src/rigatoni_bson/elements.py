"""Iterates over raw BSON without decoding it (BSON specification 1.1, bsonspec.org)."""

import struct
from array import array
from collections.abc import Iterator

import bson
from rigatoni_core.api.segments import Segment

from rigatoni_bson.accelerator import find_accelerator

_SMALLEST = 5
"""The size of an empty document in bytes."""

_WINDOW = 64
"""Bytes of a view that are searched at once. Keys are rarely longer."""

INT32 = struct.Struct("<i").unpack_from

_ACCELERATOR = find_accelerator()

_FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_BEFORE = {0x02: 4, 0x03: 0, 0x04: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}
"""Types with a length field, and the bytes that they have in addition to that length."""


def elements(data: bytes | memoryview, start: int = 0) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield the elements of the document at `start`: type, key, start and end of the value.

    Of a view only the keys are copied. Raises ValueError if the bytes are not BSON.
    """
    try:
        position = start + 4
        end = start + INT32(data, start)[0] - 1
        while position < end:
            kind = data[position]
            stop = _zero(data, position + 1)
            value = stop + 1
            after = value + size_of(data, kind, value)
            yield kind, bytes(data[position + 1 : stop]), value, after
            position = after
    except (IndexError, struct.error) as error:
        raise ValueError(f"not BSON at byte {start}: {error}") from None


def size_of(data: bytes | memoryview, kind: int, value: int) -> int:
    """Return the declared size of the value at `value` in bytes.

    Raises ValueError, IndexError or struct.error if it has no valid size.
    """
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    if kind == 0x0B:
        return _zero(data, _zero(data, value) + 1) + 1 - value
    if kind not in _BEFORE:
        raise ValueError(f"unknown BSON type {kind:#x} at byte {value}")
    size = int(INT32(data, value)[0])
    if size < 0:
        raise ValueError(f"a value at byte {value} has a negative size")
    return size + _BEFORE[kind]


def _zero(data: bytes | memoryview, start: int) -> int:
    """Return the index of the first zero from `start` on. Raises ValueError if there is none."""
    if isinstance(data, bytes):
        return data.index(0, start)
    for place in range(start, len(data), _WINDOW):
        found = bytes(data[place : place + _WINDOW]).find(0)
        if found >= 0:
            return place + found
    raise ValueError(f"not BSON at byte {start}: a text without an end")


def documents_of(array_value: memoryview) -> Segment:
    """Return the documents of a BSON array, without the array's own bytes between them.

    Raises ValueError if they cannot be separated.
    """
    found = _ACCELERATOR.documents_of(array_value) if _ACCELERATOR is not None else None
    if found is not None:
        return Segment(memoryview(found[0]), array("Q", found[1]))
    convert = getattr(getattr(bson, "_cbson", None), "_array_of_documents_to_buffer", None)
    if convert is not None:  # PyMongo's C extension, as its own raw cursors use it
        return chunk_of(convert(array_value))
    data = bytes(array_value)
    return chunk_of(b"".join(data[value:after] for _, _, value, after in elements(data)))


def chunk_of(documents: bytes) -> Segment:
    """Return consecutive documents, separated by their declared sizes.

    Raises ValueError if a document declares an impossible size.
    """
    offsets, position, end = array("Q"), 0, len(documents)
    append = offsets.append
    try:
        while position < end:
            append(position)
            if (size := INT32(documents, position)[0]) < _SMALLEST:
                raise ValueError(f"a document at byte {position} has the size {size}")
            position += size
    except struct.error as error:
        raise ValueError(f"not BSON at byte {position}: {error}") from None
    if position > end:
        raise ValueError(f"the last document ends at byte {position} of {end}")
    append(position)
    return Segment(memoryview(documents), offsets)
