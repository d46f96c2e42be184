"""Rows of the event schema in Avro's binary encoding, column by column.

Every field is a union of null and a string, bytes or a long, so a value is one of two things (specification, "Binary
encoding"): the branch 0, or the branch 1 and then a long, or a length and that many bytes. fastavro writes records one
by one from dicts, which costs more; it reads these blocks back in the tests.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import attrs
from rigatoni_bson.columns import Kind

LARGEST: Final = 512 * 1024
"""A block ends with the row that brings it to this many bytes: readers hold, and may skip, one block at a time."""
_ABSENT: Final = b"\0"


@attrs.frozen
class Block:
    """Some rows in binary, in the form that `fastavro.write.Writer.write_block` takes."""

    num_records: int
    bytes_: BytesIO


def cells(values: Sequence[Any], kind: Kind) -> list[bytes]:
    """A column in binary: its documents as bytes, all others as `Kind` says."""
    write = _WRITERS[kind]
    if kind in _REPEATING:  # each value once
        written = {value: _ABSENT if value is None else write(value) for value in set(values)}
        return [written[value] for value in values]
    return [_ABSENT if value is None else write(value) for value in values]


def blocks(pieces: Iterable[tuple[bytes, Sequence[int]]]) -> Iterator[Block]:
    """The rows of all pieces, cut into blocks; of each piece also the places where its rows end."""
    parts, size, count = list[memoryview](), 0, 0
    for rows, ends in pieces:
        first, start = 0, 0
        while first < len(ends):
            last = min(bisect_left(ends, start + LARGEST - size), len(ends) - 1)
            parts.append(memoryview(rows)[start : ends[last]])
            size, count = size + ends[last] - start, count + last + 1 - first
            if size >= LARGEST:
                yield Block(count, BytesIO(b"".join(parts)))
                parts, size, count = [], 0, 0
            first, start = last + 1, ends[last]
    if count:
        yield Block(count, BytesIO(b"".join(parts)))


def _long(value: int) -> bytes:
    """Branch 1 with a long: zigzag, seven bits a byte, the lowest first."""
    rest = (value << 1) ^ (value >> 63)
    encoded = bytearray(b"\x02")
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


_length = lru_cache(maxsize=8192)(_long)
"""The same for lengths, of which there are few."""


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value


_WRITERS: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.TOKEN: _bytes,
    Kind.DOCUMENT: _bytes,
    Kind.TEXT: lambda value: _bytes(value.encode()),
    Kind.INTEGER: _long,
    Kind.SECONDS: lambda value: _long(value * 1000),
    Kind.MILLISECONDS: _long,
}
_REPEATING = {Kind.TEXT, Kind.SECONDS, Kind.INTEGER}
