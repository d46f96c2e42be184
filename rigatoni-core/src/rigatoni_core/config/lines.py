"""The lines of keys. `tomllib` does not report them, so this searches the text for headers and keys."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from rigatoni_core.config.faults import KeyPath

_HEADER = re.compile(r"\s*\[(\[?)([^\[\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-.\s\"']+?)\s*=")


def lines_of(text: str) -> Mapping[KeyPath, int]:
    """Return the line (from 1) of every table header and of every key that begins a line, by key path."""
    lines: dict[KeyPath, int] = {}
    lengths: dict[KeyPath, int] = {}  # of the arrays of tables, so far
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = ()
            for step in _keys(header[2]):
                table += (step,)
                if table in lengths:
                    table += (lengths[table] - 1,)
            if header[1] and table:
                array = table[:-1] if isinstance(table[-1], int) else table
                lines.setdefault(array, number)
                lengths[array] = lengths.get(array, 0) + 1
                table = (*array, lengths[array] - 1)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + _keys(key[1]), number)
    return lines


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """Return the line of a key, or of the closest table or key around it."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)


def _keys(spelled: str) -> tuple[str, ...]:
    """Return the keys of a dotted key; none if it only looks like one (a line of a long text, for example)."""
    try:
        table: Any = tomllib.loads(f"{spelled} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    keys = []
    while isinstance(table, dict):
        ((key, table),) = table.items()
        keys.append(key)
    return tuple(keys)
