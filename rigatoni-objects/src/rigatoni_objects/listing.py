"""Reads a stream's definitions, leads and objects from a store. Never writes."""

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import takewhile

import attrs
from rigatoni_core.api.errors import ForeignObjectError
from rigatoni_core.api.events import Position, Stream, Timestamp

from rigatoni_objects.errors import MissingDefinitionError, StoreConflictError
from rigatoni_objects.file_layout import FileLayout, day, stem
from rigatoni_objects.paths import (
    BATCHES,
    DEFINITIONS,
    LEADS,
    OWN,
    STEM,
    batch_path,
    batches_folder,
    definition_path,
    lead_path,
    leads_folder,
)
from rigatoni_objects.records import BatchRecord, DefinitionRecord, ObjectRecord
from rigatoni_objects.store import ObjectStore, Record

RECORD, RECORD_AT, LEAD = "record", "record_at", "lead"
"""Metadata names: a lead carries its record or the record's path; every other object carries the path of its lead."""

PAGE = 1000
"""Keys per listing request; S3 returns no more (S3 API, ListObjectsV2)."""

Each = Callable[[Sequence[Callable[[], bool]]], Sequence[bool]]
"""Makes several calls, perhaps concurrently. Returns all results, or raises one of the errors once all have ended."""

_END = 1 << 32
"""The second after every cluster time: BSON timestamps count seconds in 32 bits."""


@attrs.frozen
class Leads:
    """A definition's leads, newest first; found in O(log n) requests if their names sort by time.

    `lower(seconds)` returns a name that sorts before the leads of this second and after all earlier leads. It is None
    if names do not sort by time or the store is unordered; then everything is listed.
    """

    store: ObjectStore
    prefix: str
    since: str
    is_lead: Callable[[str, str, int], bool]  # path, stem, seconds
    lower: Callable[[int], str] | None

    def newest_first(self) -> Iterator[str]:
        """Yield the paths of all leads."""
        if self.lower is None:
            yield from self._newest_of_all()
            return
        first = int(self.since[:10])
        low, leads = self._newest_page(first)
        width = 1
        while True:
            yield from reversed(leads)
            if low <= first:
                return
            upper, low, width = self.lower(low), max(first, low - width), width * 4
            leads = list(takewhile(lambda path: path < upper, self._from(low)))  # noqa: B023 (used at once)

    def _newest_page(self, first: int) -> tuple[int, list[str]]:
        """Return a second, and all leads from it on, oldest first: about a page of the newest ones."""
        assert self.lower is not None
        low, high, (leads, complete) = first, _END, self._page(self.lower(first))
        while not complete and high - low > 1:
            middle = (low + high) // 2
            later, is_last = self._page(self.lower(middle))
            if later:
                low, leads, complete = middle, later, is_last
            else:
                high = middle
        return low, leads if complete else list(self._from(low))

    def _from(self, second: int) -> Iterator[str]:
        """Yield all leads from this second on, oldest first."""
        assert self.lower is not None
        after, complete = self.lower(second), False
        while not complete:
            leads, complete = self._page(after)
            yield from leads
            after = leads[-1] if leads else after

    def _page(self, after: str) -> tuple[list[str], bool]:
        """Return the next leads after this name, at least one if any exists, and whether they are the last."""
        assert self.lower is not None
        last = self.lower(_END - 1)
        while True:
            keys = self.store.keys(self.prefix, after=after, limit=PAGE)
            leads = [key for key in keys if self._matches(key)]
            complete = len(keys) < PAGE or keys[-1] > f"{last}~"
            if leads or complete:
                return leads, complete
            after = keys[-1]

    def _newest_of_all(self) -> Iterator[str]:
        """Yield the newest leads of a full listing, without keeping all names in memory."""
        named = ((match[1], path) for path in self._everything() if (match := STEM.search(path)))
        yield from (path for _, path in heapq.nlargest(64, named))

    def _everything(self) -> Iterator[str]:
        yield from filter(self._matches, all_keys(self.store, self.prefix))

    def _matches(self, path: str) -> bool:
        match = STEM.search(path)
        return match is not None and match[1] >= self.since and self.is_lead(path, match[1], int(match[2]))


def all_keys(store: ObjectStore, prefix: str) -> Iterator[str]:
    """Yield every key with this prefix, page by page."""
    after = ""
    while True:
        keys = store.keys(prefix, after=after, limit=PAGE)
        yield from keys
        if len(keys) < PAGE or not store.ordered:
            return
        after = keys[-1]


@attrs.frozen
class Unfinished:
    """An incomplete batch, and the path of its lead."""

    lead: str
    record: BatchRecord
    missing: tuple[ObjectRecord, ...]


class Listing:
    """One stream's objects. Paths are relative to the stream's folder, the root of `store` (`where` in messages)."""

    def __init__(self, store: ObjectStore, stream: Stream, where: str, each: Each) -> None:
        self.stream = stream
        self.where = where
        self.store = store
        self._each = each

    def __str__(self) -> str:
        return self.where

    # --- definitions

    def newest_definition(self) -> DefinitionRecord | None:
        """Return the definition with the highest number; None for a fresh stream.

        Raises:
            MissingDefinitionError: No definition exists, but objects of the stream do.
            ForeignObjectError: The record is damaged, or belongs to another stream.
        """
        numbers = self._numbers()
        if not numbers and (orphan := self._orphan()) is not None:
            numbers = self._numbers()  # a concurrent start creates its definition before its objects
            if not numbers:
                raise MissingDefinitionError(
                    f"{self} holds objects of {self.stream}, such as {orphan}, but the record {DEFINITIONS}N.json "
                    "that defines them is missing"
                )
        if not numbers:
            return None
        record = self.read_definition(max(numbers))
        if record is None:
            raise StoreConflictError(f"{self}{definition_path(max(numbers))} vanished")
        return record

    def definitions(self, newest: DefinitionRecord) -> Iterator[DefinitionRecord]:
        """All definitions up to this one, oldest first. Raises `MissingDefinitionError` where one is missing."""
        for number in range(newest.number):
            record = self.read_definition(number)
            if record is None:
                raise MissingDefinitionError(f"{self}{definition_path(number)} is gone, which says what was delivered")
            yield record
        yield newest

    def read_definition(self, number: int) -> DefinitionRecord | None:
        """Return this definition; None if it does not exist. Raises `ForeignObjectError` if it is another stream's."""
        path = definition_path(number)
        if (content := self.store.read(path)) is None:
            return None
        record = DefinitionRecord.parse(content, f"{self}{path}")
        if (record.pipeline, record.stream) != (self.stream.pipeline, self.stream.name):
            raise ForeignObjectError(f"{self}{path} belongs to {record.pipeline}/{record.stream}, not to {self.stream}")
        return record

    def _numbers(self) -> list[int]:
        """Return the numbers of all definitions."""
        names = (key.removeprefix(DEFINITIONS).removesuffix(".json") for key in all_keys(self.store, DEFINITIONS))
        return [int(name) for name in names if name.isdecimal()]

    def _orphan(self) -> str | None:
        """Return any object of the stream: a stream without a definition that starts fresh would skip changes."""
        own = next(iter(self.store.keys(OWN, limit=1)), None)
        return own or next((key for key in all_keys(self.store, "") if STEM.search(key)), None)

    def refuse_later(self, definition: DefinitionRecord) -> None:
        """Raise `MissingDefinitionError` if leads of a later definition exist, but its record does not."""
        folder = after = LEADS if self.store.metadata_limit else BATCHES
        while keys := self.store.keys(folder, after=after, limit=1):
            number = keys[0].removeprefix(folder).partition("/")[0]
            if number.isdecimal() and int(number) > definition.number:
                self._refuse_undefined(keys[0], int(number))
            after = f"{folder}{number}/~"
            if not self.store.ordered:
                return

    def _refuse_undefined(self, path: str, number: int) -> None:
        """Raise `MissingDefinitionError` unless this definition exists; it may just have been created."""
        if self.store.head(definition_path(number)) is None:
            raise MissingDefinitionError(
                f"{self}{path} belongs to definition {number}, but its record {definition_path(number)} is missing"
            )

    # --- batches

    def lead(self, definition: DefinitionRecord, layout: FileLayout, first: Position) -> str:
        """Return the path of a batch's lead, which follows from the batch's first position alone."""
        if not self.store.metadata_limit:
            return batch_path(definition.number, first)
        return layout.only_path(first, self.stream) or lead_path(definition.number, first)

    def tail(self, definition: DefinitionRecord) -> tuple[Position, Unfinished | None]:
        """Return where the definition's complete batches end, durably, and the incomplete batch after them, if any.

        Only the newest batch can be incomplete: a batch starts only once the previous one is complete.
        """
        if definition.closed:
            return definition.anchor, None
        newest_first = self._batches(definition)
        newest = next(newest_first, None)
        if newest is None:
            return definition.anchor, None
        lead, record = newest
        missing = self.missing(record, lead)
        if not missing:
            self.make_durable(record, lead)
            return record.end, None
        before = next(newest_first, None)
        end = before[1].end if before is not None else definition.anchor
        return end, Unfinished(lead, record, tuple(missing))

    def _batches(self, definition: DefinitionRecord) -> Iterator[tuple[str, BatchRecord]]:
        """Yield the batches of a definition with the paths of their leads, newest first."""
        for path in self._leads(definition).newest_first():
            carried = self.store.head(path)
            if carried is None or LEAD in carried:
                continue  # an object of another definition's batch
            record = self.read_record(path, carried)
            if record.definition > definition.number:
                self._refuse_undefined(path, record.definition)
            if record.definition == definition.number:
                yield path, record

    def _leads(self, definition: DefinitionRecord) -> Leads:
        # Names before the anchor belong to older definitions.
        since, number = stem(definition.anchor).rpartition("-")[0], definition.number

        def anywhere(path: str, stem_: str, seconds: int) -> bool:
            return True

        if not self.store.metadata_limit:
            folder = batches_folder(number)
            return Leads(self.store, folder, since, anywhere, self._sorted(lambda it: f"{folder}{_day(it)}/{it:010}"))
        layout = recorded_layout(definition)
        if layout.is_split(self.stream):
            folder = leads_folder(number)
            return Leads(self.store, folder, since, anywhere, self._sorted(lambda it: f"{folder}{it:010}"))

        def folder_of(seconds: int) -> str:
            return layout.only_folder(Timestamp(seconds, 0), self.stream)

        def in_its_folder(path: str, stem_: str, seconds: int) -> bool:
            return path.startswith(f"{folder_of(seconds)}{stem_}") or not definition.anchor.cluster_time

        sorts = layout.sorts_by_time and definition.anchor.cluster_time is not None
        lower = self._sorted(lambda it: f"{folder_of(it)}{it:010}") if sorts else None
        return Leads(self.store, "", since, in_its_folder, lower)

    def _sorted(self, lower: Callable[[int], str]) -> Callable[[int], str] | None:
        return lower if self.store.ordered else None

    def missing(self, record: BatchRecord, lead: str, *, but: Collection[str] = ()) -> list[ObjectRecord]:
        """Return the objects of the batch that do not exist; those in `but` are known to exist.

        Raises `ForeignObjectError` if an object with such a name belongs to another batch.
        """
        parts = [part for part in record.parts if part.path != lead and part.path not in but]
        present = self._each([lambda path=part.path: self.exists(path, lead) for part in parts])  # type: ignore[misc]
        return [part for part, exists in zip(parts, present, strict=True) if not exists]

    def exists(self, path: str, lead: str) -> bool:
        """Return whether this object of the batch exists. Raises `ForeignObjectError` if it names another lead."""
        carried = self.store.head(path)
        if carried is not None and self.store.metadata_limit and carried.get(LEAD) != lead:
            raise ForeignObjectError(f"{self}{path} does not belong to the batch {lead}")
        return carried is not None

    def make_durable(self, record: BatchRecord, lead: str) -> None:
        """Make a batch durable that another process may have abandoned before doing so."""
        self.store.make_durable([lead, *(part.path for part in record.parts)])

    def find_record(self, lead: str) -> BatchRecord | None:
        """Return the lead's record; None if the lead does not exist. Raises `ForeignObjectError` if it has none."""
        carried = self.store.head(lead)
        return self.read_record(lead, carried) if carried is not None else None

    def read_record(self, lead: str, carried: Record) -> BatchRecord:
        """Return the record of a lead with this metadata. Raises `ForeignObjectError` if it has none."""
        content: str | bytes | None = carried.get(RECORD)
        if not self.store.metadata_limit:
            content = self.store.read(lead)
        elif content is None and (path := carried.get(RECORD_AT)):
            content = self.store.read(path)
        if content is None:
            raise ForeignObjectError(f"{self}{lead} carries no Rigatoni record")
        return BatchRecord.parse(content, f"{self}{lead}")


def recorded_layout(definition: DefinitionRecord) -> FileLayout:
    """Return a layout with the folders of a recorded definition."""
    layout = definition.layout
    partition_by, template = tuple(layout.get("partition_by", ())), str(layout.get("folder_template", ""))
    folds_case = bool(layout.get("folds_case"))
    return FileLayout(None, partition_by, template, folds_case=folds_case).as_recorded(layout)  # type: ignore[arg-type]


def _day(seconds: int) -> str:
    return day(Position(resume_token="", fingerprint="", cluster_time=Timestamp(seconds, 0)))  # type: ignore[arg-type]


def recorded_streams(store: ObjectStore, pipeline: str) -> Sequence[Stream]:
    """The streams that have a definition in the folder of a pipeline."""
    found = list[Stream]()
    for folder in _folders(store):
        if (content := store.read(f"{folder}/{definition_path(0)}")) is not None:
            record = DefinitionRecord.parse(content, f"{pipeline}/{folder}/{definition_path(0)}")
            found.append(Stream(record.pipeline, record.stream))
    return sorted(stream for stream in found if stream.pipeline == pipeline)


def _folders(store: ObjectStore) -> Iterator[str]:
    """The folders directly in this one; in a request for each where the store returns keys in order."""
    if not store.ordered:
        yield from sorted({key.partition("/")[0] for key in all_keys(store, "")})
        return
    after = ""
    while keys := store.keys("", after=after, limit=1):
        folder = keys[0].partition("/")[0]
        yield folder
        after = f"{folder}0"  # the character after the slash
