"""TOML values become attrs classes: nothing is coerced in silence, and every fault has its key path."""

import difflib
import os
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from rigatoni_core.catalog import Catalog, printable
from rigatoni_core.config.options import KINDS, fields_of, in_words
from rigatoni_core.errors import RigatoniError
from rigatoni_core.options import ByteSize, Secret, parse_size

PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s]+(?=@)")
"""A password inside a URI, after group 1."""

_Hook = Callable[[Any, Any], Any]


class Structuring:
    """Builds components and settings from tables."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._revealed: list[str] = []
        self._converter = converter = cattrs.Converter(detailed_validation=True)
        converter.register_structure_hook_factory(attrs.has, self._class)
        converter.register_structure_hook_func(  # by identity: the classes that implement them are built as tables
            lambda hint: any(hint is contract for contract in KINDS), self._component
        )
        converter.register_structure_hook_factory(_is(tuple, list, Sequence), self._sequence)
        converter.register_structure_hook_factory(_is(dict, Mapping), self._table)
        converter.register_structure_hook_factory(_is(Union, UnionType), self._union)
        converter.register_structure_hook_func(_is(Literal), _choice)
        for kind in (str, int, float, bool):
            converter.register_structure_hook(kind, _plain)
        converter.register_structure_hook(ByteSize, _size)
        converter.register_structure_hook(Path, _path)
        converter.register_structure_hook(Secret, self._secret)

    def build(self, value: Any, hint: Any, path: str, faults: list[str]) -> Any:
        """The value as `hint` says; None where there are faults, which are added with their key paths."""
        try:
            return self._converter.structure(value, hint)
        except Exception as error:
            faults += _faults(error, path)
            return None

    def redacted(self, text: str) -> str:
        """The text without any secret that was read, and without any password that stood in the wrong place."""
        for secret in sorted(self._revealed, key=len, reverse=True):
            text = text.replace(secret, "***")
        return PASSWORD.sub(r"\1***", text)

    def _class(self, cls: Any) -> _Hook:
        structure = make_dict_structure_fn(
            cls, self._converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
        )

        def checked(value: Any, hint: Any) -> Any:
            _expect_table(value)
            return structure(value, hint)

        return checked

    def _component(self, value: Any, contract: Any) -> Any:
        kind: Any = KINDS[contract]
        if not isinstance(value, dict):
            raise _Fault(f'must be a table with the type of the {kind}, such as {{ type = "..." }}')
        if not isinstance(value.get("type"), str):
            raise _Fault(f"{'must be a text' if 'type' in value else 'is missing'}: it names the {kind}", "type")
        try:
            cls = self._catalog.get(kind, value["type"])
        except RigatoniError as error:
            raise _Fault(f"{error}. {error.remedy}".rstrip(), "type") from None
        return self._converter.structure({key: item for key, item in value.items() if key != "type"}, cls)

    def _secret(self, value: Any, _: Any) -> Secret:
        """A secret, remembered for `redacted`. Trailing line ends of a secret's file do not count."""
        if isinstance(value, str):
            return self._remembered(value, "the configuration")
        if not isinstance(value, dict) or len(value) != 1 or set(value) - {"env", "file"}:
            raise _Fault('a secret is written as { env = "VARIABLE" }, { file = "path" } or a text')
        ((where, name),) = value.items()
        if not isinstance(name, str) or not name:
            raise _Fault(f"{where} of a secret is a text")
        if where == "env":
            if not os.environ.get(name):
                raise _Fault(f"the environment variable {name} is {'empty' if name in os.environ else 'not set'}")
            return self._remembered(os.environ[name], f"the environment variable {name}")
        try:
            text = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise _Fault(f"the secret's file {name} can not be read: {type(error).__name__}") from None
        if not text:
            raise _Fault(f"the secret's file {name} is empty")
        return self._remembered(text, f"the file {name}")

    def _remembered(self, value: str, origin: str) -> Secret:
        if len(value) > 3:  # shorter ones would blank out half of every message
            self._revealed.append(value)
        return Secret(value, origin)

    def _sequence(self, hint: Any) -> _Hook:
        origin, items = typing.get_origin(hint) or hint, get_args(hint)
        item, build = items[0] if items else Any, list if origin is list else tuple

        def structure(values: Any, _: Any) -> Any:
            if not isinstance(values, list):
                raise _Fault(f"must be a list, not {_shown(values)}")
            return build(self._each(enumerate(values), item, hint))

        return structure

    def _table(self, hint: Any) -> _Hook:
        item = (*get_args(hint), Any, Any)[1]

        def structure(values: Any, _: Any) -> Any:
            _expect_table(values)
            return dict(zip(values, self._each(values.items(), item, hint), strict=True))

        return structure

    def _each(self, pairs: Any, item: Any, hint: Any) -> list[Any]:
        """Every value as `item` says; all faults together, each noted with its index or key."""
        built: list[Any] = []
        errors: list[Exception] = []
        for index, value in pairs:
            try:
                built.append(self._converter.structure(value, item))
            except Exception as error:
                error.add_note(IterableValidationNote("item", index, item))
                errors.append(error)
        if errors:
            raise IterableValidationError("several items", errors, hint)
        return built

    def _union(self, hint: Any) -> _Hook:
        """The first alternative that fits; TOML has no value for None, so leaving the key out is how to say it."""
        choices = [choice for choice in get_args(hint) if choice is not type(None)]

        def structure(value: Any, _: Any) -> Any:
            for choice in choices[:-1]:
                try:
                    return self._converter.structure(value, choice)
                except Exception:  # noqa: S112 - the next alternative may fit
                    continue
            return self._converter.structure(value, choices[-1])

        return structure


class _Fault(ValueError):
    """A message for people, about `key` below the value where it was found."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def _is(*origins: Any) -> Callable[[Any], bool]:
    return lambda hint: hint in origins or typing.get_origin(hint) in origins


def _shown(value: Any) -> str:
    """What stands there, by its type only: a value may be a secret in the wrong place."""
    names: dict[Any, str] = {dict: "a table", list: "a list"}
    return names.get(type(value)) or in_words(type(value))


def _expect_table(value: Any) -> None:
    if not isinstance(value, dict):
        raise _Fault(f"must be a table, not {_shown(value)}")


def _plain(value: Any, hint: Any) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise _Fault(f"must be {in_words(hint)}, not {_shown(value)}")
    if hint is float and value != value:  # NaN
        raise _Fault("must be a number, not nan")
    return value


def _size(value: Any, _: Any) -> ByteSize:
    if isinstance(value, str):
        return parse_size(value)
    if type(value) is not int:
        raise _Fault(f'must be a size such as 1048576 or "1 MiB", not {_shown(value)}')
    return ByteSize(value)


def _path(value: Any, _: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _Fault(
            f"must be a path, not {_shown(value) if not isinstance(value, str) else 'an empty or broken text'}"
        )
    return Path(value)


def _choice(value: Any, hint: Any) -> Any:
    for choice in get_args(hint):
        if choice == value and type(choice) is type(value):
            return choice
    near = difflib.get_close_matches(str(value), [str(choice) for choice in get_args(hint)], n=1)
    raise _Fault(f"must be {in_words(hint)}" + (f'; did you mean "{near[0]}"?' if near else ""))


def _faults(error: BaseException, path: str) -> Iterator[str]:
    """Every fault inside, each with its key path."""
    if isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield f"{path}.{key}: unknown key{nearest(key, [field.name for field in fields_of(error.cl)])}"
    elif isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _faults(inner, path + _step(inner))
    elif isinstance(error, KeyError) and _step(error):
        yield f"{path}: is missing"
    elif isinstance(error, _Fault):
        yield f"{path}{'.' + error.key if error.key else ''}: {error}"
    else:
        yield f"{path}: {printable(_said(error), 500)}"


def _said(error: BaseException) -> str:
    """A constructor raises ValueError for people; anything else also needs its type to be understood."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _step(error: BaseException) -> str:
    """The key or index under which the error was found, if it was found under one."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}"
        if isinstance(note, IterableValidationNote):
            return f".{note.index}" if isinstance(note.index, str) else f"[{note.index}]"
    return ""


def nearest(key: str, valid: Sequence[str]) -> str:
    """`; did you mean "..."?`, or the valid names, after an unknown key."""
    near = difflib.get_close_matches(key, valid, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are: {', '.join(valid) or 'none'}"
