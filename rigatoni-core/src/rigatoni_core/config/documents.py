"""Reads TOML files and folders into plain tables, one per pipeline, with defaults and overrides applied."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.config.cli_values import Override
from rigatoni_core.config.faults import KeyPath
from rigatoni_core.config.lines import line_of, lines_of
from rigatoni_core.config.paths import folder_of

_DEEPEST = 100
"""The largest nesting of tables and lists in a file; no option needs a tenth of it."""


@attrs.frozen
class Document:
    """The contents of one file with line numbers; `path` is for messages. Its relative paths start at `folder`."""

    path: str
    content: Mapping[str, Any]
    lines: Mapping[KeyPath, int] = attrs.field(factory=dict)
    folder: Path = attrs.field(factory=Path.cwd)

    def pipelines(self) -> Iterator[tuple[KeyPath, Any]]:
        """Return each pipeline's key path and table, without defaults and overrides; none if the key is missing."""
        found = self.content.get("pipeline")
        if isinstance(found, list):
            for index, table in enumerate(found):
                yield ("pipeline", index), table
        elif "pipeline" in self.content:
            yield ("pipeline",), found

    def line(self, path: KeyPath, pipeline: KeyPath) -> int | None:
        """Return the line of a key; of the one in [defaults] if the pipeline's own table does not set it."""
        default = ("defaults", *path[len(pipeline) :])
        if path not in self.lines and path[: len(pipeline)] == pipeline and default in self.lines:
            return self.lines[default]
        return line_of(path, self.lines)


def documents(path: Path) -> list[Document]:
    """Read a file, or all files `*.toml` directly in a folder, by name; those that end in `.test.toml` hold cases.

    Raises `ConfigurationError` if there is none, or if one cannot be read or is not TOML.
    """
    if not path.is_dir():
        return [_document(path)]
    files = sorted(
        each for each in path.glob("*.toml") if not each.name.startswith(".") and not each.name.endswith(".test.toml")
    )
    if not files:
        raise ConfigurationError(f"{path} is a folder without a file *.toml", remedy="Name a pipeline's TOML file.")
    return [_document(file) for file in files]


def overridden(table: Any, defaults: Any, overrides: Sequence[Override]) -> Any:
    """Merge a pipeline's table with its defaults and overrides."""
    if not isinstance(table, dict):
        return table
    merged = _over(defaults, table) if isinstance(defaults, dict) else dict(table)
    for path, value in overrides:
        merged = _with(merged, path, value)
    return merged


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge table by table; a component of another type inherits nothing."""
    if "type" in above and "type" in below and above["type"] != below["type"]:
        return above
    merged = dict(below)
    for key, value in above.items():
        other = below.get(key)
        merged[key] = _over(other, value) if isinstance(other, dict) and isinstance(value, dict) else value
    return merged


def _with(table: Any, path: KeyPath, value: Any) -> Any:
    if not path:
        return value
    inner = table if isinstance(table, dict) else {}
    return {**inner, path[0]: _with(inner.get(str(path[0])), path[1:], value)}


def _document(path: Path) -> Document:
    text = _read(path)
    try:
        document = Document(str(path), tomllib.loads(text), lines_of(text), folder_of(path))
    except (ValueError, RecursionError) as error:  # also what int() raises of thousands of digits
        raise ConfigurationError(
            f"{path} is not TOML: {error}", remedy="Check its syntax (https://toml.io); texts need quotes."
        ) from None
    if not _is_shallow(document.content):
        raise ConfigurationError(
            f"{path} nests tables and lists more than {_DEEPEST} levels deep", remedy="Reduce the nesting."
        )
    return document


def _is_shallow(content: Any) -> bool:
    """Return whether recursion into the tables is safe; dotted keys nest without brackets."""
    level = [content]
    for _ in range(_DEEPEST):
        level = [
            item
            for each in level
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return True
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no file {path}", remedy="Name the pipeline's TOML file; `rigatoni init` writes one."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", remedy="Check its permissions.") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} is not UTF-8 text (byte {error.start})", remedy="Save it in UTF-8, as TOML requires."
        ) from None
