"""The cases of `rigatoni test`: TOML files with events and what is expected of them."""

import datetime as dt
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from bson import json_util

from rigatoni_transforms.errors import CaseError

FIELDS: Final[Mapping[str, str]] = {
    "document": "fullDocument",
    "before": "fullDocumentBeforeChange",
    "key": "documentKey",
    "update": "updateDescription",
}
"""What a case calls the parts of an event -> what MongoDB calls them."""

OUTCOMES: Final = ("dropped", "unchanged")
_OF_EVENT = {"operation", "namespace", *FIELDS, "expect"}
_OF_CASE = {"name", "stream", "events", "output"}
_EXPECTED = {"operation", "namespace", *FIELDS, "row", "rejected"}


@attrs.frozen
class Given:
    """An event of a case.

    Attributes:
        fields: The fields of the event, by MongoDB's names; without position.
        namespace: Its database and collection, `shop.orders`; empty for that of the stream.
        expect: `dropped`, `unchanged`, or the expected parts of the event; None if nothing is expected of it alone.
    """

    fields: Mapping[str, Any]
    namespace: str
    expect: str | Mapping[str, Any] | None


@attrs.frozen
class Case:
    """One case. `stream` is empty for the first stream of the pipeline; `output` is None if any is fine."""

    name: str
    stream: str
    events: tuple[Given, ...]
    output: str | None


def cases_of(file: Path) -> list[Case]:
    """Read the cases of a TOML file.

    Raises:
        CaseError: The file cannot be read, or a case in it is wrong.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(f"{file} cannot be read: {error.strerror}", remedy="Name a file with cases.") from None
    except ValueError as error:
        raise CaseError(f"{file} is not TOML: {error}") from None
    tables = content.pop("case", [])
    if content or not isinstance(tables, list) or not tables:
        stray = f"unknown key {', '.join(content)}; " if content else ""
        raise CaseError(f"{file}: {stray}the cases are in [[case]], and there must be one")
    return [_case(table, f"{file}: case {number}") for number, table in enumerate(tables, 1)]


def _case(table: Any, where: str) -> Case:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise CaseError(f"{where} has no name")
    where = f'{where}, "{table["name"]}"'
    inline = {key: value for key, value in table.items() if key not in _OF_CASE}
    events = table.get("events", [inline])
    if "events" in table and inline:
        raise CaseError(f"{where}: {', '.join(inline)} belongs to one of the events, or to a case without events")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise CaseError(f"{where}: events are tables: [[case.events]]")
    given = tuple(_given(event, f"{where}, event {number}") for number, event in enumerate(events, 1))
    output = table.get("output")
    if output is None and not all(event.expect is not None for event in given):
        raise CaseError(f"{where} expects nothing", remedy="Give each event an expect, or the case an output.")
    for key in ("stream", "output"):
        if not isinstance(table.get(key, ""), str):
            raise CaseError(f"{where}: {key} must be text")
    return Case(table["name"], table.get("stream", ""), given, output)


def _given(table: Mapping[str, Any], where: str) -> Given:
    _check_keys(table, _OF_EVENT, where)
    operation = table.get("operation", "insert")
    fields = {"operationType": operation}
    fields |= {FIELDS[key]: _value(table[key], f"{where}: {key}") for key in FIELDS if key in table}
    for name in ("document", "before"):
        document = fields.get(FIELDS[name])
        if isinstance(document, dict) and "_id" in document:
            fields.setdefault("documentKey", {"_id": document["_id"]})
    if (update := fields.get("updateDescription")) is not None and isinstance(update, dict):
        fields["updateDescription"] = {"updatedFields": {}, "removedFields": [], "truncatedArrays": []} | update
    expect = table.get("expect")
    if isinstance(expect, dict):
        _check_keys(expect, _EXPECTED, f"{where}: expect")
        expect = {key: _value(value, f"{where}: expect.{key}") for key, value in expect.items()}
    elif expect not in (None, *OUTCOMES):
        raise CaseError(f"{where}: expect is {', '.join(map(repr, OUTCOMES))} or a table")
    return Given(fields, table.get("namespace", ""), expect)


def _check_keys(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := table.keys() - known:
        raise CaseError(f"{where}: unknown key {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")


def _value(value: Any, where: str) -> Any:
    """A TOML value as BSON has it; tables such as `{ "$oid" = "…" }` are Extended JSON."""
    if isinstance(value, dict):
        converted = {key: _value(item, where) for key, item in value.items()}
        try:
            return json_util.object_hook(converted, _READING)
        except Exception as error:  # json_util raises what the constructors raise
            raise CaseError(f"{where} is not Extended JSON: {error}") from None
    if isinstance(value, list):
        return [_value(item, where) for item in value]
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    if isinstance(value, (dt.date, dt.time)):
        raise CaseError(f"{where}: a date needs a time in a document: 2026-01-02T00:00:00Z")
    return value


_READING = json_util.JSONOptions(tz_aware=True, tzinfo=dt.UTC)


def named(namespace: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of a namespace document."""
    database, dot, collection = namespace.partition(".")
    yield "db", database
    if dot:
        yield "coll", collection
