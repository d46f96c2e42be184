"""Schemas of collections: MongoDB's `$jsonSchema` (a part of it), or columns with types."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
import fastjsonschema
from bson import json_util
from bson.decimal128 import Decimal128

from rigatoni_transforms.errors import SchemaError
from rigatoni_transforms.paths import ANY, Path, Step

TYPES: Final[Mapping[str, frozenset[int]]] = {
    **{
        name: frozenset([number])
        for name, number in {
            "double": 1,
            "string": 2,
            "object": 3,
            "array": 4,
            "binData": 5,
            "objectId": 7,
            "bool": 8,
            "date": 9,
            "null": 10,
            "regex": 11,
            "javascript": 13,
            "int": 16,
            "timestamp": 17,
            "long": 18,
            "decimal": 19,
            "maxKey": 127,
            "minKey": 255,
        }.items()
    },
    "integer": frozenset([16, 18]),
    "number": frozenset([1, 16, 18, 19]),
}
"""The names of types (MongoDB manual, "$type"), and `integer` for `int` and `long`; their numbers in BSON."""

_JSON_TYPES = {**{name: TYPES[name] for name in ("object", "array", "string", "number", "integer", "null")}}
_JSON_TYPES["boolean"] = TYPES["bool"]
_VALUES = {
    *("enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
}
"""Keywords that fastjsonschema checks; the others are about structure."""
_STRUCTURE = {"bsonType", "type", "properties", "required", "additionalProperties", "items"}
_IGNORED = {"title", "description", "$schema", "$id", "$comment", "examples", "default"}

Check = Callable[[Any], bool]


@attrs.frozen(eq=False)
class Schema:
    """What a value must be like.

    Attributes:
        types: The types that it may have, by their numbers in BSON; None for any.
        properties: The fields of a document; None if it may have any.
        open: Whether it may have other fields, too.
        required: The fields that it must have.
        items: What the elements of an array must be like.
        check: Returns whether a value of plain JSON is within its limits.
    """

    types: frozenset[int] | None = None
    properties: Mapping[bytes, "Schema"] | None = None
    open: bool = False
    required: frozenset[bytes] = frozenset()
    items: "Schema | None" = None
    check: Check | None = None


def schema_of(table: Mapping[str, Any], where: str) -> Schema:
    """Return the schema of a collection.

    Args:
        table: A JSON Schema, one as text under `json_schema`, or `columns` (types by path) and `required` (paths).
        where: The collection, for messages.

    Raises:
        SchemaError: A keyword or a type is unknown; the message says where.
    """
    if "json_schema" in table:
        table = _of_text(table, where)
    if "columns" in table:
        if unknown := table.keys() - {"columns", "required", "additionalProperties"}:
            raise SchemaError(f"{where}: {', '.join(sorted(unknown))} cannot be combined with columns")
        table = _of_columns(table, where)
    return _schema(table, where)


def _schema(table: Any, where: str) -> Schema:
    if not isinstance(table, Mapping):
        raise SchemaError(f"{where}: a schema is a table")
    known = _STRUCTURE | _VALUES | _IGNORED
    if unknown := sorted(table.keys() - known):
        raise SchemaError(
            f"{where}: {', '.join(unknown)} is not supported; supported are {', '.join(sorted(known - _IGNORED))}"
        )
    properties, more, required = table.get("properties"), table.get("additionalProperties"), table.get("required", [])
    if properties is not None and not isinstance(properties, Mapping):
        raise SchemaError(f"{where}: properties must be a table")
    if not isinstance(more, (bool, type(None))):
        raise SchemaError(f"{where}: additionalProperties must be true or false")
    if not isinstance(required, (list, tuple)) or not all(isinstance(name, str) for name in required):
        raise SchemaError(f"{where}: required must be a list of names")
    return Schema(
        types=_types(table, where),
        properties={name.encode(): _schema(each, f"{where}.{name}") for name, each in properties.items()}
        if properties is not None
        else {}
        if more is False
        else None,
        open=more is True,
        required=frozenset(name.encode() for name in required),
        items=_schema(table["items"], f"{where}.items") if "items" in table else None,
        check=_check({key: table[key] for key in table.keys() & _VALUES}, where),
    )


def _types(table: Mapping[str, Any], where: str) -> frozenset[int] | None:
    found: frozenset[int] | None = None
    for keyword, known in (("bsonType", TYPES), ("type", _JSON_TYPES)):
        if keyword in table:
            names = [table[keyword]] if isinstance(table[keyword], str) else table[keyword]
            if not isinstance(names, (list, tuple)) or (unknown := [each for each in names if each not in known]):
                shown = ", ".join(map(str, unknown)) if isinstance(names, (list, tuple)) else names
                raise SchemaError(f"{where}: unknown type {shown}; known are {', '.join(known)}")
            types = frozenset[int]().union(*(known[name] for name in names))
            found = types if found is None else found & types
    return found


def _check(keywords: dict[str, Any], where: str) -> Check | None:
    """What checks these keywords, by fastjsonschema; draft 7, whose keywords MongoDB's draft 4 shares."""
    if not keywords:
        return None
    if isinstance(keywords.get("exclusiveMinimum"), bool) or isinstance(keywords.get("exclusiveMaximum"), bool):
        draft = "http://json-schema.org/draft-04/schema"  # as MongoDB spells them
    else:
        draft = "http://json-schema.org/draft-07/schema"
    try:
        validate = fastjsonschema.compile({"$schema": draft, **keywords}, detailed_exceptions=False)
    except Exception as error:  # the library raises its own errors, and those of regular expressions
        raise SchemaError(f"{where}: {', '.join(sorted(keywords))}: {error}") from None

    def check(value: Any) -> bool:
        try:
            validate(_plain(value))
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    return check


def _plain(value: Any) -> Any:
    """A decoded value as plain JSON; types that JSON lacks as in relaxed Extended JSON, decimals as numbers."""
    if isinstance(value, Decimal128):
        return float(value.to_decimal())
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


def _of_text(table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The JSON Schema in a text, such as the validator of a collection (`{ "$jsonSchema": ... }`)."""
    if len(table) > 1:
        raise SchemaError(f"{where}: json_schema must stand alone")
    try:
        found = json.loads(table["json_schema"])
    except (ValueError, TypeError) as error:
        raise SchemaError(f"{where}: json_schema is no JSON: {error}") from None
    if isinstance(found, dict) and found.keys() == {"$jsonSchema"}:
        found = found["$jsonSchema"]
    if not isinstance(found, dict):
        raise SchemaError(f"{where}: json_schema is no object")
    return found


def _of_columns(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The JSON Schema of typed columns."""
    columns = table["columns"]
    if not isinstance(columns, Mapping):
        raise SchemaError(f"{where}: columns must be a table of types by path")
    top: dict[str, Any] = {"properties": {}}
    for path, types in columns.items():
        node = _node(top, Path.parse(path).steps)
        node["bsonType"] = types
    for path in table.get("required", ()):
        steps = Path.parse(path).steps
        if not isinstance(steps[-1], str):
            raise SchemaError(f'{where}: required names a star: "{path}"')
        _node(top, steps[:-1]).setdefault("required", []).append(steps[-1])
    if "additionalProperties" in table:
        top["additionalProperties"] = table["additionalProperties"]
    return top


def _node(node: dict[str, Any], steps: Iterable[Step]) -> dict[str, Any]:
    """The schema at a path, made if it does not exist; `*` is an element of an array."""
    for step in steps:
        if step is ANY:
            node.setdefault("bsonType", "array")
            node = node.setdefault("items", {})
        else:
            node.setdefault("bsonType", "object")
            node = node.setdefault("properties", {}).setdefault(str(step), {})
    return node
