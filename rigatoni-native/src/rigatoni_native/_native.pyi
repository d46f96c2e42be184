from collections.abc import Sequence

def json_lines(buffer: bytes, offsets: Sequence[int], mode: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Each document `buffer[offsets[i]:offsets[i + 1]]` as JSON in `mode`, with a newline behind it.

    Answers all lines in one, and for each document that is left to the caller its index and the place in the text
    where its line belongs. Raises ValueError for a mode that is not there. Releases the interpreter meanwhile.
    """
