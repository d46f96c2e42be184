"""The chain of one range of a snapshot: its batches are chunks, whose rows cannot be read again as they were.

A batch of change events can be read again, so an owner that finds it unfinished completes it with its own reading. A
chunk of a snapshot is named by its number alone. Each owner reads other rows, up to another end. So the first record of
the chunk fixes its end and its content, which is stored before the record: the objects are *staged* under the digests
of their contents, and the record names the digests. An owner that finds the chunk unfinished takes the objects from
there. A chunk that is its own lead needs none of this: its object and its record are created together.

Staged objects are removed once the objects of their chunk exist, or once another owner's chunk does. Without the
permission to remove them they stay, and do no harm.
"""

import hashlib
from collections.abc import Iterable, Mapping

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DestinationError, Transient
from rigatoni_core.api.events import Position

from rigatoni_objects.chain import Chain
from rigatoni_objects.contents import Contents
from rigatoni_objects.errors import StagedObjectGoneError
from rigatoni_objects.paths import staged_path
from rigatoni_objects.records import BatchRecord, DefinitionRecord, ObjectRecord


class ChunkChain(Chain):
    """The chunks of one range of a snapshot; see `Chain`."""

    _staged: Mapping[str, str] = {}
    """The digests of what this run staged last, by the paths of the objects."""

    def _adopted(self, found: BatchRecord, lead: str, events: EventBatch) -> Position | None:
        """See `Chain`. All ends of a chunk have one order, so only the token tells them apart."""
        self._finish(found, lead)
        if found.end.resume_token != events.end.resume_token:
            return found.end
        if lead != self._tried:
            self.found += len(events)
        return None

    def _recorded(self, contents: Contents, events: EventBatch, lead: str) -> tuple[ObjectRecord, ...]:
        """See `Chain`. Stages the objects, unless the chunk is its own lead."""
        parts = super()._recorded(contents, events, lead)
        if [part.path for part in parts] == [lead]:
            self._staged = {}
            return parts
        self._staged = {part.path: self._stage(content) for part, content in contents}
        return tuple(attrs.evolve(part, staged=self._staged[part.path]) for part in parts)

    def _stage(self, content: bytes | memoryview) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if not self._store.create(staged_path(digest), content, media_type=self._media_type, record={}):
            self._store.make_durable([staged_path(digest)])
        return digest

    def _create(self, lead: str, definition: DefinitionRecord, events: EventBatch, contents: Contents) -> bool:
        """See `Chain`. Removes what was staged once the chunk is complete."""
        created = super()._create(lead, definition, events, contents)
        if created:
            self._remove_staged(self._staged.values())
        return created

    def _put(self, path: str, content: bytes | memoryview, lead: str) -> bool:
        """See `Chain`. Links what is staged, if the store can."""
        if path in self._staged and self._store.link(staged_path(self._staged[path]), path):
            self._complete_parts.add(path)
            return True
        return super()._put(path, content, lead)

    def _finish(self, record: BatchRecord, lead: str) -> None:
        """Create the missing objects of a chunk from what is staged, and make all of it durable."""
        mine, self._staged = self._staged.values(), {part.path: part.staged for part in record.parts if part.staged}
        missing = self._listing.missing(record, lead, but=self._complete_parts)
        self._listing.make_durable(record, lead)
        for part in missing:
            self._unstage(part, lead)
        self._remove_staged((*mine, *self._staged.values()))
        self._staged = {}

    def _unstage(self, part: ObjectRecord, lead: str) -> None:
        content = self._store.read(staged_path(part.staged)) if part.staged else None
        if content is None and self._listing.exists(part.path, lead):
            return  # another owner has just completed the chunk
        if content is None or hashlib.sha256(content).hexdigest() != part.staged:
            raise StagedObjectGoneError(f"{self}{part.path} is missing, and so is what was staged for it")
        self._put(part.path, content, lead)

    def _remove_staged(self, digests: Iterable[str]) -> None:
        paths = [staged_path(digest) for digest in sorted(set(digests))]
        try:
            self._store.delete([path for path in paths if self._store.head(path) is not None])
        except DestinationError as error:
            if isinstance(error, Transient):
                raise
