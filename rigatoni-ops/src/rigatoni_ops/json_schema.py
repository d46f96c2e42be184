"""The JSON Schema of a pipeline's file, built from the installed components, for completion and checks in editors.

Draft 7, in the subset that editors of TOML understand. It describes single options; `rigatoni validate` also
checks rules between options.
"""

import enum
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from rigatoni_core.api.components import Kind, fields_of, key_of
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.options import DURATIONS, SIZES, ByteSize, Seconds, Secret
from rigatoni_core.config import CONTRACTS, Catalog, PipelineTable, Plugin, PluginLists, Provided, bare, help_of


def _quantity(units: Iterable[str]) -> dict[str, str]:
    """Return the schema of a text such as `"8 MiB"`, with one of these units."""
    return {"type": "string", "pattern": rf"^\s*\d+(\.\d+)?\s*({'|'.join(units)})\s*$"}


_TEXT = {"type": "string"}
_SIMPLE: Mapping[Any, Mapping[str, Any]] = {
    str: _TEXT,
    Path: _TEXT,
    datetime: _TEXT,
    date: _TEXT,
    time: _TEXT,
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Any: {},
    object: {},
    ByteSize: {"anyOf": [{"type": "integer", "minimum": 0}, _quantity(SIZES)]},
    Seconds: {"anyOf": [{"type": "number"}, _quantity(DURATIONS)]},
    Secret: {
        "anyOf": [
            _TEXT,
            *(
                {"type": "object", "properties": {key: _TEXT}, "required": [key], "additionalProperties": False}
                for key in ("env", "file")
            ),
        ]
    },
}
_NAMES = {"type": "array", "items": _TEXT}
_PLUGINS = {
    "type": "object",
    "properties": {key_of(each): _NAMES for each in fields_of(PluginLists)},
    "additionalProperties": False,
}


def schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema of a file for the components of this catalog, except those that cannot be loaded."""
    table = {"$ref": "#/definitions/pipeline"}
    several = {"type": "array", "items": table}
    loose = {"type": ["object", "array"]}  # missing keys may be set in the defaults: only `validate` knows
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Pipelines of Rigatoni",
        "oneOf": [
            _document(["pipeline"], pipeline={"anyOf": [table, several]}),
            _document(["pipeline", "defaults"], pipeline=loose, defaults={"type": "object"}),
        ],
        "definitions": {
            "pipeline": _table(PipelineTable),
            **{kind: _kind(catalog, kind) for kind in CONTRACTS.values()},
        },
    }


def _document(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**properties, "plugins": _PLUGINS},
        "required": required,
        "additionalProperties": False,
    }


def _kind(catalog: Catalog, kind: Kind) -> dict[str, Any]:
    """Return the schema of any component of this kind."""
    choices = []
    for plugin, provided in catalog.provided(kind):
        try:
            cls = catalog.get(kind, f"{plugin.distribution}/{provided.name}")
        except RigatoniError:
            continue
        choices.append(_component(cls, provided, _names(catalog, kind, plugin, provided)))
    return {"oneOf": choices} if choices else {"type": "object"}


def _names(catalog: Catalog, kind: Kind, plugin: Plugin, provided: Provided) -> list[str]:
    """Return the values of `type`: the name with its plugin, and alone if no other plugin uses it."""
    alike = [other for _, other in catalog.provided(kind) if other.name == provided.name]
    return [*([provided.name] if len(alike) == 1 else []), f"{plugin.name}/{provided.name}"]


def _component(cls: type[Any], provided: Provided, names: list[str]) -> dict[str, Any]:
    table = _table(cls)
    return {
        **table,
        "title": f"{provided.kind} {provided.name}",
        "description": provided.summary,
        "properties": {"type": {"enum": names, "description": provided.summary}, **table["properties"]},
        "required": ["type", *table.get("required", [])],
    }


def _table(cls: type[Any]) -> dict[str, Any]:
    """Return the schema of a table with the public fields of an attrs class."""
    hints = typing.get_type_hints(cls, include_extras=True)
    properties, required = {}, []
    for field in fields_of(cls):
        hint = hints.get(field.name, Any)
        properties[key_of(field)] = {**_schema_of(hint), **_notes(field, help_of(hint))}
        if field.default is attrs.NOTHING:
            required.append(key_of(field))
    table = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**table, "required": required} if required else table


def _notes(field: "attrs.Attribute[Any]", meaning: str) -> dict[str, Any]:
    """Return help and default of an option; a default only if TOML can express it."""
    notes = {"description": meaning} if meaning else {}
    if isinstance(field.default, (str, int, float)):
        return {**notes, "default": field.default}
    return notes


def _schema_of(hint: Any) -> dict[str, Any]:
    """Return the schema of one value."""
    hint = bare(hint)
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    if hint in CONTRACTS:
        return {"$ref": f"#/definitions/{CONTRACTS[hint]}"}
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (tuple, list, Sequence):
        return {"type": "array", "items": _schema_of(arguments[0]) if arguments else {}}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema_of(arguments[1]) if arguments else True}
    if origin in (Union, types.UnionType):
        members = [_schema_of(member) for member in arguments if member is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    return _table(hint) if attrs.has(hint) else {}
