"""The layout `debezium`: the envelope of Debezium's MongoDB connector, without schemas, for its sinks and transforms.

Field by field as Debezium documents it ("Data change events" of its MongoDB connector). Documents are texts with
Extended JSON v2; Debezium itself writes the older strict mode, and its sinks read both.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from rigatoni_bson.columns import NULL, EventColumns
from rigatoni_bson.elements import elements
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.writing import JsonWriter
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError

from rigatoni_kafka.errors import UnknownOperationError
from rigatoni_kafka.messages import ids_of

OPERATIONS: Mapping[str, str] = {"insert": "c", "update": "u", "replace": "u", "delete": "d", "read": "r"}
"""Operations on documents and their `op`."""
WITHOUT_MESSAGE = frozenset(
    {
        *("create", "drop", "rename", "dropDatabase", "invalidate", "modify", "createIndexes", "dropIndexes"),
        *("shardCollection", "reshardCollection", "refineCollectionShardKey"),
    }
)
"""Operations for which Debezium has no message. Others, such as dead letters, are rejected, so that none is lost."""


class DebeziumLayout:
    """See the module.

    Args:
        name: The logical name of the source, in `source.name`.
        version: The version in `source.version`.
        tombstones: Whether a message without a value follows each delete, as with Debezium's default.
    """

    def __init__(self, name: str, version: str, *, tombstones: bool) -> None:
        self._name = name
        self._version = version
        self._tombstones = tombstones
        self._writer = JsonWriter("relaxed")

    def contents(self, events: EventBatch, columns: EventColumns) -> Iterator[tuple[int, bytes | None, bytes | None]]:
        """See `Layout`."""
        rows, operations = _Rows(self._writer, columns), columns.values["operation"]
        unknown = dict[int, Exception]()
        found = list[tuple[int, bytes | None, bytes | None]]()
        for index, document_id in enumerate(ids_of(self._writer, columns)):
            op = OPERATIONS.get(operations[index] or "")
            if operations[index] in WITHOUT_MESSAGE:
                continue
            if op is None or document_id is None:
                unknown[index] = UnknownOperationError("the layout debezium has no message for the event's operation")
                continue
            key = orjson.dumps({"id": document_id.decode()})
            found.append((index, key, orjson.dumps(self._envelope(rows, index, op))))
            if op == "d" and self._tombstones:
                found.append((index, key, None))
        columns.check()
        if unknown:
            raise RejectedEventsError(unknown, remedy=UnknownOperationError.default_remedy)
        yield from found

    def _envelope(self, rows: "_Rows", index: int, op: str) -> dict[str, Any]:
        now = time.time_ns()
        return {
            "before": rows.text("full_document_before_change", index),
            "after": rows.text("full_document", index) if op != "d" else None,
            "updateDescription": rows.update(index) if op == "u" else None,
            "source": self._source(rows, index, op),
            "op": op,
            "ts_ms": now // 1_000_000,
            "ts_us": now // 1_000,
            "ts_ns": now,
            "transaction": None,
        }

    def _source(self, rows: "_Rows", index: int, op: str) -> dict[str, Any]:
        values = rows.columns.values
        seconds = values["cluster_time"][index] or 0
        return {
            "version": self._version,
            "connector": "mongodb",
            "name": self._name,
            "ts_ms": seconds * 1_000,
            "snapshot": "true" if op == "r" else "false",
            "db": values["database"][index],
            "sequence": None,
            "ts_us": seconds * 1_000_000,
            "ts_ns": seconds * 1_000_000_000,
            "collection": values["collection"][index],
            "ord": values["cluster_time_increment"][index],
            "lsid": rows.text("lsid", index),
            "txnNumber": values["txn_number"][index],
            "wallTime": values["wall_time"][index],
        }


class _Rows:
    """The documents of events as texts. Malformed ones are rejected in the columns."""

    def __init__(self, writer: JsonWriter, columns: EventColumns) -> None:
        self.columns = columns
        self._writer = writer

    def text(self, column: str, index: int) -> str | None:
        """Return the document of an event in this column as JSON text; None if it is absent or null."""
        return self._text(self.columns.values[column][index], index)

    def update(self, index: int) -> dict[str, Any] | None:
        """Return the update description as Debezium writes it: names and sizes as lists, values as JSON text."""
        raw = self.columns.values["update_description"][index]
        if raw is None or raw == NULL:
            return None
        parts: dict[str, Any] = {"removedFields": None, "updatedFields": None, "truncatedArrays": None}
        try:
            for kind, name, start, after in elements(raw):
                if kind in (0x03, 0x04) and (field := name.decode(errors="replace")) in parts:
                    text = self._text(raw[start:after], index) or "{}"
                    parts[field] = text if field == "updatedFields" else _listed(orjson.loads(text))
        except ValueError as error:
            self.columns.reject(index, MalformedEventError(str(error), 0))
        return parts

    def _text(self, raw: bytes | None, index: int) -> str | None:
        if raw is None or raw == NULL:
            return None
        (text,) = self._writer.texts([raw])
        if isinstance(text, MalformedEventError):
            self.columns.reject(index, text)
            return None
        return text.decode()


def _listed(entries: Mapping[str, Any]) -> Any:
    """Return the values of an array that was written as a document with the keys 0, 1, ...; None if it is empty."""
    values = [
        {"field": each["field"], "size": each["newSize"]} if isinstance(each, dict) else each
        for each in entries.values()
    ]
    return values or None
