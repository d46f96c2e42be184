from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias

def documents_of(array: memoryview) -> tuple[bytes, bytes] | None:
    """Copy the documents of a BSON array.

    Args:
        array: The raw array (bsonspec.org, version 1.1).

    Returns:
        The consecutive documents, followed by unused bytes, and their offsets: the start of each and the end of the
        last one, as native 64-bit integers. None if it is not an array of documents, or if a size is invalid.
    """

def json_lines(buffer: bytes, offsets: array[int], mode: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Convert documents to JSON lines. Releases the interpreter lock.

    Args:
        buffer: The raw documents.
        offsets: Document `i` is `buffer[offsets[i]:offsets[i + 1]]`; an `array("Q")`.
        mode: `relaxed`, `canonical` or `plain` (MongoDB specification "Extended JSON").

    Returns:
        The lines, each with its newline, and the documents that are left to the caller: the index of each, and the
        place in the lines at which its line belongs, in bytes.

    Raises:
        ValueError: The mode is unknown.
        BufferError: The offsets are not an `array("Q")`.
    """

def csv_rows(
    buffer: bytes,
    offsets: array[int],
    ordinals: array[int],
    mode: str,
    delimiter: bytes,
    null: bytes,
    spreadsheet_safe: bool,
) -> tuple[bytes, list[tuple[int, int]]]:
    """Convert change events to CSV rows (RFC 4180). Releases the interpreter lock.

    Args:
        buffer: The raw events.
        offsets: As for `json_lines`.
        ordinals: The last cell of each row; an `array("q")`.
        mode: The notation of documents, as for `json_lines`.
        delimiter: The delimiter between cells.
        null: The cell of an absent value.
        spreadsheet_safe: Whether to put an apostrophe before text that a spreadsheet would evaluate as a formula.

    Returns:
        The rows, each with CR LF, and the events that are left to the caller, as in `json_lines`.

    Raises:
        ValueError: The mode is unknown, or there is not one ordinal for each event.
        BufferError: The offsets or ordinals have another type.
    """

def avro_rows(
    buffer: bytes, offsets: array[int], ordinals: array[int], mode: str | None
) -> tuple[bytes, list[int], list[tuple[int, int]]]:
    """Convert change events to Avro records (Avro specification, "Binary Encoding"). Releases the interpreter lock.

    Args:
        buffer: The raw events.
        offsets: As for `json_lines`.
        ordinals: The last field of each record; an `array("q")`.
        mode: The notation of documents, as for `json_lines`. None for their original bytes.

    Returns:
        The records, the end of each in bytes, and the events that are left to the caller, as in `json_lines`.

    Raises:
        ValueError: The mode is unknown, or there is not one ordinal for each event.
        BufferError: The offsets or ordinals have another type.
    """

Buffers: TypeAlias = tuple[bytes | None, bytes | None, bytes | None]
"""A column in Arrow's layout: validity bitmap (None if no value is null), offsets and data, if it has them."""

def arrow_columns(
    buffer: bytes, offsets: array[int], mode: str, types: tuple[Any, Any, Any]
) -> tuple[list[Buffers], list[list[Buffers]], list[int]]:
    """Convert change events to columns in Arrow's layout. Releases the interpreter lock.

    Args:
        buffer: The raw events.
        offsets: As for `json_lines`.
        mode: The notation of documents, as for `json_lines`.
        types: The types of `document_key`, `full_document` and `full_document_before_change`: None for JSON, or the
            type of a nested column in the notation of `rigatoni_arrow` (a name, a list of one type, a dict of fields).

    Returns:
        The columns of `rigatoni_bson.columns.FIELDS`, with 64-bit offsets and times in milliseconds. Then for each
        nested column the column itself followed by its inner columns, with 32-bit offsets; its text column is null.
        Then the indices of the events that are left to the caller, for example because a document does not fit its
        type. No column has a row for them.

    Raises:
        TypeError: A type is unknown.
        ValueError: The mode is unknown.
    """

def document_findings(buffer: bytes, offsets: array[int], together: int) -> tuple[Any, Any] | None:
    """Count the types in documents, to infer column types. Releases the interpreter lock.

    Args:
        buffer: The raw change events.
        offsets: As for `json_lines`.
        together: Of this many events, all images after the change are inspected before all those before it.

    Returns:
        The findings about document keys, and about both images, each as `(kinds, floats, large, fields, item)`,
        explained at `rigatoni_arrow.inference.Findings`; `fields` are pairs of a name and such a tuple. None if they
        are left to the caller.
    """

def snapshot_rows(buffer: bytes, offsets: array[int], snapshot: bytes, shared: bytes) -> tuple[bytes, bytes] | None:
    """Put a change event around each document of a collection. Releases the interpreter lock.

    Args:
        buffer: The raw documents.
        offsets: As for `json_lines`.
        snapshot: The raw element `snapshot` of the `_id` of each row.
        shared: The raw elements of each row between its `_id` and its `documentKey`.

    Returns:
        The rows, one after another, and their offsets as native 64-bit integers. None if a document has no `_id`, or
        one of a deprecated type, or if it is damaged: then all of them are left to the caller.

    Raises:
        BufferError: The offsets are not an `array("Q")`.
    """

class Rewriter:
    """The rules of a transform, for any number of batches."""

    def rewrite(self, buffer: bytes, offsets: array[int]) -> tuple[bytes, bytes, list[int]] | None:
        """Apply the rules to change events. Releases the interpreter lock.

        Args:
            buffer: The raw events.
            offsets: As for `json_lines`.

        Returns:
            The events after the rules, one after another, their offsets as native 64-bit integers, and the indices of
            the events that are left to the caller, which stay as they are. None if nothing changes and none is left.

        Raises:
            BufferError: The offsets are not an `array("Q")`.
        """

Steps: TypeAlias = tuple[list[tuple[bytes, int]], int | None]
"""The states one step further: by the name of the step, and that of all other steps. None: no rule applies there."""

def rewriter(
    states: Sequence[tuple[tuple[str, int, bytes] | None, Steps, Steps]],
    keeps_others: bool,
    collections: Sequence[str] | None,
) -> Rewriter:
    """Return the rules of a transform.

    Args:
        states: The places in a document that paths distinguish; the first is at the top. Each has the rule for the
            value at this place, the states of the fields of a document, and those of the elements of an array. The
            rules: `("keep", 0, b"")`, `("remove", 0, b"")`, `("constant", type, value)`, `("hash", 0, key)`,
            `("partial", 0, b"")`, `("truncate", characters, b"")` and `("date_to_year", 0, b"")`.
        keeps_others: Whether values that no path leads to stay.
        collections: The collections whose events are changed, such as `shop.users` or `shop.*`; None for all.

    Raises:
        ValueError: A rule is unknown, or a state leads to one that does not exist.
    """

def fallbacks() -> dict[str, int]:
    """Return the number of documents left to the pure Python implementation since the process started, by reason.

    All reasons are always present: `damaged` (not valid BSON), `text` (not UTF-8), `name` (names of Extended JSON type
    wrappers, unusual array indices), `type` (deprecated types), `number` (unusual decimals and NaNs), `date` (before
    1970 or after 9999), `depth` (more than 250 levels), `event` (a change event of an unexpected shape), `schema` (a
    document that does not fit its nested column), `inference` (calls of `document_findings` that returned None),
    `delta` (an update description with ambiguous names or of an unexpected shape), and `mask` (a value that does not
    suit the method that masks it).
    """
