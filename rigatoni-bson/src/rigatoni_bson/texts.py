"""Converts the documents of columns to JSON, for formats with text cells, and single values to plain text."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.dbref import DBRef

from rigatoni_bson.columns import COLUMNS, NULL, EventColumns, Kind
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.writing import JsonWriter


class ColumnTexts:
    """Writes the columns of documents in one mode, like `JsonWriter`. Thread-safe.

    Resume tokens are always canonical, so that their column is the same in every format and mode. Each column has its
    own writer, which learns only the shapes of that column.
    """

    def __init__(self, mode: str) -> None:
        modes = {Kind.TOKEN: "canonical", Kind.DOCUMENT: mode}
        self._writers = {column.name: JsonWriter(modes[column.kind]) for column in COLUMNS if column.kind in modes}

    def write(self, columns: EventColumns, name: str) -> list[bytes | None]:
        """Return a column of documents as JSON in UTF-8: `null` for a null field, None for an absent field.

        Malformed events are rejected in `columns`, and their value is None.
        """
        column, writer = columns.values[name], self._writers[name]
        texts = iter(writer.texts([value for value in column if value is not None and value != NULL]))
        written: list[bytes | None] = []
        for index, value in enumerate(column):
            text = None if value is None else b"null" if value == NULL else next(texts)
            if isinstance(text, MalformedEventError):
                columns.reject(index, text)
                text = None
            written.append(text)
        return written


_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


def plain_text(value: Any) -> str | None:
    """Return a decoded value as its text in the mode `plain`; None for null, a document or an array.

    If plain JSON writes a type as an object, such as a timestamp, the text is that of the object.
    """
    if type(value) is str:
        return value
    if value is None or isinstance(value, (Mapping, list, tuple, DBRef)):
        return None
    (line,) = _plain_writer().texts([bson.encode({"v": value}, codec_options=_OPTIONS)])
    if isinstance(line, MalformedEventError):
        return None
    text = line[len(b'{"v":') : -1].decode()
    return str(json.loads(text)) if text.startswith('"') else None if text == "null" else text


@cache
def _plain_writer() -> JsonWriter:
    return JsonWriter("plain")
