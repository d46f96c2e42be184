"""Components: how a plugin registers a class, under which name it is known, and how its options are recorded."""

import enum
import functools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module, metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from rigatoni_core.api._first_party import DISTRIBUTIONS
from rigatoni_core.api.options import Secret

if TYPE_CHECKING:
    AttrsField: TypeAlias = attrs.Attribute[Any]
else:
    AttrsField = attrs.Attribute  # which takes a parameter only in its stubs

GROUP = "rigatoni"
"""The entry-point group of plugins, and pluggy's project name."""

Kind = Literal["source", "destination", "state", "serializer", "transform", "listener", "command"]

KINDS: Mapping[Kind, tuple[str, str]] = {
    "source": ("rigatoni_sources", "Source"),
    "destination": ("rigatoni_destinations", "Destination"),
    "state": ("rigatoni_states", "StateStore"),
    "serializer": ("rigatoni_serializers", "Serializer"),
    "transform": ("rigatoni_transforms", "Transform"),
    "listener": ("rigatoni_listeners", "Listener"),
}
"""For each kind that hooks yield, the hook and the class in `rigatoni_core.api.contracts`.

A command is not among them: it has an entry point of its own (`rigatoni_core.api.commands`).
"""

MOST_COMPONENTS = 1000
"""Records that a plugin may yield for one kind: its hook may be a generator without an end."""


@attrs.frozen
class Component:
    """A named class that a plugin contributes, listed without importing it.

    `name` is what `type = "..."` says in a configuration; `load` imports and returns the class on first use;
    `summary` is one line for `rigatoni plugins list`.
    """

    name: str
    load: Callable[[], type[Any]]
    summary: str = ""


def component_name(cls: type[object]) -> str:
    """Return the name under which an installed plugin registers a class, as records on disk and messages say it.

    Works without a catalog: only the plugin modules of the class's own package are imported, which are light. The
    name does not depend on what else is installed.

    Args:
        cls: The class of a component.

    Returns:
        `json` for a component of this project, `acme/json` for one that the plugin `acme` registers. The path of the
        class (`class_path`) if no plugin registers it.
    """
    if cls not in _names:
        _names[cls] = _registered_name(cls) or class_path(cls)
    return _names[cls]


_names: dict[type[object], str] = {}


def class_path(cls: type[object]) -> str:
    """Return how records of version 0.1.0 name a component: its top package and the name of its class."""
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def fields_of(cls: type[Any]) -> list[AttrsField]:
    """Return the attrs fields of a component that are its options: public and part of the constructor."""
    return [field for field in attrs.fields(cls) if field.init and not field.name.startswith("_")]


def key_of(field: AttrsField) -> str:
    """Return the key under which a configuration gives a field.

    Args:
        field: A field of an attrs class.
    """
    return field.alias or field.name


def described(
    component: object, *, defaults: bool = True, name: Callable[[type[Any]], str] = component_name
) -> dict[str, Any]:
    """Return a component as plain JSON values: its name under `type`, and its options without secrets.

    Args:
        component: An attrs object; the components among its options are described likewise.
        defaults: Whether to include options that are at their defaults.
        name: What to call a class.
    """
    kind = type(component)
    record: dict[str, Any] = {"type": name(kind)}
    hints = _hints(kind) if attrs.has(kind) else {}
    for field in fields_of(kind) if attrs.has(kind) else ():
        value = getattr(component, field.name)
        if not _is_secret(hints.get(field.name)) and (defaults or value != _default(field)):
            record[field.name] = _plain(value, functools.partial(described, defaults=defaults, name=name))
    return record


def _registered_name(cls: type[object]) -> str | None:
    package = cls.__module__.partition(".")[0]
    for entry in metadata.entry_points(group=GROUP):
        if entry.module.partition(".")[0] != package:
            continue
        for kind, component in _registrations(entry, cls):
            ours = entry.dist is not None and entry.dist.name == DISTRIBUTIONS.get((kind, component.name))
            return component.name if ours else f"{entry.name}/{component.name}"
    return None


def kinds_of(cls: type[object]) -> list[Kind]:
    """Return the kinds of component that a class is, by the contracts that it derives from."""
    contracts = import_module("rigatoni_core.api.contracts")
    return [kind for kind, (_, contract) in KINDS.items() if issubclass(cls, getattr(contracts, contract))]


def _registrations(entry: metadata.EntryPoint, cls: type[object]) -> Iterator[tuple[Kind, Component]]:
    """Return the records that register the class. The catalog reports errors of plugins."""
    for kind in kinds_of(cls):
        with suppress(Exception):
            for component in islice(getattr(entry.load(), KINDS[kind][0])(), MOST_COMPONENTS):
                with suppress(Exception):  # another component of the plugin needs a library that is not installed
                    if component.load() is cls:
                        yield kind, component


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _default(field: AttrsField) -> Any:
    default: Any = field.default
    if isinstance(default, attrs.Factory) and not default.takes_self:  # type: ignore[arg-type]
        return default.factory()
    return default


def _is_secret(hint: Any) -> bool:
    return hint is Secret or any(map(_is_secret, typing.get_args(hint)))


def _plain(value: object, describe: Callable[[object], dict[str, Any]]) -> Any:
    match value:
        case enum.Enum():
            return value.name
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(item, describe) for key, item in value.items()}
        case Sequence() | set() | frozenset():
            items = value if isinstance(value, Sequence) else sorted(value, key=repr)
            return [_plain(item, describe) for item in items]
        case _:
            return describe(value)
