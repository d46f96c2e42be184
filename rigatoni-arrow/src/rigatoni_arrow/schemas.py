"""Schema files: a document's fields and their types, in TOML or JSON.

A schema has the form of the documents that it describes, with the name of a type instead of each value:

    _id = "objectId"
    total = "decimal(12, 2)"
    tags = ["string"]

    [address]
    city = "string"

    [[items]]
    sku = "string"
    quantity = "int"
"""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rigatoni_arrow.errors import SchemaFileError
from rigatoni_arrow.scalars import scalar
from rigatoni_arrow.types import Array, Struct, Type

DEEPEST = 16
"""The maximum depth of documents and arrays in columns. pyarrow opens files with at most 100 of its own levels, and
an array takes two."""


def load_schema(path: Path) -> Struct:
    """Read the schema in this file: JSON if its name ends with `.json`, else TOML. Raises `SchemaFileError`."""
    try:
        content = path.read_text(encoding="utf-8")
        described = json.loads(content) if path.suffix == ".json" else tomllib.loads(content)
    except OSError as error:
        raise SchemaFileError(f"the schema {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SchemaFileError(f"the schema {path} cannot be read: {error}") from error
    faults: list[str] = []
    schema = _type(described, "", 0, faults)
    if not faults and isinstance(schema, Struct) and "_id" not in schema.fields:
        faults.append("_id is missing: the document keys need its type")
    if faults or not isinstance(schema, Struct):
        raise SchemaFileError(f"the schema {path} has faults: {'; '.join(faults)}", faults=tuple(faults))
    return schema


def usable(names: Iterable[str]) -> list[str]:
    """Return the names that can be columns of one table: not empty, and no two that differ only by case.

    SQL readers (Spark, Athena, DuckDB) do not distinguish such names. The first one gets the column.
    """
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name.casefold(), name)
    found.pop("", None)
    return list(found.values())


def _type(described: Any, path: str, depth: int, faults: list[str]) -> Type | None:
    """Return the type described at `path`, or None after adding the errors to `faults`."""
    where = path or "the schema"
    if depth > DEEPEST:
        faults.append(f"{where} is nested more than {DEEPEST} levels deep: leave it out, it is kept as JSON")
    elif isinstance(described, str):
        try:
            return scalar(described)
        except ValueError as error:
            faults.append(f"{where}: {error}")
    elif isinstance(described, list):
        if len(described) == 1:
            item = _type(described[0], f"{path}[]", depth + 1, faults)
            return Array(item) if item else None
        faults.append(f"{where} must say exactly one type in its brackets: what its elements are")
    elif isinstance(described, dict) and described:
        kept = set(usable(described))
        faults += [
            f"{where}: {name!r} is empty or differs from another field only in case; leave one out, it is kept as JSON"
            for name in described
            if name not in kept
        ]
        inside = {
            name: _type(item, f"{path}.{name}" if path else name, depth + 1, faults) for name, item in described.items()
        }
        return Struct({name: kind for name, kind in inside.items() if kind})
    else:
        faults.append(f"{where} must be the name of a type, a list of one type, or a table with fields")
    return None
