"""Names and partitions of the files or objects of a stream: for every destination that writes such.

They come from the events, never from a clock.
"""

import enum
import typing
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import attrs

from rigatoni_core.batch import EventBatch
from rigatoni_core.contracts import Serializer
from rigatoni_core.events import Namespace, Position, Stream, Timestamp, escaped, token_hash
from rigatoni_core.options import Secret

TIME_PARTITIONS: Mapping[str, str] = {"month": "month=%Y-%m", "day": "date=%Y-%m-%d", "hour": "date=%Y-%m-%d/hour=%H"}
"""The units of event time (cluster time, UTC) and their folders."""

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What stands for an absent value in a Hive style folder name; readers (Spark, DuckDB, pyarrow) take it as null."""


@attrs.frozen
class Part:
    """The events of one file: where it goes, and which of the batch's events they are."""

    path: str
    indices: Sequence[int]
    events: EventBatch

    @classmethod
    def of(cls, path: str, indices: Sequence[int], events: EventBatch) -> Self:
        """The events at these indices of a batch."""
        if len(indices) == len(events):
            return cls(path, indices, events)
        return cls(path, indices, events.without(set(range(len(events))).difference(indices)))


@attrs.frozen
class Layout:
    """How a stream's batches become files."""

    serializer: Serializer
    partition_by: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """What shapes the files, in plain JSON values: another description is another definition of the stream."""
        return self._described(defaults=True)

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a recorded description means this layout.

        An option that the record does not name had its default then: the option is newer than the record.
        """
        return _means(record, self.described(), self._described(defaults=False))

    def _described(self, *, defaults: bool) -> dict[str, Any]:
        serializer = described(self.serializer, defaults=defaults)
        return {"serializer": serializer, "partition_by": list(self.partition_by)}

    def cut(self, events: EventBatch) -> int:
        """How many leading events lie in one time partition; looks at two positions where all do."""
        if not len(events) or events.first is None or not self._has_time:
            return len(events)
        folder = self._time_folder(events.first.cluster_time)
        if self._time_folder(events.end.cluster_time) == folder:
            return len(events)

        def is_later(index: int) -> bool:
            time = events.mark(index)[1]
            return time is not None and self._time_folder(time) != folder

        return max(1, bisect_left(range(len(events)), True, key=is_later))

    def parts(self, events: EventBatch) -> list[Part]:
        """The batch's files, in the order of their first events."""
        if not len(events):
            return []
        assert events.first is not None
        name = f"{stem(events.first)}{self.serializer.suffix}"
        return [Part.of(f"{folder}{name}", indices, events) for folder, indices in self._grouped(events).items()]

    def _grouped(self, events: EventBatch) -> dict[str, Sequence[int]]:
        """Folder (with a slash at its end, or nothing) -> the indices of its events."""
        groups: dict[str, list[int]] = {}
        collection = only_collection(events.stream)
        by_event = "namespace" in self.partition_by and collection is None
        start = 0
        while start < len(events):  # once, where the batch was cut as `cut` says
            rest = events[start:]
            assert rest.first is not None
            time, stop = rest.first.cluster_time, start + self.cut(rest)
            if by_event:
                for namespace, indices in _by_namespace(events, start, stop).items():
                    groups.setdefault(self._folder(time, namespace), []).extend(indices)
            elif stop - start == len(events):
                return {self._folder(time, collection): range(stop)}
            else:
                groups.setdefault(self._folder(time, collection), []).extend(range(start, stop))
            start = stop
        return dict(groups)

    def _folder(self, time: Timestamp | None, namespace: Namespace | None) -> str:
        return "".join(
            f"{_namespace_folder(namespace) if unit == 'namespace' else _time_folder(unit, time)}/"
            for unit in self.partition_by
        )

    @property
    def _has_time(self) -> bool:
        return any(unit in TIME_PARTITIONS for unit in self.partition_by)

    def _time_folder(self, time: Timestamp | None) -> str:
        return "/".join(_time_folder(unit, time) for unit in self.partition_by if unit in TIME_PARTITIONS)


def stem(first: Position) -> str:
    """The name of a batch, made of its first event: sorting names sorts batches in stream order."""
    time = first.cluster_time or Timestamp(0, 0)
    return f"{time.seconds:010}.{time.increment:010}-{first.ordinal:08}-{token_hash(first.resume_token)}"


def day(first: Position) -> str:
    """The day of a batch's first event: record folders stay small, however long a pipeline runs."""
    return datetime.fromtimestamp(first.cluster_time.seconds if first.cluster_time else 0, UTC).strftime("%Y-%m-%d")


def _by_namespace(events: EventBatch, start: int, stop: int) -> dict[Namespace | None, list[int]]:
    groups: dict[Namespace | None, list[int]] = {}
    for index in range(start, stop):
        groups.setdefault(events.namespace(index), []).append(index)
    return groups


def only_collection(stream: Stream) -> Namespace | None:
    """The collection, where the stream is one: all its events belong there, `invalidate` (without namespace) too."""
    database, dot, collection = stream.name.partition(".")
    return Namespace(database, collection) if dot and "*" not in stream.name else None


def described(component: object, *, defaults: bool = True) -> dict[str, Any]:
    """A component as plain JSON values: its class and its options, no secrets; with those at their defaults, or not."""
    kind = type(component)
    record: dict[str, Any] = {"type": f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"}
    hints = typing.get_type_hints(kind) if attrs.has(kind) else {}
    for field in attrs.fields(kind) if attrs.has(kind) else ():
        value = getattr(component, field.name)
        if not field.init or field.name.startswith("_") or _is_secret(hints.get(field.name)):
            continue
        if defaults or value != _default(field):
            record[field.name] = _plain(value, defaults)
    return record


def _default(field: "attrs.Attribute[Any]") -> Any:
    default: Any = field.default
    if isinstance(default, attrs.Factory) and not default.takes_self:  # type: ignore[arg-type]
        return default.factory()
    return default


def _is_secret(hint: Any) -> bool:
    return hint is Secret or any(map(_is_secret, typing.get_args(hint)))


def _plain(value: object, defaults: bool) -> Any:
    match value:
        case enum.Enum():
            return value.name
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(item, defaults) for key, item in value.items()}
        case Sequence() | set() | frozenset():
            items = value if isinstance(value, Sequence) else sorted(value, key=repr)
            return [_plain(item, defaults) for item in items]
        case _:
            return described(value, defaults=defaults)


def _means(record: Any, full: Any, short: Any) -> bool:
    """Whether `record` says what `full` does; what it leaves out must be at its default, so not in `short` either."""
    if isinstance(record, Mapping) and isinstance(full, Mapping):
        return record.keys() <= full.keys() and all(
            _means(record[key], value, short.get(key, value)) if key in record else key not in short
            for key, value in full.items()
        )
    return bool(record == full)


def _time_folder(unit: str, time: Timestamp | None) -> str:
    pattern = TIME_PARTITIONS[unit]
    if time is None:
        return "/".join(f"{level.partition('=')[0]}={HIVE_NULL}" for level in pattern.split("/"))
    return datetime.fromtimestamp(time.seconds, UTC).strftime(pattern)


def _namespace_folder(namespace: Namespace | None) -> str:
    database = namespace.database if namespace else None
    collection = namespace.collection if namespace else None
    return f"database={_segment(database)}/collection={_segment(collection)}"


def _segment(name: str | None) -> str:
    """A name as the value of a Hive style folder; a name that looks like the absent value is told apart."""
    if name is None:
        return HIVE_NULL
    text = escaped(name)
    return f"%5F{text[1:]}" if text == HIVE_NULL else text
