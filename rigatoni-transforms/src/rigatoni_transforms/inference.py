"""Schemas inferred from samples of documents."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import attrs
from bson import json_util
from bson.binary import Binary
from bson.code import Code
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from rigatoni_transforms.errors import SampleError

MOST_NAMES: Final = 200
"""A document with more names than this in one place of the sample has data as names: its fields are left open."""

_NAMES: Mapping[type, str] = {
    bool: "bool",
    int: "integer",
    Int64: "integer",
    float: "double",
    str: "string",
    type(None): "null",
    ObjectId: "objectId",
    datetime: "date",
    DatetimeMS: "date",
    Decimal128: "decimal",
    Timestamp: "timestamp",
    bytes: "binData",
    Binary: "binData",
    Regex: "regex",
    re.Pattern: "regex",
    Code: "javascript",
    MinKey: "minKey",
    MaxKey: "maxKey",
    dict: "object",
    DBRef: "object",
    list: "array",
}
_READING = json_util.JSONOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_BARE = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_STEP = re.compile(r'[^.*"\s]+').fullmatch


@attrs.define
class _Place:
    """What a sample has at one path."""

    types: Counter[str] = attrs.field(factory=Counter)
    fields: "dict[str, _Place]" = attrs.field(factory=dict)
    items: "_Place | None" = None

    def add(self, value: Any) -> None:
        self.types[_NAMES[type(value)]] += 1
        if isinstance(value, DBRef):
            value = value.as_doc()
        if isinstance(value, Mapping):
            for name, item in value.items():
                self.fields.setdefault(name, _Place()).add(item)
        elif isinstance(value, list):
            for item in value:
                self.items = self.items or _Place()
                self.items.add(item)


def documents_in(lines: Iterable[str], collection: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the documents of a sample with their collections.

    Args:
        lines: Extended JSON, one document a line, or one event of the serializer `json` a line.
        collection: The collection of documents that are no events; empty if all are.

    Raises:
        SampleError: A line is no document, or its collection is not known.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json_util.loads(line, json_options=_READING)
        except Exception as error:  # json_util raises what the values' constructors raise
            raise SampleError(f"line {number} is no Extended JSON: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise SampleError(f"line {number} is no document")
        if "operationType" in found and "ns" in found:
            document, space = found.get("fullDocument"), found["ns"]
            if isinstance(document, dict):
                yield f"{space.get('db')}.{space.get('coll')}", document
        elif collection:
            yield collection, found
        else:
            raise SampleError(f"line {number} is no event", remedy="Name the collection with --collection.")


def inferred(documents: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return a schema for each collection: `required` and `columns`, as the transform `schema` takes them."""
    tops: defaultdict[str, _Place] = defaultdict(_Place)
    for collection, document in documents:
        tops[collection].add(document)
    return {collection: _schema(top) for collection, top in sorted(tops.items())}


def _schema(top: _Place) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    required: list[str] = []
    for path, place, always in _columns(top, ""):
        if types := _types(place, inner=bool(place.fields or place.items)):
            columns[path] = types[0] if len(types) == 1 else types
        if always and path != "_id":
            required.append(path)
    return {"required": required, "columns": columns}


def _columns(place: _Place, path: str) -> Iterator[tuple[str, _Place, bool]]:
    """Yield the places below one with their paths, and whether each document there has them."""
    for name, below in place.fields.items():
        step = name if _STEP(name) else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        inner = f"{path}.{step}" if path else step
        if len(below.fields) > MOST_NAMES:
            below.fields = {}
        always = sum(below.types.values()) == place.types["object"]
        yield inner, below, always
        yield from _columns(below, inner)
    if place.items is not None:
        yield f"{path}.*", place.items, False
        yield from _columns(place.items, f"{path}.*")


def _types(place: _Place, *, inner: bool) -> list[str]:
    """The names of the types; none for a plain document or array whose inner fields have columns."""
    names = set(place.types)
    if {"integer", "double"} <= names:
        names = names - {"integer", "double"} | {"number"}
    if inner and len(names) == 1 and names <= {"object", "array"}:
        return []
    return sorted(names)


def as_toml(schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a transform with these schemas, for a pipeline's file."""
    yield "[[pipeline.transforms]]"
    yield 'type = "schema"'
    for collection, schema in schemas.items():
        table = f"pipeline.transforms.collections.{json.dumps(collection, ensure_ascii=False)}"
        yield ""
        yield f"[{table}]"
        yield f"required = {json.dumps(schema['required'], ensure_ascii=False)}"
        yield ""
        yield f"[{table}.columns]"
        for path, types in schema["columns"].items():
            key = path if _BARE(path) else json.dumps(path, ensure_ascii=False)
            yield f"{key} = {json.dumps(types)}"
