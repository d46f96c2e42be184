"""Finds the optional accelerator. No other module imports it.

The distribution `rigatoni-native` produces the same bytes as the pure paths, several times faster. It leaves out rare
and damaged documents. The pure path, which is the reference, writes these.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from rigatoni_core.api.orders import Integers
from rigatoni_core.api.process_counts import ProcessCount, register_count
from rigatoni_core.api.segments import Segment

Left = list[tuple[int, int]]
"""For each document that is left to the pure path, its index and its place in the text."""


Buffers = tuple[bytes | None, bytes | None, bytes | None]
"""A column in Arrow's layout: its validity bitmap, its offsets and its data, if it has them."""


class Rewriter(Protocol):
    """Applies the rules of a transform to change events."""

    def rewrite(self, buffer: bytes, offsets: Integers, /) -> tuple[bytes, bytes, list[int]] | None:
        """Return the events, their offsets, and the events left to the pure path; None if nothing changes."""


class Accelerator(Protocol):
    """The functions of `rigatoni_native`, which documents them."""

    def documents_of(self, array: memoryview, /) -> tuple[bytes, bytes] | None:
        """Return the documents of a BSON array and their offsets; None if the array is malformed."""

    def snapshot_rows(
        self, buffer: bytes, offsets: Integers, snapshot: bytes, shared: bytes, /
    ) -> tuple[bytes, bytes] | None:
        """Return the rows of documents and their offsets; None if they are left to the pure path."""

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

    def rewriter(self, states: Sequence[Any], keeps_others: bool, collections: Sequence[str] | None, /) -> Rewriter:
        """Return what applies these rules."""

    def fallbacks(self) -> dict[str, int]:
        """Return the number of documents left to the pure path since the process started, by reason."""


def find_accelerator() -> Accelerator | None:
    """Return the accelerator, or None if it is not installed. Everything works without it."""
    try:
        import rigatoni_native
    except ImportError:
        return None
    found: Accelerator = rigatoni_native
    register_count(
        ProcessCount(
            name="accelerator.fallbacks",
            meaning="Documents that the accelerator left to the slower pure implementation, by reason",
            read=found.fallbacks,
        )
    )
    return found


def documents_for(chunk: Segment) -> tuple[bytes, Integers]:
    """Return the documents for the accelerator, without a copy if the buffer is a whole `bytes` object."""
    buffer, offsets = chunk.buffer, chunk.offsets
    if isinstance(buffer.obj, bytes) and len(buffer.obj) == buffer.nbytes:
        return buffer.obj, offsets if isinstance(offsets, array) else array("Q", offsets)
    first = offsets[0]
    return bytes(chunk.documents), array("Q", [offset - first for offset in offsets])


def completed(text: bytes, left: Left, missing: Iterable[bytes]) -> bytes:
    """Return the text with the missing pieces inserted at their places."""
    parts: list[bytes] = []
    written = 0
    for (_, place), part in zip(left, missing, strict=True):
        parts += (text[written:place], part)
        written = place
    return b"".join([*parts, text[written:]])
