from array import array
from typing import Any, TypeAlias

def documents_of(array: memoryview) -> tuple[bytes, bytes] | None:
    """The documents of a BSON array, one right after another; something that means nothing is behind the last one.

    Answers with them where each begins, and where the last one ends, as 64-bit numbers of this machine. None where it
    is no array of documents, or one says a size that it cannot have.
    """

def json_lines(buffer: bytes, offsets: array[int], mode: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Each document `buffer[offsets[i]:offsets[i + 1]]` as JSON in `mode`, with a newline behind it.

    Answers all lines in one, and for each document that is left to the caller its index and the place in the text
    where its line belongs. Raises ValueError for a mode that is not there, BufferError for offsets that are no
    `array("Q")`. Releases the interpreter meanwhile.
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
    """Each change event as a CSV row that ends in CR LF; documents as JSON in `mode`, absent values as `null`.

    `ordinals` (an `array("q")`) has the last cell of each row; ValueError if it is not one for each event. Else the
    answer and the errors are those of `json_lines`.
    """

def avro_rows(
    buffer: bytes, offsets: array[int], ordinals: array[int], mode: str | None
) -> tuple[bytes, list[int], list[tuple[int, int]]]:
    """Each change event in Avro's binary encoding; documents as JSON in `mode`, or as their own bytes without one.

    `ordinals` is as for `csv_rows`.

    Answers the rows, where each of them ends, and what `json_lines` answers for events that are left to the caller.
    """

Buffers: TypeAlias = tuple[bytes | None, bytes | None, bytes | None]

def arrow_columns(
    buffer: bytes, offsets: array[int], mode: str, types: tuple[Any, Any, Any]
) -> tuple[list[Buffers], list[list[Buffers]], list[int]]:
    """The change events as the `FIELDS` of `rigatoni_bson.columns`, in Arrow's layout; documents as JSON in `mode`.

    For each column: the validity bitmap (None where nothing is null), 64-bit offsets (None for numbers), and the data
    (texts, or 64-bit integers; times in milliseconds).

    `types` are those of `document_key`, `full_document` and `full_document_before_change`: None for JSON, or the type
    of a nested column as `rigatoni_parquet` spells it (a name, a list of one type, a dict of fields). The second answer
    has the nested columns, each with the columns within it behind it: bitmap, 32-bit offsets, data. The texts of these
    columns are all null. Raises TypeError for a name that is no type here.

    Then the indices of events that are left to the caller, such as those with a document that does not fit into its
    type as a whole: no column has a row for them.
    """

def document_findings(buffer: bytes, offsets: array[int], together: int) -> tuple[Any, Any] | None:
    """What the document keys hold, and what both images hold, of the change events, for types to be inferred.

    Found in so many events `together` at a time: first the images after the change, then those before it. Either is
    `(kinds, floats, large, fields, item)`, as `rigatoni_arrow.inference.Findings` explains; `fields` are pairs of a
    name and such a tuple. None where only the caller can tell.
    """
