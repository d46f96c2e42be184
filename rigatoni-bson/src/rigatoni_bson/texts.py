"""The documents of columns as JSON texts, for the formats whose cells hold text."""

from rigatoni_bson.columns import COLUMNS, NULL, EventColumns, Kind
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.writing import JsonWriter


class ColumnTexts:
    """Writes the columns of documents in one mode, as `JsonWriter` does; thread-safe.

    Resume tokens are always canonical, so that a column of them holds the same in every format and mode. Each column
    has its own writer, which so learns only the shapes of that column.
    """

    def __init__(self, mode: str) -> None:
        modes = {Kind.TOKEN: "canonical", Kind.DOCUMENT: mode}
        self._writers = {column.name: JsonWriter(modes[column.kind]) for column in COLUMNS if column.kind in modes}

    def write(self, columns: EventColumns, name: str) -> list[bytes | None]:
        """A column of documents as JSON in UTF-8: `null` where the field is null, None where there is none.

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
