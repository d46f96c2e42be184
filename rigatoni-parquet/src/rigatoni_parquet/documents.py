"""Columns of raw documents as nested columns, and the rest of each document: together they say all of it.

What a document's nested column does not say stands in its rest, a sparse document of the same form. Read it so: where
the column is null, the rest is the value; where it is a document or an array, the rest says what to add to it (in an
array by index). Where the rest says nothing, a null in the column means that the document has no such field.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from bson import decode, encode
from bson.codec_options import CodecOptions, DatetimeConversion
from rigatoni_bson.columns import NULL
from rigatoni_bson.decoded import decoded
from rigatoni_bson.modes import Relaxed
from rigatoni_bson.writing import CHUNK

from rigatoni_parquet.inference import Findings
from rigatoni_parquet.types import MISSING, Struct

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_RESERVED = Relaxed().reserved


class Documents:
    """One column of raw documents (None or `NULL` where there is none). Few of them are decoded at a time."""

    def __init__(self, values: Sequence[bytes | None], found: Findings | None = None) -> None:
        """Find out which documents can be split, and note in `found` what these hold."""
        self._values = values
        self._plain: list[bytes | None] = []
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            documents = list(map(_document, chunk))
            self._plain += [
                None if document is None else value for document, value in zip(documents, chunk, strict=True)
            ]
            if found is not None:
                found.note([document for document in documents if document is not None])

    def split(self, kind: Struct) -> tuple[pa.ChunkedArray, list[bytes | None]]:
        """The nested column, and the rest of each document as a raw document (None where there is none)."""
        rests = list(self._values)
        columns = list(self._columns(kind, rests))
        return pa.chunked_array(columns, kind.arrow), rests

    def _columns(self, kind: Struct, rests: list[bytes | None]) -> Iterator[pa.Array]:
        for start in range(0, len(self._values), CHUNK):
            chunk = self._plain[start : start + CHUNK]
            if not any(chunk):
                yield pa.nulls(len(chunk), kind.arrow)
                continue
            documents = [MISSING if value is None else decode(value, _OPTIONS) for value in chunk]
            column, rest = kind.column(documents)
            for row, value in enumerate(chunk):
                if value is not None:
                    rests[start + row] = encode(rest[row], codec_options=_OPTIONS) if row in rest else None
            yield column


def _document(value: bytes | None) -> dict[str, Any] | None:
    """A document that Python values say without loss, and whose rest can be told apart from a value of its own."""
    if value is None or value == NULL or (b"$" in value and _RESERVED(value)):
        return None
    return decoded(value, _OPTIONS)
