from collections.abc import Sequence

def json_lines(buffer: bytes, offsets: Sequence[int], mode: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Each document `buffer[offsets[i]:offsets[i + 1]]` as JSON in `mode`, with a newline behind it.

    Answers all lines in one, and for each document that is left to the caller its index and the place in the text
    where its line belongs. Raises ValueError for a mode that is not there. Releases the interpreter meanwhile.
    """

def csv_rows(
    buffer: bytes, offsets: Sequence[int], mode: str, delimiter: bytes, null: bytes, spreadsheet_safe: bool
) -> tuple[bytes, list[tuple[int, int]]]:
    """Each change event as a CSV row that ends in CR LF; documents as JSON in `mode`, absent values as `null`.

    The answer and the errors are those of `json_lines`.
    """
