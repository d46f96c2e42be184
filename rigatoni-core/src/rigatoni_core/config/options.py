"""What a component's options are: read off its class, for `plugins show` and for READMEs."""

import enum
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import attrs

from rigatoni_core.contracts import Destination, Serializer, Source, StateStore
from rigatoni_core.options import ByteSize, Secret

KINDS: dict[type[Any], str] = {
    Source: "source",
    Destination: "destination",
    StateStore: "state",
    Serializer: "serializer",
}
"""The contracts that an option may be annotated with, and the kind of component that it is built from."""

_WORDS: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    Secret: "secret",
    ByteSize: "size in bytes",
    Any: "any value",
    type(None): "nothing",
    **KINDS,
}


@attrs.frozen
class Option:
    """One option of a component: how it is written, what it is by default (None: required) and what it means."""

    name: str
    type: str
    default: str | None
    meaning: str


def fields_of(cls: type[Any]) -> list["attrs.Attribute[Any]"]:
    """The attrs fields that are options: public and part of the constructor."""
    return [field for field in attrs.fields(cls) if field.init and not field.name.startswith("_")]


def options_of(cls: type[Any]) -> list[Option]:
    """The options of a component class, in the order in which it declares them."""
    hints = typing.get_type_hints(cls, include_extras=True)
    options = []
    for field in fields_of(cls):
        hint, meaning = hints.get(field.name, Any), ""
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
            meaning = " ".join(note for note in notes if isinstance(note, str))
        options.append(Option(field.name, in_words(hint), _default(field), meaning))
    return options


def in_words(hint: Any) -> str:
    """A type as a person would say it."""
    if hint in _WORDS:
        return _WORDS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return in_words(arguments[0])
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in arguments)
    if origin in (tuple, list):
        return f"list of {in_words(arguments[0])}"
    if origin is dict:
        return "table"
    if arguments:  # a union
        return " or ".join(in_words(argument) for argument in arguments if argument is not type(None))
    if attrs.has(hint):
        return "table"
    return getattr(hint, "__name__", str(hint))


def _default(field: "attrs.Attribute[Any]") -> str | None:
    if field.default is attrs.NOTHING:
        return None
    value: Any = field.default
    if hasattr(value, "factory"):
        if value.takes_self:
            return "depends on the others"
        value = value.factory()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    if value is None:
        return "none"
    return f'"{value}"' if isinstance(value, (str, Path)) else str(value)
