"""Columns of raw documents as nested columns, and the rest of each document: together they say all of it.

What a document's nested column does not say stands in its rest, a sparse document of the same form. Read it so: where
the column is null, the rest is the value; where it is a document or an array, the rest says what to add to it (in an
array by index). Where the rest says nothing, a null in the column means that the document has no such field.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from bson import decode, encode
from bson.codec_options import CodecOptions, DatetimeConversion
from rigatoni_bson.columns import NULL
from rigatoni_bson.decoded import decoded
from rigatoni_bson.modes import Relaxed

from rigatoni_arrow.inference import Findings
from rigatoni_arrow.types import MISSING, Struct

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_RESERVED = Relaxed().reserved


class Documents:
    """Some raw documents of one column (None or `NULL` where there is none)."""

    def __init__(self, values: Sequence[bytes | None], found: Findings | None = None) -> None:
        """Find out which documents can be split, and note in `found` what these hold."""
        documents = list(map(_document, values))
        self._values = values
        self._split = [document is not None for document in documents]
        self._documents: list[dict[str, Any] | None] | None = documents
        if found is not None:
            found.note([document for document in documents if document is not None])
            self._documents = None  # those of a whole batch would be too many: each is decoded again when it is split

    def split(self, kind: Struct) -> tuple[pa.Array, list[bytes | None]]:
        """The nested column, and the rest of each document as a raw document (None where there is none)."""
        if not any(self._split):
            return pa.nulls(len(self._values), kind.arrow), list(self._values)
        documents = self._documents or [
            decode(value, _OPTIONS) if split and value is not None else None
            for value, split in zip(self._values, self._split, strict=True)
        ]
        column, rest = kind.column([MISSING if document is None else document for document in documents])
        rests = [None if split else value for value, split in zip(self._values, self._split, strict=True)]
        for row, document in rest.items():
            rests[row] = encode(document, codec_options=_OPTIONS)
        return column, rests


def _document(value: bytes | None) -> dict[str, Any] | None:
    """Return a document that Python values hold without loss, and whose rest differs from every value of its own."""
    if value is None or value == NULL or (b"$" in value and _RESERVED(value)):
        return None
    return decoded(value, _OPTIONS)
