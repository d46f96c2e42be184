"""Names and partitions of a stream's files or objects.

They derive from the events alone, never from a clock.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal, Self

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.components import AttrsField, class_path, component_name, described
from rigatoni_core.api.contracts import ConfigLinter, Serializer
from rigatoni_core.api.events import Namespace, Position, ResumeToken, Stream, Timestamp, token_hash
from rigatoni_core.api.settings import Settings

from rigatoni_objects.partition_names import check_names
from rigatoni_objects.path_template import PathTemplate, Place, field_value, python_text
from rigatoni_objects.spelling import Spelling

NOWHERE = Position(ResumeToken(""), "")
"""A position for computing the length of names."""


@attrs.frozen
class BatchObject:
    """The events of one file: its path, and which of the batch's events it holds."""

    path: str
    indices: Sequence[int]
    events: EventBatch

    @classmethod
    def of(cls, path: str, indices: Sequence[int], events: EventBatch) -> Self:
        """Return the part with the events at these indices, which ascend: events keep their order in a file."""
        assert all(before < after for before, after in pairwise(indices)), "indices of a part are ascending"
        if len(indices) == len(events):
            return cls(path, indices, events)
        return cls(path, indices, events.without(set(range(len(events))).difference(indices)))


@attrs.frozen
class FileLayout:
    """Maps a stream's batches to files.

    Attributes:
        serializer: Serializes each file.
        partition_by: Named partitions; see `rigatoni_objects.path_template`.
        folder_template: A folder template instead of `partition_by`.
        max_objects: Files of one batch at most.
        folds_case: Whether the store treats names as equal that differ only by case or Unicode normalization.
        spelling: How values are spelled in folder names.
    """

    serializer: Serializer
    partition_by: tuple[str, ...] = ()
    folder_template: str = ""
    max_objects: int = 1000
    folds_case: bool = False
    spelling: Literal["hive", "percent"] = "hive"
    _folders: PathTemplate = attrs.field(
        init=False,
        eq=False,
        default=attrs.Factory(
            lambda it: PathTemplate.of(it.partition_by, it.folder_template, Spelling(it.spelling, it.folds_case)), True
        ),
    )

    def described(self) -> dict[str, Any]:
        """Return all that shapes the files, as plain JSON values. If it changes, the stream gets a new definition."""
        return self._described(component_name, defaults=True)

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Return whether a recorded description means this layout.

        An option that the record does not name is newer than the record and had its default value. A record without a
        spelling means that of version 0.1.0, which also recorded classes by their Python paths.
        """
        it, naming = self.as_recorded(record), self._naming(record)
        return _means(record, it._described(naming, defaults=True), it._described(naming, defaults=False))

    def as_recorded(self, record: Mapping[str, Any]) -> Self:
        """Return this layout with the recorded spelling: a definition keeps its spelling when it resumes."""
        recorded = record.get("spelling", "percent")
        if self.folds_case or recorded == self.spelling or recorded not in ("hive", "percent"):
            return self
        return attrs.evolve(self, spelling=recorded)

    def serializer_change(self, record: Mapping[str, Any]) -> str:
        """Describe how the serializer differs from that of a recorded layout; empty if it does not."""
        old = record.get("serializer", {})
        new = self._described(self._naming(record), defaults=True)["serializer"]
        changed = {key: (old[key], new[key]) for key in new if key in old and old[key] != new[key]}
        if not changed:
            return ""
        words = ", ".join(f"{key} changed from {then!r} to {now!r}" for key, (then, now) in changed.items())
        return f"the serializer's {words}: existing files stay unchanged, and readers may not accept both as one table"

    def advice(self, settings: Settings, least: float = 1.0) -> tuple[str, ...]:
        """Return recommendations about settings that produce too many small files, and those of the serializer.

        Args:
            settings: The settings.
            least: The `batch_timeout` in seconds from which on no recommendation is made.
        """
        own = tuple(self.serializer.advice(settings)) if isinstance(self.serializer, ConfigLinter) else ()
        if settings.batch_timeout >= least:
            return own
        files = 86_400 / settings.batch_timeout
        return (
            *own,
            f"batch_timeout = {settings.batch_timeout:g} produces up to {files:,.0f} small files per stream and day; "
            "set it to 5 or 60 s: readers are faster with fewer, larger files",
        )

    def check(self) -> None:
        """Refuse ambiguous partition names. Raises ValueError; see `check_names`."""
        check_names(self._folders, self.partition_by, self.serializer.columns, self.serializer.suffix)

    def _naming(self, record: Mapping[str, Any]) -> Callable[[type[Any]], str]:
        """Return the function that names component classes as this record does."""
        by_path = record.get("serializer", {}).get("type") == class_path(type(self.serializer))
        return class_path if by_path else component_name

    def _described(self, naming: Callable[[type[Any]], str], *, defaults: bool) -> dict[str, Any]:
        record: dict[str, Any] = {
            "serializer": described(self.serializer, defaults=defaults, name=naming),
            "partition_by": list(self.partition_by),
        }
        if self.folder_template or defaults:
            record["folder_template"] = self.folder_template
        if self._folders.has_values and self.spelling != "percent":
            record["spelling"] = self.spelling
            if self.folds_case:
                record["folds_case"] = True
        return record

    def split(self, events: EventBatch) -> int:
        """Return how many leading events fit into one time partition and `max_objects` objects.

        Compares two positions if all events lie in one partition. Reads events only if they determine their folders
        and there are more than `max_objects` of them. A chunk of a snapshot is never divided: its name does not tell
        what it holds.
        """
        if events.stream.of_snapshot is not None:
            return len(events)
        return self._split_by_objects(events, self._split_by_time(events))

    def _split_by_objects(self, events: EventBatch, stop: int) -> int:
        if stop <= self.max_objects or not self.is_split(events.stream):
            return stop
        collection, places = only_collection(events.stream), set[Place]()
        for index in range(stop):
            places.add(self._place(events, index, None, collection))
            if len(places) > self.max_objects:
                return index
        return stop

    def _split_by_time(self, events: EventBatch) -> int:
        if not len(events) or not (unit := self._folders.unit(events.first.cluster_time)):
            return len(events)
        if self._folders.unit(events.end.cluster_time) == unit:
            return len(events)

        def is_later(index: int) -> bool:
            time = events.token_and_time(index)[1]
            return time is not None and self._folders.unit(time) != unit

        return max(1, bisect_left(range(len(events)), True, key=is_later))

    def is_split(self, stream: Stream) -> bool:
        """Return whether events determine their folders, so that a batch may have several files."""
        folders = self._folders
        by_namespace = folders.by_event_namespace or (folders.by_namespace and only_collection(stream) is None)
        return bool(folders.fields) or by_namespace

    def only_path(self, first: Position, stream: Stream) -> str | None:
        """Return the path of a batch's only file; None if the batch may have several files.

        Valid for every batch that `split` has limited.
        """
        if self.is_split(stream):
            return None
        return f"{self.only_folder(first.cluster_time, stream)}{stem(first)}{self.serializer.suffix}"

    def only_folder(self, time: Timestamp | None, stream: Stream) -> str:
        """Return the folder of a batch's only file; for streams that are not split (`is_split`)."""
        return self._folders.folder(Place(time, only_collection(stream)))

    @property
    def sorts_by_time(self) -> bool:
        """Whether paths of unsplit batches sort by cluster time."""
        return self._folders.sorts_by_time

    @property
    def longest_path(self) -> int:
        """The length of the longest possible path in bytes of UTF-8."""
        return self._folders.longest + len(f"{stem(NOWHERE)}{self.serializer.suffix}")

    def parts(self, events: EventBatch) -> list[BatchObject]:
        """Return the batch's files, in the order of their first events."""
        if not len(events):
            return []
        name = f"{stem(events.first)}{self.serializer.suffix}"
        return [BatchObject.of(f"{folder}{name}", indices, events) for folder, indices in self._grouped(events).items()]

    def _grouped(self, events: EventBatch) -> dict[str, Sequence[int]]:
        """Map each folder (empty, or with a trailing slash) to the indices of its events."""
        groups: dict[str, list[int]] = {}
        collection = only_collection(events.stream)
        by_event = self.is_split(events.stream)
        start = 0
        while start < len(events):  # once, if `split` has limited the batch
            rest = events[start:]
            time, stop = rest.first.cluster_time, start + self._split_by_time(rest)
            if by_event:
                for place, indices in self._by_place(events, range(start, stop), time, collection).items():
                    groups.setdefault(self._folders.folder(place), []).extend(indices)
                groups = {folder: sorted(indices) for folder, indices in groups.items()}  # several places may share one
            elif stop - start == len(events):
                return {self._folders.folder(Place(time, collection)): range(stop)}
            else:
                groups.setdefault(self._folders.folder(Place(time, collection)), []).extend(range(start, stop))
            start = stop
        return dict(groups)

    def _by_place(
        self, events: EventBatch, indices: range, time: Timestamp | None, collection: Namespace | None
    ) -> dict[Place, list[int]]:
        groups: dict[Place, list[int]] = {}
        for index in indices:
            groups.setdefault(self._place(events, index, time, collection), []).append(index)
        return groups

    def _place(self, events: EventBatch, index: int, time: Timestamp | None, collection: Namespace | None) -> Place:
        look_up = self._folders.by_event_namespace or (self._folders.by_namespace and collection is None)
        return Place(time, events.namespace(index) if look_up else collection, self._fields(events, index))

    def _fields(self, events: EventBatch, index: int) -> tuple[str | None, ...]:
        if not self._folders.fields:
            return ()
        try:
            event = events[index]
        except ValueError:  # an event that cannot be decoded: the serializer rejects it
            return (None,) * len(self._folders.fields)
        text = events.decoder.scalar_text if self.spelling == "hive" else python_text
        return tuple(field_value(event, path, text) for path in self._folders.fields)


def check_partitions(instance: object, attribute: AttrsField, value: Any) -> None:
    """Validate a component's option `partition_by` or `folder_template`. Raises ValueError."""
    if attribute.name == "folder_template":
        PathTemplate.of((), value)
    else:
        PathTemplate.of(value, "")


def stem(first: Position) -> str:
    """Return the name of a batch, derived from its first event. Names sort in stream order."""
    time = first.cluster_time or Timestamp(0, 0)
    return f"{time.seconds:010}.{time.increment:010}-{first.ordinal:08}-{token_hash(first.resume_token)}"


def day(first: Position) -> str:
    """Return the day of a batch's first event, which keeps folders of records small."""
    return datetime.fromtimestamp(first.cluster_time.seconds if first.cluster_time else 0, UTC).strftime("%Y-%m-%d")


def only_collection(stream: Stream) -> Namespace | None:
    """Return the stream's collection if it has exactly one, to which all its events belong, even `invalidate`."""
    name = (stream.of_snapshot or stream).name
    database, dot, collection = name.partition(".")
    return Namespace(database, collection) if dot and "*" not in name else None


def _means(record: Any, full: Any, short: Any) -> bool:
    """Return whether `record` equals `full`. Keys that it lacks must have defaults, so they are not in `short`."""
    if isinstance(record, Mapping) and isinstance(full, Mapping):
        return record.keys() <= full.keys() and all(
            _means(record[key], value, short.get(key, value)) if key in record else key not in short
            for key, value in full.items()
        )
    return bool(record == full)
