"""Splits columns of raw documents into nested columns and a rest for each document, without losing data.

The rest contains the values that do not fit the nested column, as a sparse document of the same form. To combine both:
if the column is null, the rest is the value. If it is a document or an array, add the rest to it (in an array by
index). If the rest has no entry, a null in the column means that the document has no such field.
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
    """Some raw documents of one column (None or `NULL` for missing ones)."""

    def __init__(self, values: Sequence[bytes | None], found: Findings | None = None) -> None:
        """Determine which documents can be split, and add their types to `found`."""
        documents = list(map(_document, values))
        self._values = values
        self._split = [document is not None for document in documents]
        self._documents: list[dict[str, Any] | None] | None = documents
        if found is not None:
            found.note([document for document in documents if document is not None])
            self._documents = (
                None  # decoded documents of a whole batch need too much memory: each is decoded again when it is split
            )

    def split(self, kind: Struct) -> tuple[pa.Array, list[bytes | None]]:
        """Return the nested column, and the rest of each document as a raw document (None if it is empty)."""
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
    """Return the decoded document, if Python values represent it without loss and its rest is unambiguous."""
    if value is None or value == NULL or (b"$" in value and _RESERVED(value)):
        return None
    return decoded(value, _OPTIONS)
