"""TOML values become attrs classes: nothing is coerced in silence, and every fault has its key path."""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from rigatoni_core.catalog import Catalog
from rigatoni_core.config.options import KINDS, fields_of, in_words
from rigatoni_core.errors import RigatoniError
from rigatoni_core.options import ByteSize, Secret, parse_size


class Structuring:
    """Builds components from tables. `warnings` gathers what is allowed but unwise."""

    def __init__(self, catalog: Catalog) -> None:
        self.warnings: list[str] = []
        self._catalog = catalog
        self._converter = converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
        for kind in (str, int, float, bool):
            converter.register_structure_hook(kind, _plain)
        converter.register_structure_hook(ByteSize, _size)
        converter.register_structure_hook(Path, _path)
        converter.register_structure_hook(Secret, self._secret)
        converter.register_structure_hook_func(lambda hint: _origin(hint) is Literal, _choice)
        converter.register_structure_hook_func(lambda hint: _origin(hint) is dict, _table)
        converter.register_structure_hook_factory(lambda hint: _origin(hint) in (tuple, list), self._sequence)
        converter.register_structure_hook_func(
            lambda hint: any(hint is contract for contract in KINDS), self._component
        )

    def build(self, value: Any, hint: Any, path: str, faults: list[str]) -> Any:
        """The value as `hint` says; None where there are faults, which are added with their key paths."""
        try:
            return self._converter.structure(value, hint)
        except Exception as error:
            faults += list(_faults(error, path))
            return None

    def _component(self, value: Any, contract: Any) -> Any:
        kind: Any = KINDS[contract]
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise _Fault(f'a {kind} is written as a table with its type: {{ type = "..." }}', "type")
        try:
            cls = self._catalog.get(kind, value["type"])
        except RigatoniError as error:
            raise _Fault(f"{error}. {error.remedy}".rstrip(), "type") from None
        return self._converter.structure({key: item for key, item in value.items() if key != "type"}, cls)

    def _secret(self, value: Any, _: Any) -> Secret:
        if isinstance(value, str):
            if re.search(r"://[^/@:]*:[^/@]+@", value):
                self.warnings.append('a password stands in the file: better { env = "..." } or { file = "..." }')
            return Secret(value, "the file")
        if not isinstance(value, dict) or len(value) != 1 or set(value) - {"env", "file"}:
            raise _Fault('a secret is written as { env = "VARIABLE" }, { file = "path" } or a text')
        ((where, name),) = value.items()
        if not isinstance(name, str):
            raise _Fault(f"{where} of a secret is a text")
        if where == "env":
            if name not in os.environ:
                raise _Fault(f"the environment variable {name} is not set")
            return Secret(os.environ[name], f"${name}")
        try:
            return Secret(Path(name).read_text(encoding="utf-8").rstrip("\r\n"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise _Fault(f"the secret's file {name} can not be read: {type(error).__name__}") from None

    def _sequence(self, hint: Any) -> Callable[[Any, Any], Any]:
        origin, item = get_origin(hint), get_args(hint)[0]

        def structure(values: Any, _: Any) -> Any:
            if not isinstance(values, list):
                raise _Fault(f"must be a {in_words(hint)}, not {_shown(values)}")
            built, errors = [], []
            for index, value in enumerate(values):
                try:
                    built.append(self._converter.structure(value, item))
                except Exception as error:
                    error.add_note(IterableValidationNote(f"item {index}", index, item))
                    errors.append(error)
            if errors:
                raise IterableValidationError("several items", errors, hint)
            return origin(built)

        return structure


class _Fault(ValueError):
    """A message for people, about `key` below the value where it was found."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def _origin(hint: Any) -> Any:
    return get_origin(hint)


def _shown(value: Any) -> str:
    """What stands there, by its type only: a value may be a secret in the wrong place."""
    return in_words(type(value)) if type(value) in (str, int, float, bool) else f"a {type(value).__name__}"


def _plain(value: Any, hint: Any) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise _Fault(f"must be {in_words(hint)}, not {_shown(value)}")
    return value


def _size(value: Any, _: Any) -> ByteSize:
    if isinstance(value, str):
        return parse_size(value)
    if type(value) is not int:
        raise _Fault(f'must be a size such as 1048576 or "1 MiB", not {_shown(value)}')
    return ByteSize(value)


def _path(value: Any, _: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise _Fault(f"must be a path, not {_shown(value) if value else 'an empty text'}")
    return Path(value)


def _choice(value: Any, hint: Any) -> Any:
    if value in get_args(hint):
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in get_args(hint)], n=1)
    raise _Fault(f"must be {in_words(hint)}" + (f'; did you mean "{near[0]}"?' if near else ""))


def _table(value: Any, _: Any) -> Any:
    if not isinstance(value, dict):
        raise _Fault(f"must be a table, not {_shown(value)}")
    return value


def _faults(error: BaseException, path: str) -> Iterator[str]:
    """Every fault inside, each with its key path."""
    if isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield f"{path}.{key}: unknown key{nearest(key, [field.name for field in fields_of(error.cl)])}"
    elif isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _faults(inner, path + _step(inner))
    elif isinstance(error, KeyError):
        yield f"{path}: is missing"
    elif isinstance(error, _Fault):
        yield f"{path}{'.' + error.key if error.key else ''}: {error}"
    else:
        yield f"{path}: {error}"


def _step(error: BaseException) -> str:
    """The key or index under which the error was found, if it was found under one."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}"
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
    return ""


def nearest(key: str, valid: Sequence[str]) -> str:
    """`; did you mean "..."?`, or the valid names, after an unknown key."""
    near = difflib.get_close_matches(key, valid, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are: {', '.join(valid) or 'none'}"
