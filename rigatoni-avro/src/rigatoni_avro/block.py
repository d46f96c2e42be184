"""Encodes rows of the event schema in Avro's binary encoding, column by column.

Every field is a union of null and a string, bytes or a long. A value is therefore branch 0, or branch 1 followed by
a long, or by a length and that many bytes (Avro specification, "Binary Encoding"). fastavro could write records, but
only one by one from dicts, which costs more. The tests read these blocks back with fastavro.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import attrs
from rigatoni_bson.columns import Kind

LARGEST: Final = 512 * 1024
"""The size in bytes at which a block ends. Readers hold one block in memory, and may skip blocks."""
_ABSENT: Final = b"\0"


@attrs.frozen
class Block:
    """Encoded rows, with the attributes that `fastavro.write.Writer.write_block` reads."""

    num_records: int
    bytes_: BytesIO


def cells(values: Sequence[Any], kind: Kind) -> list[bytes]:
    """Encode a column. Documents are passed as bytes, other values as `Kind` specifies."""
    write = _WRITERS[kind]
    if kind in _REPEATING:  # encode each distinct value once
        written = {value: _ABSENT if value is None else write(value) for value in set(values)}
        return [written[value] for value in values]
    return [_ABSENT if value is None else write(value) for value in values]


def blocks(pieces: Iterable[tuple[bytes, Sequence[int]]]) -> Iterator[Block]:
    """Split the rows of all pieces into blocks. Each piece is its rows and the offsets of their ends."""
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
    """Encode branch 1 with a long: zigzag, seven bits per byte, lowest bits first."""
    rest = (value << 1) ^ (value >> 63)
    encoded = bytearray(b"\x02")
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


_length = lru_cache(maxsize=8192)(_long)
"""The same, cached: few distinct lengths occur."""


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
