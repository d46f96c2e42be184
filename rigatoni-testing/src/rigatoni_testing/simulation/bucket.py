"""The model's stores: objects that are created only if absent, and plain appended batches."""

import unicodedata
from array import array
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence

import attrs
from rigatoni_core.api.events import Position
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_objects.paths import BATCHES, DEFINITIONS, definition_path
from rigatoni_objects.records import BatchRecord, DefinitionRecord
from rigatoni_objects.store import Record

from rigatoni_testing.simulation.log import EventLog
from rigatoni_testing.simulation.network import DestinationDownError, world_time

SETTLE_TIME = 8.0
"""Seconds that a changed definition waits for requests in flight."""

Name = tuple[int, int, int]


def name_of(first: Position) -> Name:
    """A batch's name: cluster time and ordinal of its first event. Names sort like the stream."""
    assert first.cluster_time is not None
    return first.cluster_time.seconds, first.cluster_time.increment, first.ordinal


@attrs.define(eq=False)
class Bucket:
    """One stream's objects. Each method is one atomic request, which is done once it returns.

    `carries`: whether objects carry records. `folds_case`: whether names that differ by case only are one.
    `on_lead` is called for each batch that begins.
    """

    log: EventLog
    carries: bool = True
    folds_case: bool = False
    on_lead: Callable[[BatchRecord], None] = lambda _: None
    objects: dict[str, tuple[bytes, Record]] = attrs.field(factory=dict)
    definitions: list[DefinitionRecord] = attrs.field(factory=list)
    leads: dict[Name, BatchRecord] = attrs.field(factory=dict)
    _keys: list[str] = attrs.field(factory=list)
    _folded: dict[str, str] = attrs.field(factory=dict)
    _closed: dict[int, float] = attrs.field(factory=dict)

    def create(self, key: str, content: bytes, record: Record) -> bool:
        """Create the object if absent."""
        if self._real(key) in self.objects:
            return False
        lead = self._lead(key, content, record)
        if lead is not None:
            if world_time() > self._closed.get(lead.definition, float("inf")) + SETTLE_TIME:
                # the protocol's one assumption about time: no request takes longer
                raise DestinationDownError("a request of a closed definition arrived later than any store allows")
            self.on_lead(lead)
            self.leads.setdefault(name_of(lead.first), lead)
        if key.startswith("_rigatoni/closing-"):
            self._closed[int(key.removeprefix("_rigatoni/closing-").removesuffix(".json"))] = world_time()
        if key.startswith(DEFINITIONS) and len(self.definitions) == int(key[len(DEFINITIONS) : -len(".json")]):
            self.definitions.append(DefinitionRecord.parse(content, key))
        self.put(key, content, record)
        return True

    def put(self, key: str, content: bytes, record: Record) -> None:
        """Put an object, bypassing the protocol."""
        self.objects[key] = (content, record)
        self._folded[_fold(key)] = key
        insort(self._keys, key)

    def remove(self, key: str) -> tuple[bytes, Record]:
        """Delete an object, bypassing the protocol."""
        self._keys.remove(key)
        self._folded.pop(_fold(key), None)
        return self.objects.pop(key)

    def find(self, key: str) -> tuple[bytes, Record] | None:
        """Returns the object's content and record, or None."""
        return self.objects.get(self._real(key))

    def keys(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        """Returns up to `limit` keys with this prefix after another key, in order."""
        start = bisect_right(self._keys, after) if after else 0
        found = []
        for key in self._keys[start:]:
            if key.startswith(prefix):
                found.append(key)
                if len(found) == limit:
                    break
        return found

    def is_complete(self, lead: BatchRecord) -> bool:
        """Returns whether all objects of a batch exist."""
        return all(self._real(part.path) in self.objects for part in lead.parts)

    def numbers_in(self, path: str) -> list[int]:
        """Returns the numbers of the events in an object."""
        found = self.find(path)
        return list(array("I", found[0])) if found is not None else []

    def vanish_definitions(self) -> Mapping[str, tuple[bytes, Record]]:
        """Delete the definitions, as a lifecycle rule would; returns their keys."""
        paths = [definition_path(record.number) for record in self.definitions]
        return {path: self.remove(path) for path in paths if path in self.objects}

    def _real(self, key: str) -> str:
        return self._folded.get(_fold(key), key) if self.folds_case else key

    def _lead(self, key: str, content: bytes, record: Record) -> BatchRecord | None:
        text: str | bytes | None = record.get("record")
        if text is None and (path := record.get("record_at")):
            text = self.objects[path][0]
        if text is None and key.startswith(BATCHES):
            text = content
        return BatchRecord.parse(text, key) if text is not None else None


def _fold(key: str) -> str:
    return unicodedata.normalize("NFC", key).casefold()


@attrs.define
class Appended:
    """One stream's batches at a destination without a chain: every write is appended.

    `record` is what a transactional one commits with them.
    """

    log: EventLog
    record: StreamRecord | None = None
    batches: list[Sequence[int]] = attrs.field(factory=list)
