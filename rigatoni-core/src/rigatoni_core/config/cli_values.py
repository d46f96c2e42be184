"""Values from the command line: `--set KEY=VALUE`."""

import re
import tomllib
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.options import Secret
from rigatoni_core.config.faults import KeyPath
from rigatoni_core.plugins.component_options import bare

_ITEM = re.compile(r'"([^"]*)"|\'([^\']*)\'|([^\s,\[\]"\']+)')


class CliValue(str):
    """A typed value; its meaning depends on its option."""

    __slots__ = ()

    def meant_as(self, hint: Any) -> Any:
        """Return the value for an option of this type: text is taken as is, with or without quotes; the rest is TOML.

        Texts in a list may also be separated by commas or spaces. Anything but TOML is also text: the option reports
        what is wrong with it.
        """
        try:
            value = tomllib.loads(f"value = {self}")["value"]
        except tomllib.TOMLDecodeError:
            return _listed(self) if _is_list_of_texts(bare(hint)) else str(self)
        if isinstance(value, str) and _is_list_of_texts(bare(hint)):
            return [value]
        return str(self) if _is_text(bare(hint)) and not isinstance(value, (str, dict)) else value


Override = tuple[KeyPath, CliValue]
"""A key path from the pipeline's table on, and its value."""


def parse_override(text: str) -> Override:
    """Parse `destination.path=lake` into key path and value; `pipeline.destination.path` means the same.

    Raises ConfigurationError if the key or the `=` is missing.
    """
    key, equals, value = text.partition("=")
    path = _keys(key) if equals else ()
    if not path:
        raise ConfigurationError(
            f"--set {key}: this is not KEY=VALUE", remedy="Write it as in --set destination.path=lake."
        )
    return path[1:] if path[0] == "pipeline" and len(path) > 1 else path, CliValue(value)


def _is_text(hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return all(_is_text(member) for member in get_args(hint) if member is not type(None))
    if get_origin(hint) is Literal:
        return all(isinstance(choice, (str, type(None))) for choice in get_args(hint))
    return hint in (str, Path, Secret)


def _is_list_of_texts(hint: Any) -> bool:
    return get_origin(hint) in (tuple, list) and _is_text(get_args(hint)[0])


def _listed(text: str) -> list[str]:
    """Split a typed list: brackets and quotes are optional, items are separated by commas or spaces."""
    return ["".join(item) for item in _ITEM.findall(text)]


def _keys(spelled: str) -> KeyPath:
    """Return the keys of a dotted key; none if it is malformed."""
    keys: list[str] = []
    try:
        table: Any = tomllib.loads(f"{spelled} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    while isinstance(table, dict):
        ((key, table),) = table.items()
        keys.append(key)
    return tuple(keys)
