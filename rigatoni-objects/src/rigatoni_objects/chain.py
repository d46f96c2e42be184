"""The delivery protocol for one stream's objects: each event exactly once in effect, across crashes and takeovers.

Resuming after the same position yields the same next event. Every run and every owner therefore gives the same batch
the same name, wherever the batch ends. The *lead* is the first object of a batch, created with a conditional put. It
is the arbiter: its record fixes the batch's end, and its key follows from the batch's first position alone. If that
position also determines the folder, and objects carry records, the batch is one object and is its own lead. Otherwise
the lead is a separate object that lists the objects of the batch. An owner that finds a lead without all its objects
completes the batch. Two concurrent owners therefore still produce one linear chain. Event objects are never changed or
removed.

A new definition starts where the old chain ends, so the old chain must be quiescent: see `rigatoni_objects.quiescence`.

Everything here blocks: call it from a thread, one call at a time for each `Chain`.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import partial

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DefinitionChangedError, DestinationError, ForeignObjectError
from rigatoni_core.api.events import Coverage, Definition, Gap, Position, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.succession import History

from rigatoni_objects.contents import Contents, contents_of, missing_contents
from rigatoni_objects.definitions import Definitions
from rigatoni_objects.errors import (
    DefinitionSettlingError,
    KeyTooLongError,
    StoreConflictError,
)
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.listing import LEAD, RECORD, RECORD_AT, Each, Listing
from rigatoni_objects.paths import definition_path, record_path
from rigatoni_objects.progress import CountedStore
from rigatoni_objects.quiescence import Quiescence
from rigatoni_objects.records import (
    BatchRecord,
    DefinitionRecord,
    ObjectRecord,
    is_same_place,
    later,
    started_differently,
)
from rigatoni_objects.store import ObjectStore, Record

ROUNDS = 3
"""Attempts to create a definition or a lead before losing the race to other owners is an error."""

_JSON, _EMPTY = "application/json", "application/octet-stream"


def one_by_one(calls: Sequence[Callable[[], bool]]) -> Sequence[bool]:
    """Make the calls one after another: the simplest `Each`."""
    return [call() for call in calls]


class Chain:
    """One stream's batches in a store, written under the definition in force.

    Args:
        store: The stream's objects.
        stream: The stream.
        layout: Maps batches to objects.
        quiescence: Closes old definitions.
        where: The stream's folder as shown in messages, with a trailing slash; default: the stream's key.
        each: Runs the requests for the objects of one batch; default: one after another.
    """

    def __init__(
        self,
        store: ObjectStore,
        stream: Stream,
        layout: FileLayout,
        quiescence: Quiescence,
        where: str = "",
        each: Each = one_by_one,
    ) -> None:
        self.stream = stream
        self.layout = layout  # with the spelling of the definition in force
        self._configured = layout
        self._store = CountedStore(store)
        self._quiescence = quiescence
        self._each = each
        self._listing = Listing(self._store, stream, where or f"{stream.key}/", each)
        self._definitions = Definitions(self._store, self._listing, quiescence)
        self._definition: DefinitionRecord | None = None
        self._reported_fresh = False
        self._check_exists = True  # look for the batch before serializing it
        self._end: Position | None = None  # of the last batch that this run created
        self.serializer_change = ""  # how the serializer differs from that of the definition that this run replaced
        self._complete_parts: set[str] = set()  # of the current batch
        self._tried = ""  # the lead that this run tried to create last
        self.found = 0
        """Events in batches that an earlier run wrote. Batches of this run whose response was lost do not count."""

    def __str__(self) -> str:
        return str(self._listing)

    @property
    def progress(self) -> int:
        """The number of requests to the store that have returned: it grows while work advances."""
        return self._store.requests

    # --- where the stream resumes

    def last_committed(self) -> Position | None:
        """Return the end of the newest complete batch, else the newest definition's anchor; None for a fresh stream.

        Raises:
            MissingDefinitionError: Objects exist without their definition.
        """
        definition = self._listing.newest_definition()
        self._reported_fresh = definition is None
        if definition is None:
            return None
        self._listing.refuse_later(definition)
        return self._listing.tail(definition)[0]

    def recorded_identity(self) -> Identity:
        """Return the recorded identity of the source's deployment; an empty identity for a fresh stream."""
        newest = self._listing.newest_definition()
        return newest.identity if newest is not None else Identity()

    @property
    def left_out(self) -> Sequence[Coverage]:
        """What the definition in force leaves out, because it was delivered otherwise."""
        return self._definition.left_out if self._definition is not None else ()

    def begin(
        self,
        definition: Definition,
        position: Position,
        gap: Gap | None = None,
        left_out: Sequence[Coverage] | None = None,
    ) -> Position:
        """Decide where the stream resumes; see `PositionKeeper.begin`, and with `left_out` `SuccessionKeeper.succeed`.

        Raises:
            DefinitionSettlingError: The definition has changed, and the old one is not quiescent yet.
            DefinitionChangedError: Another instance has replaced this run's definition.
        """
        self._check_keys()
        self._quiescence.prepare()
        for _ in range(ROUNDS):
            with self._quiescence.writing():
                resumed = self._resume(self._listing.newest_definition(), definition, position, gap, left_out)
            if resumed is None:
                with self._quiescence.defining():
                    newest = self._listing.newest_definition()
                    resumed = self._resume(newest, definition, position, gap, left_out)
                    if resumed is None and self._define(newest, definition, position, gap, left_out):
                        gap = left_out = None  # recorded: this definition is in force now
            if resumed is not None:
                self._reported_fresh, self._check_exists, self._tried = False, True, ""
                return resumed
        raise StoreConflictError(f"{self}: the definition keeps changing, or does not appear in listings")

    def close(self) -> Position | None:
        """Close the stream; see `StreamCloser.close_stream`. The next `begin` creates a new definition."""
        return self._definitions.close()

    def end(self, definition: Definition, position: Position, rest: Collection[str]) -> None:
        """Record where the closed stream ended; see `SuccessionKeeper.end_stream`."""
        record = DefinitionRecord.following(None, self.stream, definition, self._configured, position)
        self._definitions.end(record, rest)

    def history(self) -> History:
        """Return what is on record of the stream; see `SuccessionKeeper.history`."""
        newest, mine = self._listing.newest_definition(), self._definition
        if mine is not None and newest is not None and newest.closed and newest.number > mine.number:
            raise self._replaced(mine, newest)
        return self._definitions.history(newest)

    def _check_keys(self) -> None:
        limit, longest = self._store.key_limit, self.layout.longest_path
        if limit and longest > limit:
            raise KeyTooLongError(f"{self}: paths can reach {longest} bytes, but the store accepts at most {limit}")

    def _resume(
        self,
        newest: DefinitionRecord | None,
        definition: Definition,
        position: Position,
        gap: Gap | None,
        left_out: Sequence[Coverage] | None,
    ) -> Position | None:
        """Return the position to resume at under the newest definition; None if a new definition is needed."""
        mine = self._definition
        if newest is None:
            return None
        same = newest.means(definition, self._configured)
        if mine is not None and newest.number > mine.number and not same:
            raise self._replaced(mine, newest)
        if gap is not None:
            return None
        if not same or (self._is_closed(newest) and self._listing.tail(newest)[1] is None):
            return None
        self._store.make_durable([definition_path(newest.number)])  # its creator may have crashed first
        self._definition, self.layout = newest, self._configured.as_recorded(newest.layout)
        if self._reported_fresh or left_out is not None:  # a concurrent start won the race: its anchor is in force
            return self._listing.tail(newest)[0]
        return later(newest.anchor, position)

    def _define(
        self,
        newest: DefinitionRecord | None,
        definition: Definition,
        position: Position,
        gap: Gap | None,
        left_out: Sequence[Coverage] | None,
    ) -> bool:
        """Create the definition after `newest`; False if another owner created one first, perhaps the same one."""
        anchor, kept = position, left_out or ()
        if newest is not None and not newest.closed:
            self._definitions.bring_to_rest(newest, wait=gap is None)
            kept = newest.left_out  # in force until the stream is closed
        if newest is not None and gap is None and (left_out is None or not newest.closed):
            end = self._definitions.ended(newest)
            anchor = end if self._reported_fresh else later(end, position)
        record = DefinitionRecord.following(newest, self.stream, definition, self._configured, anchor, gap, kept)
        created = self._definitions.create(newest, record)
        if created and newest is not None:
            self.serializer_change = self._configured.serializer_change(newest.layout)
        return created

    # --- writing

    def write(self, events: EventBatch, contents: Callable[[], Contents] | None = None) -> Position | None:
        """Write a batch durably; see `Destination.write_batch`.

        Args:
            events: The batch.
            contents: Returns the prefetched result of `contents_of`; default: the batch is serialized here.

        Returns:
            None if the batch is durable, or the position at which it must end.
        """
        definition = self._definition
        if definition is None:
            raise DestinationError(
                f"{self.stream}: write() was called before begin()",
                remedy="Call begin() before the first write, as the engine does.",
            )
        together = self.layout.split(events)
        if together < len(events):
            return events[:together].end  # a batch must not span two time partitions, nor exceed max_objects
        try:
            with self._quiescence.writing():
                return self._write(definition, events, contents or partial(self._contents, events))
        except BaseException:
            self._check_exists = True  # the failed request may have taken effect
            raise

    def _write(
        self, definition: DefinitionRecord, events: EventBatch, contents: Callable[[], Contents]
    ) -> Position | None:
        lead = self._listing.lead(definition, self.layout, events.first)
        made: Contents | None = None
        for _ in range(ROUNDS):
            check = self._check_exists or not self._store.metadata_limit  # without records the check is cheap
            if check and (found := self._found(lead, definition, events.first)):
                return self._adopted(found, lead, events)
            if made is None:
                made = contents()
            if self._create(lead, definition, events, made):
                self._check_exists, self._end = False, events.end
                return None
            self._check_exists = True
        raise StoreConflictError(f"{self}{lead} keeps appearing and disappearing")

    def _adopted(self, found: BatchRecord, lead: str, events: EventBatch) -> Position | None:
        """Complete the batch that exists under this name; return its end if it is not that of `events`."""
        if not is_same_place(found.end, events.end):
            return found.end
        if not self._complete(found, lead, events) and lead != self._tried:
            self.found += len(events)
        return None

    def _contents(self, events: EventBatch) -> Contents:
        return contents_of(self.layout, events, own_lead=bool(self._store.metadata_limit))

    def _found(self, lead: str, definition: DefinitionRecord, first: Position) -> BatchRecord | None:
        """Return the batch that exists under this name. Raises `ForeignObjectError` if it is not this stream's."""
        record = self._listing.find_record(lead)
        if record is None or record.belongs_to(definition, first):
            return record
        if (record.pipeline, record.stream) == (self.stream.pipeline, self.stream.name):
            newest = self._listing.newest_definition()
            if newest is not None and newest.number > definition.number:
                raise self._replaced(definition, newest)
        raise ForeignObjectError(f"{self}{lead} does not belong to this batch of {self.stream}")

    def _create(self, lead: str, definition: DefinitionRecord, events: EventBatch, contents: Contents) -> bool:
        """Write the batch; False if another owner has already fixed its end."""
        parts = self._recorded(contents, events, lead)
        if len({part.path for part in parts}) < len(parts):  # the second would be mistaken for written
            raise started_differently(events, "two objects under one name")
        record = BatchRecord.of(definition, events, parts)
        if not self._store.metadata_limit:
            try:
                self._refuse_foreign(lead, record)
            except ForeignObjectError:
                if self._is_closed(definition):  # it is the object of the definition that has replaced this one
                    raise self._closed(definition) from None
                raise
            carried: Record = {}
            content: bytes | memoryview = record.dump()
            media_type = _JSON
        elif [part.path for part in parts] == [lead]:
            carried, content, media_type = self._carried(record), contents[0][1], self._media_type
        else:
            carried, content, media_type = self._carried(record), b"", _EMPTY
        if self._is_closed(definition):
            raise self._closed(definition)
        self._complete_parts, self._tried = set(), lead
        if not self._store.create(lead, content, media_type=media_type, record=carried):
            return False
        self._add([(part, content) for part, content in contents if part.path != lead], lead)
        return True

    def _recorded(self, contents: Contents, events: EventBatch, lead: str) -> tuple[ObjectRecord, ...]:
        """Return the records of a batch's objects."""
        return tuple(ObjectRecord.of(part, events) for part, _ in contents)

    def _refuse_foreign(self, lead: str, record: BatchRecord) -> None:
        """Raise `ForeignObjectError` if an object exists without a lead.

        Checks the objects before the lead, since another owner creates the lead first.
        """
        present = [part.path for part in record.parts if self._store.head(part.path) is not None]
        if present and self._store.head(lead) is None:
            raise ForeignObjectError(f"{self}{present[0]} exists, but no Rigatoni record describes it")

    def _carried(self, record: BatchRecord) -> Record:
        """Return the metadata that carries the record. A record that is too long is stored first, named by its hash."""
        text = record.dump(compact=True)
        if len(text) <= self._store.metadata_limit:
            return {RECORD: text.decode("ascii")}
        path = record_path(hashlib.sha256(text).hexdigest())
        self._store.create(path, text, media_type=_JSON, record={})
        return {RECORD_AT: path}

    def _complete(self, record: BatchRecord, lead: str, events: EventBatch) -> bool:
        """Create the objects that an earlier attempt or run did not; return whether any were missing."""
        missing = self._listing.missing(record, lead, but=self._complete_parts)
        self._listing.make_durable(record, lead)  # after the check: another owner may just have created it
        if missing:
            self._add(missing_contents(record, missing, events, self.layout), lead)
        return bool(missing)

    def _add(self, contents: Contents, lead: str) -> None:
        """Create the objects of a batch whose lead exists. An existing object must name this lead in its record."""
        self._each([partial(self._put, part.path, content, lead) for part, content in contents])

    def _put(self, path: str, content: bytes | memoryview, lead: str) -> bool:
        """Create one object of a batch whose lead exists."""
        carried = {LEAD: lead} if self._store.metadata_limit else {}
        if not self._store.create(path, content, media_type=self._media_type, record=carried):
            self._listing.exists(path, lead)
            self._store.make_durable([path])
        self._complete_parts.add(path)
        return True

    @property
    def _media_type(self) -> str:
        """The media type of the stored bytes. Setting a content encoding would make HTTP clients decompress them."""
        encoding = self.layout.serializer.content_encoding
        return f"application/{encoding}" if encoding else self.layout.serializer.media_type

    # --- definitions of other owners

    def _is_closed(self, definition: DefinitionRecord) -> bool:
        return self._definitions.is_closed(definition)

    def _closed(self, definition: DefinitionRecord) -> DestinationError:
        newest = self._listing.newest_definition()
        if newest is not None and newest.number > definition.number:
            return self._replaced(definition, newest)
        return DefinitionSettlingError(
            f"{self.stream}: another instance is changing the definition; writing is paused until it has finished",
            remedy="Stop one of the two instances. If only this one is left, it resumes by itself.",
        )

    def _replaced(self, mine: DefinitionRecord, newest: DefinitionRecord) -> DefinitionChangedError:
        text = f"{self.stream}: definition {mine.number} in {self} has been replaced by {newest.number}"
        after = self._listing.read_definition(mine.number + 1)
        if after is not None and self._end is not None and self._end.order > after.anchor.order:
            text += (
                f"; a request of this instance took effect after settle_time had passed, so events from cluster time "
                f"{after.anchor.cluster_time} to {self._end.cluster_time} are duplicated in objects of definition "
                f"{mine.number}"
            )
        return DefinitionChangedError(text)
