"""Where the optional accelerator is looked for, and nowhere else.

`rigatoni-native` is a distribution of its own that does what the pure paths do, to the letter, several times faster.
What is rare or damaged it leaves out; the pure path, which stays the reference, then writes just that.
"""

from array import array
from collections.abc import Iterable
from typing import Any, Protocol

from rigatoni_core.api.orders import Integers
from rigatoni_core.api.segments import Segment

Left = list[tuple[int, int]]
"""For each document that is left to the pure path, its index and where in the text it belongs."""


Buffers = tuple[bytes | None, bytes | None, bytes | None]
"""A column in Arrow's layout: its validity bitmap, its offsets and its data, as far as it has them."""


class Accelerator(Protocol):
    """What is used of `rigatoni_native`; its own documentation says what each does."""

    def documents_of(self, array: memoryview, /) -> tuple[bytes, bytes] | None:
        """Return the documents of a BSON array and their offsets; None if the array is malformed."""

    def json_lines(self, buffer: bytes, offsets: Integers, mode: str, /) -> tuple[bytes, Left]:
        """Return a line of Extended JSON per document, and the documents left to the pure path."""

    def csv_rows(
        self,
        buffer: bytes,
        offsets: Integers,
        ordinals: Integers,
        mode: str,
        delimiter: bytes,
        null: bytes,
        spreadsheet_safe: bool,
        /,
    ) -> tuple[bytes, Left]:
        """Return a CSV row per event, and the events left to the pure path."""

    def avro_rows(
        self, buffer: bytes, offsets: Integers, ordinals: Integers, mode: str | None, /
    ) -> tuple[bytes, list[int], Left]:
        """Return the Avro records of events, the end of each, and the events left to the pure path."""

    def arrow_columns(
        self, buffer: bytes, offsets: Integers, mode: str, types: tuple[Any, Any, Any], /
    ) -> tuple[list[Buffers], list[list[Buffers]], list[int]]:
        """Return Arrow buffers of the common columns and of nested ones, and the events left out."""

    def document_findings(self, buffer: bytes, offsets: Integers, together: int, /) -> tuple[Any, Any] | None:
        """Return which fields and types the documents have; None if they are left to the pure path."""


def find_accelerator() -> Accelerator | None:
    """The accelerator; None where it is not installed: nothing is missing then."""
    try:
        import rigatoni_native
    except ImportError:
        return None
    found: Accelerator = rigatoni_native
    return found


def documents_for(chunk: Segment) -> tuple[bytes, Integers]:
    """The documents as the accelerator takes them; no copy where the buffer is all of a `bytes` object."""
    buffer, offsets = chunk.buffer, chunk.offsets
    if isinstance(buffer.obj, bytes) and len(buffer.obj) == buffer.nbytes:
        return buffer.obj, offsets if isinstance(offsets, array) else array("Q", offsets)
    first = offsets[0]
    return bytes(chunk.documents), array("Q", [offset - first for offset in offsets])


def completed(text: bytes, left: Left, missing: Iterable[bytes]) -> bytes:
    """The text with what was left out of it in its places."""
    parts: list[bytes] = []
    written = 0
    for (_, place), part in zip(left, missing, strict=True):
        parts += (text[written:place], part)
        written = place
    return b"".join([*parts, text[written:]])
