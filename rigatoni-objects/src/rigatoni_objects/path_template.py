"""The folders of a layout: levels of fixed text and named parts, filled in from an event.

    database={database}/collection={collection}/date={date}

Parts: `{database}` and `{collection}`, `{event_database}` and `{event_collection}` (the same of each event, where a
transform gives events of one collection other names), `{field:customer.country}` (a field of the document), and of the
cluster time in UTC `{year}`, `{month}`, `{day}`, `{hour}` (digits) and `{date}` (`2026-11-24`). Values are escaped, so
that they never add levels: see `rigatoni_objects.spelling`.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import unquote

import attrs
from rigatoni_core.api.events import ChangeEvent, Namespace, Timestamp

from rigatoni_objects.spelling import HIVE, HIVE_NULL, Spelling

PARTITIONS: Mapping[str, str] = {
    "namespace": "database={database}/collection={collection}",
    "month": "month={year}-{month}",
    "day": "date={date}",
    "hour": "date={date}/hour={hour}",
}
"""The named partitions and their Hive-style folders; `field:PATH` is another partition."""

_TIMES = {"year": "%Y", "month": "%m", "day": "%d", "hour": "%H", "date": "%Y-%m-%d"}
_NAMES = ("database", "collection")
_NAMES_OF_EVENT = ("event_database", "event_collection")
_UNITS = ("%Y", "%Y%m", "%Y%m%d", "%Y%m%d%H")
_FINEST = {"year": 0, "month": 1, "day": 2, "date": 2, "hour": 3}
_LEVEL = re.compile(r"[A-Za-z0-9=+@.,%-][A-Za-z0-9=+@.,%_-]*")


@attrs.frozen
class Place:
    """What determines an event's folder. `fields` are the values of the named fields, as texts or None."""

    time: Timestamp | None
    namespace: Namespace | None
    fields: tuple[str | None, ...] = ()


@attrs.frozen
class PathTemplate:
    """A parsed template: each level is a sequence of fixed text and the name of the part that follows it."""

    levels: tuple[tuple[tuple[str, str], ...], ...]
    spelling: Spelling = HIVE

    @classmethod
    def of(cls, partition_by: Sequence[str], template: str, spelling: Spelling = HIVE) -> "PathTemplate":
        """Parse one of the two options. Raises ValueError if it is invalid, or if both are set."""
        if partition_by and template:
            raise ValueError("folder_template replaces partition_by: set one of them")
        if template:
            levels = list(_levels(template))
        else:
            levels = [level for unit in partition_by for level in _hive(unit, spelling)]
            if len(keys := [level[0][0] for level in levels]) != len(set(keys)):
                raise ValueError(f"partition_by makes the folder {_twice(keys)!r} twice")
        return cls(tuple(levels), spelling).checked()

    def checked(self) -> Self:
        """Return the template itself. Raises ValueError if one of its folders would mix times."""
        names = [name for level in self.levels for _, name in level]
        for coarse, fine in (("year", "month"), ("month", "day")):
            if fine in names and coarse not in names:
                raise ValueError(
                    f"folder_template has {{{fine}}} without {{{coarse}}}: add it, or one folder mixes several of them"
                )
        if "hour" in names and not {"date", "day"} & set(names):
            raise ValueError("folder_template has {hour} without {date}: add it, or one folder mixes several days")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths of the document's fields in the template."""
        return tuple(name[6:] for level in self.levels for _, name in level if name.startswith("field:"))

    @property
    def by_namespace(self) -> bool:
        """Whether folders differ by database or collection."""
        return any(name in (*_NAMES, *_NAMES_OF_EVENT) for level in self.levels for _, name in level)

    @property
    def by_event_namespace(self) -> bool:
        """Whether they differ by the names of each event, even if the stream has one collection."""
        return any(name in _NAMES_OF_EVENT for level in self.levels for _, name in level)

    @property
    def has_values(self) -> bool:
        """Whether folder names contain values, so that the spelling matters."""
        return bool(self.fields) or self.by_namespace

    @property
    def partitions(self) -> Sequence[tuple[str, str]]:
        """The partitions that readers see, `name=value`: each unescaped name, and the part that is its value.

        The part is empty if the value is fixed text or consists of several parts.
        """
        found = []
        for level in self.levels:
            name, equals, rest = level[0][0].partition("=")
            if equals:
                alone = len(level) == 1 and not rest
                found.append((unquote(name), level[0][1] if alone else ""))
        return found

    @property
    def sorts_by_time(self) -> bool:
        """Whether folders of later times sort after those of earlier ones, all else being equal."""
        known = -1  # the finest unit of the folders so far
        for name in (name for level in self.levels for _, name in level if name in _FINEST):
            if name != "date" and _FINEST[name] > known + 1:
                return False
            known = max(known, _FINEST[name])
        return True

    def unit(self, time: Timestamp | None) -> str:
        """Return a text that is equal for times with the same folders, and never recurs once time has moved on."""
        finest = max((_FINEST.get(name, -1) for level in self.levels for _, name in level), default=-1)
        return "" if time is None or finest < 0 else _format(time, _UNITS[finest])

    def folder(self, place: Place) -> str:
        """Return the folder of this place, with a trailing slash; empty if the template has no levels."""
        fields = iter(place.fields)
        return "".join(f"{self._text(level, place, fields)}/" for level in self.levels)

    @property
    def longest(self) -> int:
        """The length of the longest possible folder in bytes."""
        endless = "_" * 999
        place = Place(Timestamp(0, 0), Namespace(endless, endless), (endless,) * len(self.fields))
        return len(self.folder(place).encode())

    def _text(self, level: tuple[tuple[str, str], ...], place: Place, fields: Iterator[str | None]) -> str:
        texts = (literal + (self._value(name, place, fields) if name else "") for literal, name in level)
        return self.spelling.level("".join(texts))

    def _value(self, name: str, place: Place, fields: Iterator[str | None]) -> str:
        if name in _TIMES:
            return HIVE_NULL if place.time is None else _format(place.time, _TIMES[name])
        if name in ("database", "event_database"):
            return self.spelling.value(place.namespace.database if place.namespace else None)
        if name in ("collection", "event_collection"):
            return self.spelling.value(place.namespace.collection if place.namespace else None)
        return self.spelling.value(next(fields))


def field_value(event: ChangeEvent, path: str, text: Callable[[Any], str | None]) -> str | None:
    """Return a field as text: from the document, else the document key (for deletes), else the pre-image.

    None if it is absent, null, a document or an array. `text` returns the text of a value, None for a document or an
    array; see `Decoder.scalar_text`.
    """
    for document in (event.full_document, event.document_key, event.full_document_before_change):
        value = _lookup(document, path) if document is not None else None
        if value is not None and (found := text(value)) is not None:
            return found
    return None


def python_text(value: Any) -> str | None:
    """Return a value as version 0.1.0 wrote it: Python's `str`. Used with its spelling only."""
    if isinstance(value, (Mapping, list, tuple)):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lookup(document: Mapping[str, Any], path: str) -> Any:
    if path in document:  # a document key names a nested shard key field with dots
        return document[path]
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def _hive(unit: str, spelling: Spelling) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield the levels of a partition."""
    if unit in PARTITIONS:
        yield from _levels(PARTITIONS[unit])
        return
    kind, _, path = unit.partition(":")
    if kind != "field" or not path or re.search(r"[{}/]", path):
        raise ValueError(f"partition_by cannot be {unit!r}: it takes {', '.join(PARTITIONS)}, field:PATH")
    yield ((f"{spelling.key(path.rpartition('.')[2])}=", f"field:{path}"),)


def _levels(template: str) -> Iterator[tuple[tuple[str, str], ...]]:
    return map(_level, template.strip("/").split("/"))


def _level(text: str) -> tuple[tuple[str, str], ...]:
    parts = []
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"folder_template: {text!r} cannot be parsed: {error}") from None
    for literal, name, path, conversion in parsed:
        if name is None:
            name, path = "", ""
        if name == "field" and path and not re.search(r"[{}]", path):
            name = f"field:{path}"
        elif path or conversion or (name and name not in (*_TIMES, *_NAMES, *_NAMES_OF_EVENT)):
            known = ", ".join(f"{{{part}}}" for part in (*_NAMES, *_NAMES_OF_EVENT, *_TIMES, "field:PATH"))
            raise ValueError(f"folder_template has no part {{{name}}}; it takes {known}")
        parts.append((literal, name))
    shape = "".join(literal + ("x" if name else "") for literal, name in parts)
    if not _LEVEL.fullmatch(shape) or set(shape) <= {"."} or shape.startswith("."):
        raise ValueError(
            f"folder_template has the invalid level {text!r}: a level must not be empty or start with _ or a dot, "
            "and its fixed text may have letters, digits and = + @ . , % _ -"
        )
    return tuple(parts)


def _format(time: Timestamp, pattern: str) -> str:
    return datetime.fromtimestamp(time.seconds, UTC).strftime(pattern)


def _twice(keys: Sequence[str]) -> str:
    return next(key.rstrip("=") for key in keys if keys.count(key) > 1)
