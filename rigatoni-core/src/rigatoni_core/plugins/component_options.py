"""A component's options, read from its class for `plugins show`, READMEs and messages."""

import enum
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs

from rigatoni_core.api.components import Kind, fields_of, key_of
from rigatoni_core.api.contracts import Destination, Listener, Serializer, Source, StateStore, Transform
from rigatoni_core.api.options import DURATIONS, SIZES, ByteSize, Seconds, Secret

CONTRACTS: Mapping[Any, Kind] = {
    Source: "source",
    Destination: "destination",
    StateStore: "state",
    Serializer: "serializer",
    Transform: "transform",
    Listener: "listener",
}
"""The contracts that an option may be annotated with, and the kind of component for each."""

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    datetime: "date and time",
    date: "date",
    time: "time",
    Path: "path",
    Secret: "secret",
    ByteSize: "size",
    Seconds: "duration",
    Any: "any value",
    object: "any value",
    **CONTRACTS,
}

_UNITS: Mapping[Any, Mapping[str, float]] = {ByteSize: SIZES, Seconds: DURATIONS}


@attrs.frozen
class Option:
    """One option of a component: its key, type, default (None: required) and meaning."""

    name: str
    type: str
    default: str | None
    meaning: str


def options_of(cls: type[Any]) -> list[Option]:
    """Return the options of a component class, in order of declaration."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return [
        Option(
            key_of(field),
            words_of(hints.get(field.name, Any)),
            _default(field, hints.get(field.name, Any)),
            help_of(hints.get(field.name)),
        )
        for field in fields_of(cls)
    ]


def bare(hint: Any) -> Any:
    """Return the type without its help text; `Seconds` remains itself."""
    if get_origin(hint) is not Annotated:
        return hint
    return Seconds if timedelta in get_args(hint) else get_args(hint)[0]


def help_of(hint: Any) -> str:
    """Return the help text of `Annotated[type, "text"]`; empty if there is none."""
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((note for note in notes if isinstance(note, str)), "")


def words_of(hint: Any) -> str:
    """Return a type in words."""
    hint = bare(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return " or ".join(spelled_value(value) for value in arguments)
    if origin in (tuple, list, Sequence):
        return f"list of {words_of(arguments[0])}" if arguments else "list"
    if origin in (dict, Mapping) or attrs.has(origin):
        return "table"
    if origin in (Union, types.UnionType):
        return " or ".join(words_of(member) for member in arguments if member is not type(None))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(spelled_value(member.value) for member in hint)
    return getattr(hint, "__name__", str(hint))


def _default(field: "attrs.Attribute[Any]", hint: Any) -> str | None:
    default: Any = field.default
    if default is attrs.NOTHING:
        return None
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            return "computed"
        default = default.factory()
    units = _UNITS.get(bare(hint), {}) if default else {}
    for name, unit in sorted(units.items(), key=lambda item: -item[1]):
        if name and (count := Fraction(str(default)) / Fraction(str(unit))).denominator == 1:
            return f'"{count} {name}"'
    return spelled_value(default)


def spelled_key(key: str) -> str:
    """Return a key in TOML syntax."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def spelled_value(value: Any) -> str:
    """Return a value in TOML syntax; a class by its name."""
    if isinstance(value, enum.Enum):
        return spelled_value(value.value)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False)  # TOML's basic strings know the same escapes
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(spelled_value, value))}]"
    if isinstance(value, Mapping):
        items = ", ".join(f"{spelled_key(key)} = {spelled_value(item)}" for key, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    return str(value) if isinstance(value, (int, float)) else type(value).__name__
