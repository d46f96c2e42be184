"""Converts TOML values to attrs classes: without silent coercion, and reporting all errors together."""

import enum
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)

from rigatoni_core.api.components import fields_of, key_of
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.options import ByteSize, Seconds, Secret, parse_duration, parse_size
from rigatoni_core.config.cli_values import CliValue
from rigatoni_core.config.faults import Refused, in_words, nearest
from rigatoni_core.config.paths import PathBase
from rigatoni_core.config.secrets import Redaction, read_secret
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_core.plugins.component_options import CONTRACTS, bare, help_of, words_of


class Structuring:
    """Builds values, attrs classes and components from TOML. Raises `Refused`, or cattrs' tree of them.

    An attrs class may have a function `conflicts`: it gets the fields that could be built and yields a `Refused` for
    each conflict between them, so that these are reported together with all other errors.

    `elsewhere` maps keys to the table that they belong to, for hints. Relative paths
    start at `folder`, those in a `CliValue` at the working directory.
    """

    def __init__(self, catalog: Catalog, redaction: Redaction, elsewhere: Mapping[str, str], folder: Path) -> None:
        self._catalog = catalog
        self._elsewhere = elsewhere
        self._paths = PathBase(folder)
        self._converter = converter = cattrs.Converter(detailed_validation=True)
        converter.register_structure_hook_func(attrs.has, self._class)
        converter.register_structure_hook_func(lambda hint: hint in (Any, object), lambda value, _: value)
        for kind in (str, int, float, bool, datetime, date, time):
            converter.register_structure_hook(kind, _plain)
        converter.register_structure_hook(ByteSize, _size)
        converter.register_structure_hook_func(lambda hint: hint == Seconds, _duration)
        converter.register_structure_hook(Path, self._path)
        converter.register_structure_hook(Secret, lambda value, _: read_secret(value, redaction, self._paths.resolve))
        converter.register_structure_hook_func(_is_enum, _member)
        converter.register_structure_hook_func(_is(Literal), _choice)
        converter.register_structure_hook_func(_is(dict, Mapping), self._table)
        converter.register_structure_hook_func(_is(tuple, list, Sequence), self._list)
        converter.register_structure_hook_func(_is(Union, types.UnionType), self._union)
        converter.register_structure_hook_func(lambda hint: hint in CONTRACTS, self._component)

    def build(self, value: Any, hint: Any) -> Any:
        """Convert a value to the type hint."""
        if not isinstance(value, CliValue):
            return self._converter.structure(value, bare(hint))
        of_file, self._paths = self._paths, PathBase()
        try:
            return self._converter.structure(value.meant_as(hint), bare(hint))
        finally:
            self._paths = of_file

    def _class(self, table: Any, cls: type[Any]) -> Any:
        """Build an attrs class. Its fields are checked one by one, so that every error is found."""
        if not isinstance(table, dict):
            raise Refused(f"must be a table, not {_shown(table)}")
        fields = {key_of(field): field for field in fields_of(cls)}
        hints = typing.get_type_hints(cls, include_extras=True)
        errors = [_at(key, self._unknown(key, fields), cls) for key in table if key not in fields]
        arguments: dict[str, Any] = {}
        for key, field in fields.items():
            if key in table:
                try:
                    arguments[key] = self.build(table[key], hints.get(field.name, Any))
                    _validate(cls, field, arguments[key])
                except Exception as error:
                    errors.append(_at(key, error, cls))
            elif isinstance(field.default, Path):
                arguments[key] = self._paths.folder / field.default
            elif field.default is attrs.NOTHING:
                errors.append(_at(key, Refused(f"is missing: {help_of(hints.get(field.name))}".rstrip(": ")), cls))
        if find_conflicts := getattr(cls, "conflicts", None):
            errors += find_conflicts(arguments)
        if errors:
            raise ClassValidationError(f"{cls.__name__} has faults", errors, cls)
        try:
            return cls(**arguments)
        except (ValueError, TypeError, RigatoniError) as error:
            raise Refused(in_words(error)) from error
        except Exception as error:
            raise Refused(
                f"{cls.__name__} does not accept these options: {error!r}. Report this to the author of its plugin"
            ) from error

    def _unknown(self, key: str, known: Mapping[str, Any]) -> Refused:
        if key in self._elsewhere:
            return Refused(f"unknown key here; it belongs to [{self._elsewhere[key]}]")
        listed = f"; known are {', '.join(known)}" if known else "; there are none"
        return Refused(f"unknown key{nearest(key, known) or listed}")

    def _component(self, table: Any, contract: Any) -> Any:
        """Build the component that `{ type = "...", ...options }` describes."""
        kind = CONTRACTS[contract]
        if isinstance(table, str):
            raise Refused(f'must be a table: write {{ type = "{table}" }}')
        if not isinstance(table, dict):
            raise Refused(f'must be a table such as {{ type = "..." }}, not {_shown(table)}')
        if not isinstance(table.get("type"), str):
            found = f"must be text, not {_shown(table['type'])}" if "type" in table else "is missing"
            names = ", ".join(sorted({provided.name for _, provided in self._catalog.provided(kind)}))
            raise Refused(f"{found}: it selects the {kind}; installed: {names or 'none'}", "type")
        try:
            cls = self._catalog.get(kind, table["type"])
        except RigatoniError as error:
            raise Refused(in_words(error), "type") from error
        return self.build({key: value for key, value in table.items() if key != "type"}, cls)

    def _path(self, value: Any, _: Any) -> Path:
        if not isinstance(value, str):
            raise Refused(f"must be a path, not {_shown(value)}")
        return self._paths.resolve(value)

    def _table(self, table: Any, hint: Any) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise Refused(f"must be a table, not {_shown(table)}")
        _, item = get_args(hint) or (str, Any)
        return self._each(table, item, hint)

    def _list(self, values: Any, hint: Any) -> Any:
        item = (get_args(hint) or (Any,))[0]
        if isinstance(values, dict) and item in CONTRACTS:
            raise Refused("must be a list of tables: write its header in double brackets, [[...]]")
        if not isinstance(values, list):
            quoted = f", such as [{values!r}]".replace("'", '"') if isinstance(values, str) and len(values) < 40 else ""
            raise Refused(f"must be a {words_of(hint)}{'' if '://' in quoted else quoted}, not {_shown(values)}")
        built = self._each(dict(enumerate(values)), item, hint).values()
        return list(built) if get_origin(hint) is list else tuple(built)

    def _each(self, items: Mapping[Any, Any], hint: Any, whole: Any) -> dict[Any, Any]:
        built, errors = {}, []
        for key, value in items.items():
            try:
                built[key] = self.build(value, hint)
            except Exception as error:
                error.add_note(IterableValidationNote(f"at {key}", key, hint))
                errors.append(error)
        if errors:
            raise IterableValidationError("some items have faults", errors, whole)
        return built

    def _union(self, value: Any, hint: Any) -> Any:
        """Convert to the first member that accepts the value; TOML has no null, so None is only a default."""
        members = [member for member in get_args(hint) if member is not type(None)]
        errors: list[Exception] = []
        for member in members:
            try:
                return self.build(value, member)
            except Exception as error:
                errors.append(error)
        inside = next((error for error in errors if isinstance(error, BaseValidationError)), None)
        if len(errors) == 1 or inside:
            raise inside or errors[0]
        raise Refused(f"must be {words_of(hint)}, not {_shown(value)}")


def _at(key: str, error: Exception, cls: type[Any]) -> Exception:
    """Return the error with a note of its place for cattrs' tree."""
    error.add_note(AttributeValidationNote(f"at {key}", key, cls))
    return error


def _validate(cls: type[Any], field: "attrs.Attribute[Any]", value: Any) -> None:
    """Call only the field's own validator; if it needs other fields, the constructor calls it again."""
    if field.validator is None or isinstance(field.converter, attrs.Converter):
        return
    converter: Any = field.converter
    if converter is not None:
        value = converter(value)
    try:
        field.validator(object.__new__(cls), field, value)
    except AttributeError:
        return


def _is(*origins: Any) -> Callable[[Any], bool]:
    return lambda hint: hint in origins or get_origin(hint) in origins


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def _shown(value: Any) -> str:
    """Describe a value by its type only: it may be a misplaced secret."""
    names: dict[Any, str] = {dict: "a table", list: "a list"}
    return names.get(type(value)) or words_of(type(value))


def _plain(value: Any, hint: Any) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise Refused(f"must be {words_of(hint)}, not {_shown(value)}")
    if hint is float and not math.isfinite(value):
        raise Refused("must be a finite number")
    return value


def _size(value: Any, _: Any) -> ByteSize:
    if isinstance(value, str):
        return parse_size(value)
    if type(value) is not int or value < 0:
        raise Refused(f'must be a size such as 1048576 or "1 MiB", not {_shown(value)}')
    return ByteSize(value)


def _duration(value: Any, _: Any) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if type(value) not in (int, float):
        raise Refused(f'must be a duration such as 5 or "5 s", not {_shown(value)}')
    return float(_plain(value, float))


def _choice(value: Any, hint: Any) -> Any:
    choices: Sequence[Any] = get_args(hint)
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    raise Refused(f"must be {words_of(hint)}{nearest(value, choices) if isinstance(value, str) else ''}")


def _member(value: Any, hint: type[enum.Enum]) -> enum.Enum:
    return hint(_choice(value, Literal[tuple(member.value for member in hint)]))
