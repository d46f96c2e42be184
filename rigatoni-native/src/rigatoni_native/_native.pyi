from array import array

def document_offsets(buffer: bytes) -> bytes | None:
    """Where each of the consecutive documents begins, and the end of the last one, as 64-bit numbers of this machine.

    None where a document says a size that it can not have.
    """

def json_lines(buffer: bytes, offsets: array[int], mode: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Each document `buffer[offsets[i]:offsets[i + 1]]` as JSON in `mode`, with a newline behind it.

    Answers all lines in one, and for each document that is left to the caller its index and the place in the text
    where its line belongs. Raises ValueError for a mode that is not there, BufferError for offsets that are no
    `array("Q")`. Releases the interpreter meanwhile.
    """

def csv_rows(
    buffer: bytes, offsets: array[int], mode: str, delimiter: bytes, null: bytes, spreadsheet_safe: bool
) -> tuple[bytes, list[tuple[int, int]]]:
    """Each change event as a CSV row that ends in CR LF; documents as JSON in `mode`, absent values as `null`.

    The answer and the errors are those of `json_lines`.
    """

def avro_rows(buffer: bytes, offsets: array[int], mode: str | None) -> tuple[bytes, list[int], list[tuple[int, int]]]:
    """Each change event in Avro's binary encoding; documents as JSON in `mode`, or as their own bytes without one.

    Answers the rows, where each of them ends, and what `json_lines` answers for events that are left to the caller.
    """

def arrow_columns(
    buffer: bytes, offsets: array[int], mode: str
) -> tuple[list[tuple[bytes | None, bytes | None, bytes]], list[int]]:
    """The change events as the columns of `rigatoni_bson.columns`, in Arrow's layout; documents as JSON in `mode`.

    For each column: the validity bitmap (None where nothing is null), 64-bit offsets (None for numbers), and the data
    (texts, or 64-bit integers; times in milliseconds). Then the indices of events that are left to the caller: no
    column has a row for them.
    """
