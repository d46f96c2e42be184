"""Writes a pipeline's file from the options of its components, each with its help and default."""

import textwrap
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import attrs
from rigatoni_core.api.components import Kind, fields_of, key_of
from rigatoni_core.api.options import RECOMMENDED, Secret
from rigatoni_core.config import (
    CONTRACTS,
    CORE,
    Catalog,
    CliValue,
    KeyPath,
    PipelineTable,
    bare,
    help_of,
    options_of,
    spelled,
    spelled_value,
    words_of,
)

HEAD = """\
# A pipeline of Rigatoni. A line such as "#batch_size = ..." shows a default: remove the sign to change it.
# rigatoni validate FILE checks it; rigatoni plugins show NAME explains a component.
"""


@attrs.frozen
class Missing:
    """A required option: its key path and its help."""

    path: KeyPath
    hint: Any
    meaning: str

    @property
    def key(self) -> str:
        """The key path below `[pipeline]` in TOML syntax."""
        return spelled(self.path)

    @property
    def is_path(self) -> bool:
        """Whether the option is a path."""
        return bare(self.hint) is Path

    def choices(self, catalog: Catalog) -> list[str]:
        """The installed components to choose from, those of plugins first; empty for a plain option."""
        kind = _kind(self.hint)
        found = sorted(catalog.provided(kind), key=lambda each: each[0].distribution == CORE) if kind else []
        return list(dict.fromkeys(provided.name for _, provided in found))

    def read(self, answer: str) -> Any:
        """Convert typed text to a value. See `CliValue`."""
        return CliValue(answer).meant_as(self.hint)


class Writer:
    """Collects the values of a file, then writes it.

    `types` maps a key path (`("destination", "serializer")`) to its component, `values` holds the options that are
    given. A secret that is not given is read from an environment variable.
    """

    def __init__(self, catalog: Catalog, types: Mapping[KeyPath, str], values: Mapping[KeyPath, Any]) -> None:
        self._catalog = catalog
        self._types = types
        self._values = values

    def missing(self) -> list[Missing]:
        """Return the required options without a value, and the components not chosen yet."""
        return list(self._missing(PipelineTable, ()))

    def text(self, name: str) -> str:
        """Return the file's text; `name` is the file's. Call it when nothing is missing."""
        return "\n".join([HEAD.replace("FILE", name), *self._table(PipelineTable, ("pipeline",))])

    def _missing(self, cls: type[Any], path: KeyPath) -> Iterator[Missing]:
        for field, hint in _fields(cls):
            here = (*path, key_of(field))
            if kind := _kind(hint):
                if here in self._types:
                    yield from self._missing(self._class(kind, here), here)
                elif field.default is attrs.NOTHING:
                    yield Missing(here, hint, help_of(hint))
            elif field.default is attrs.NOTHING and here not in self._values and bare(hint) is not Secret:
                yield Missing(here, hint, help_of(hint))

    def _table(self, cls: type[Any], path: KeyPath) -> Iterator[str]:
        """Yield the lines of one table, then those of the tables in it."""
        below: list[str] = []
        yield f"[{spelled(path)}]"
        if path[1:] in self._types:
            yield f'type = "{self._types[path[1:]]}"'
        written = {option.name: option for option in options_of(cls)}
        for field, hint in _fields(cls):
            here, option = (*path, key_of(field)), written[key_of(field)]
            if (kind := _kind(hint)) and here[1:] in self._types:
                below += ["", *self._table(self._class(kind, here[1:]), here)]
            elif attrs.has(bare(hint)) and bare(hint) is not Secret:
                below += ["", f"# {option.meaning}", *self._table(bare(hint), here)]
            elif kind or _is_list_of_components(hint):
                table = f"[[{spelled(here)}]]" if _is_list_of_components(hint) else f"[{spelled(here)}]"
                below += ["", *_comment(option.meaning), f"# {table}"]
            else:
                yield from _comment(option.meaning)
                yield self._line(here, hint, option.default, field.metadata.get(RECOMMENDED))
        yield from below

    def _line(self, path: KeyPath, hint: Any, default: str | None, recommended: Any) -> str:
        key = spelled(path[-1:])
        if path[1:] in self._values:
            value = self._values[path[1:]]
            return f"{key} = {spelled_value(value.meant_as(hint) if isinstance(value, CliValue) else value)}"
        if recommended is not None:
            return f"{key} = {spelled_value(recommended)}"
        if default is None and bare(hint) is Secret:
            return f'{key} = {{ env = "{variable(path, self._types)}" }}'
        return f"#{key} = {default}" if default != "none" else f"#{key} =    ({words_of(hint)})"

    def _class(self, kind: Kind, path: KeyPath) -> type[Any]:
        cls: type[Any] = self._catalog.get(kind, self._types[path])
        return cls


def variable(path: KeyPath, types: Mapping[KeyPath, str]) -> str:
    """Return the default environment variable of a secret, such as MONGODB_URI."""
    component = types.get(tuple(step for step in path[1:-1]), "rigatoni").rpartition("/")[2]
    return f"{component}_{path[-1]}".upper().replace("-", "_").replace(".", "_")


def _fields(cls: type[Any]) -> Iterator[tuple["attrs.Attribute[Any]", Any]]:
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in sorted(fields_of(cls), key=lambda field: field.default is not attrs.NOTHING):
        yield field, hints.get(field.name, Any)


def _kind(hint: Any) -> Kind | None:
    """Return the kind of component that an option holds; also for optional ones."""
    hint = bare(hint)
    return next((CONTRACTS[member] for member in (hint, *get_args(hint)) if member in CONTRACTS), None)


def _is_list_of_components(hint: Any) -> bool:
    return _kind(hint) is not None and typing.get_origin(bare(hint)) is tuple


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ")
