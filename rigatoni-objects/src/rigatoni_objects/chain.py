"""The delivery protocol for one stream's objects: each event exactly once in effect, whatever crashes when.

Resuming after the same position yields the same next event. So every run and every owner gives the same batch the same
name, wherever the batch ends. The *lead* is the first object of a batch to be created, and only if absent: it is the
arbiter that fixes the batch's end, which its record says. Its key follows from the first position alone. Where that
decides about the folder, too, and objects carry records, the batch is one object and is its own lead. Elsewhere the
lead is an object beside the others that also says what these are; whoever finds a lead without all its objects
completes the batch. So two owners at once still make one linear chain. No object of events is ever changed or removed.

A new definition begins where the old chain ends, so that chain must have come to rest:
see `rigatoni_objects.quiescence`.

Everything here blocks: call it from a thread, one call at a time for each `Chain`.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DefinitionChangedError, DestinationError, ForeignObjectError
from rigatoni_core.api.events import Definition, Gap, Identity, Position, Stream

from rigatoni_objects.contents import Contents, contents_of, missing_contents
from rigatoni_objects.errors import (
    DefinitionSettlingError,
    KeyTooLongError,
    StoreConflictError,
    UnfinishedBatchError,
)
from rigatoni_objects.file_layout import FileLayout, Part, stem
from rigatoni_objects.listing import LEAD, RECORD, RECORD_AT, Each, Listing
from rigatoni_objects.paths import definition_path, record_path
from rigatoni_objects.progress import CountedStore
from rigatoni_objects.quiescence import Quiescence
from rigatoni_objects.records import BatchRecord, DefinitionRecord, PartRecord, begun_otherwise, is_same_place, later
from rigatoni_objects.store import ObjectStore, Record

ROUNDS = 3
"""How often others may be quicker, with a definition or with a lead that then vanishes, before that is an error."""

_JSON, _EMPTY = "application/json", "application/octet-stream"


def one_by_one(calls: Sequence[Callable[[], bool]]) -> Sequence[bool]:
    """The simplest `Each`."""
    return [call() for call in calls]


class Chain:
    """One stream's batches in a store, and which definition this run works with.

    Args:
        store: The stream's objects.
        stream: The stream.
        layout: How batches become objects.
        quiescence: How an old definition is brought to rest.
        where: The stream's folder, as a person would find it; for messages. Ends with a slash.
        each: How the objects of one batch are created and looked for.
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
        self._definition: DefinitionRecord | None = None
        self._told_fresh = False
        self._looking = True  # ask whether a batch exists before serializing it
        self._end: Position | None = None  # of the last batch that this run created
        self.serializer_change = ""  # how objects differ from those of the definition that this run has replaced
        self._complete_parts: set[str] = set()  # of the batch in work
        self._tried = ""  # the lead that this run tried to create last
        self.found = 0
        """Events of batches that an earlier run had written; not of one whose reply was lost."""

    def __str__(self) -> str:
        return str(self._listing)

    @property
    def progress(self) -> int:
        """How many requests to the store have returned: it grows while work makes headway."""
        return self._store.requests

    # --- where the stream resumes

    def last_committed(self) -> Position | None:
        """Return the end of the newest complete batch, else the newest definition's anchor; None for a fresh stream.

        Raises:
            MissingDefinitionError: Objects exist without their definition.
        """
        definition = self._listing.newest_definition()
        self._told_fresh = definition is None
        if definition is None:
            return None
        self._listing.refuse_later(definition)
        return self._listing.tail(definition)[0]

    def recorded_identity(self) -> Identity:
        """Return what is on record of the deployment; an empty identity for a fresh stream."""
        newest = self._listing.newest_definition()
        return newest.identity if newest is not None else Identity()

    def begin(self, definition: Definition, position: Position, gap: Gap | None = None) -> Position:
        """See `PositionKeeper.begin`. A changed definition waits until the old one is at rest."""
        self._check_keys()
        self._quiescence.prepare()
        for _ in range(ROUNDS):
            with self._quiescence.writing():
                resumed = self._resume(self._listing.newest_definition(), definition, position, gap)
            if resumed is None:
                with self._quiescence.defining():
                    newest = self._listing.newest_definition()
                    resumed = self._resume(newest, definition, position, gap)
                    if resumed is None and self._define(newest, definition, position, gap):
                        gap = None  # recorded: what is in force now is this very definition
            if resumed is not None:
                self._told_fresh, self._looking, self._tried = False, True, ""
                return resumed
        raise StoreConflictError(f"{self}: its definition changes again and again, or does not show in listings")

    def close(self) -> Position | None:
        """See `StreamCloser.close_stream`. The next `begin` makes a new definition."""
        self._quiescence.prepare()
        newest = self._listing.newest_definition()
        if newest is None:
            return None
        with self._quiescence.defining():
            self._close(newest, wait=True)
            return self._ended(newest)

    def _check_keys(self) -> None:
        limit, longest = self._store.key_limit, self.layout.longest_path
        if limit and longest > limit:
            raise KeyTooLongError(f"{self}: paths may be {longest} bytes long here, the store takes {limit}")

    def _resume(
        self, newest: DefinitionRecord | None, definition: Definition, position: Position, gap: Gap | None
    ) -> Position | None:
        """The position in force if the newest definition is this one; None where a new one must be created."""
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
        self._store.make_durable([definition_path(newest.number)])  # whoever created it may have died right before
        self._definition, self.layout = newest, self._configured.as_recorded(newest.layout)
        if self._told_fresh:  # a concurrent start was quicker: its anchor is in force, ours may be later
            return self._listing.tail(newest)[0]
        return later(newest.anchor, position)

    def _define(
        self, newest: DefinitionRecord | None, definition: Definition, position: Position, gap: Gap | None
    ) -> bool:
        """Create the definition after `newest`; False where another owner was quicker, perhaps with this very one."""
        anchor = position
        if newest is not None:
            self._close(newest, wait=gap is None)
            self._store.make_durable([definition_path(newest.number)])  # no number may be missing before the new one
            if gap is None:
                end = self._ended(newest)
                anchor = end if self._told_fresh else later(end, position)
        record = DefinitionRecord.following(newest, self.stream, definition, self._configured, anchor, gap)
        created = self._store.create(definition_path(record.number), record.dump(), media_type=_JSON, record={})
        if created and newest is not None:
            self.serializer_change = self._configured.serializer_change(newest.layout)
        return created

    def _close(self, definition: DefinitionRecord, *, wait: bool) -> None:
        """Let no further batch of this definition begin. Raises `DefinitionSettlingError` until all is at rest.

        Behind a gap nothing depends on where the old chain ends: there is nothing to wait for.
        """

        def create(path: str) -> None:
            if self._store.head(path) is None:
                self._store.create(path, b"{}\n", media_type=_JSON, record={})

        left = self._quiescence.close(definition.number, create)
        if wait and left > 0:
            raise DefinitionSettlingError(
                f"{self.stream}: its definition has changed; requests of instances with the old one have {left:.0f} s "
                "left to end",
                retry_after=left,
            )

    def _ended(self, definition: DefinitionRecord) -> Position:
        """Where a closed definition's batches end for good.

        A last batch without a single object is void: it is removed where nobody else can be completing it.
        """
        end, unfinished = self._listing.tail(definition)
        if unfinished is not None:
            there, of = len(unfinished.record.parts) - len(unfinished.missing), len(unfinished.record.parts)
            if there or not self._quiescence.exclusive:
                raise UnfinishedBatchError(
                    f"{self.stream}: its definition has changed, but the last batch of the old one "
                    f"({stem(unfinished.record.first)}) has only {there} of its {of} objects"
                )
            self._store.delete([unfinished.lead])
        return end

    # --- writing

    def write(self, events: EventBatch, contents: Callable[[], Contents] | None = None) -> Position | None:
        """See `Destination.write_batch`. `contents` returns what `contents_of` does, where that was begun before."""
        definition = self._definition
        if definition is None:
            raise DestinationError(
                f"{self.stream}: nothing was decided by begin() before the first write",
                remedy="Call begin() first; the engine does.",
            )
        together = self.layout.split(events)
        if together < len(events):
            return events[:together].end  # a batch never lies in two partitions of time, nor has too many objects
        try:
            with self._quiescence.writing():
                return self._write(definition, events, contents or partial(self._contents, events))
        except BaseException:
            self._looking = True  # it may exist all the same
            raise

    def _write(
        self, definition: DefinitionRecord, events: EventBatch, contents: Callable[[], Contents]
    ) -> Position | None:
        lead = self._listing.lead(definition, self.layout, events.first)
        made: Contents | None = None
        for _ in range(ROUNDS):
            looking = self._looking or not self._store.metadata_limit  # there a look at the lead costs nothing
            if looking and (found := self._found(lead, definition, events.first)):
                if not is_same_place(found.end, events.end):
                    return found.end
                if not self._complete(found, lead, events) and lead != self._tried:
                    self.found += len(events)
                return None
            if made is None:
                made = contents()
            if self._create(lead, definition, events, made):
                self._looking, self._end = False, events.end
                return None
            self._looking = True
        raise StoreConflictError(f"{self}{lead} exists, and then it does not")

    def _contents(self, events: EventBatch) -> Contents:
        return contents_of(self.layout, events, own_lead=bool(self._store.metadata_limit))

    def _found(self, lead: str, definition: DefinitionRecord, first: Position) -> BatchRecord | None:
        """The batch that exists under this name, if any. Raises `ForeignObjectError` where it is not ours."""
        record = self._listing.find_record(lead)
        if record is None or record.belongs_to(definition, first):
            return record
        if (record.pipeline, record.stream) == (self.stream.pipeline, self.stream.name):
            newest = self._listing.newest_definition()
            if newest is not None and newest.number > definition.number:
                raise self._replaced(definition, newest)
        raise ForeignObjectError(f"{self}{lead} belongs to another batch than that of {self.stream}")

    def _create(self, lead: str, definition: DefinitionRecord, events: EventBatch, contents: Contents) -> bool:
        """Write the batch; False where another owner has fixed its end before."""
        parts = tuple(PartRecord.of(part, events) for part, _ in contents)
        self._refuse_twins(events, parts)
        record = BatchRecord.of(definition, events, parts)
        if not self._store.metadata_limit:
            self._refuse_strangers(lead, record)
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

    def _refuse_twins(self, events: EventBatch, parts: Sequence[PartRecord]) -> None:
        """Two objects of a batch under one name: the second would be taken for written."""
        if len({part.path for part in parts}) < len(parts):
            raise begun_otherwise(events, "two objects under one name")

    def _refuse_strangers(self, lead: str, record: BatchRecord) -> None:
        """An object without a lead is not ours. Looks in this order, since another owner creates the lead first."""
        present = [part.path for part in record.parts if self._store.head(part.path) is not None]
        if present and self._store.head(lead) is None:
            raise ForeignObjectError(f"{self}{present[0]} exists, but no record of Rigatoni says what it is")

    def _carried(self, record: BatchRecord) -> Record:
        """The record as an object carries it. One that is too long is stored first, named by its content."""
        text = record.dump(compact=True)
        if len(text) <= self._store.metadata_limit:
            return {RECORD: text.decode("ascii")}
        path = record_path(hashlib.sha256(text).hexdigest())
        self._store.create(path, text, media_type=_JSON, record={})
        return {RECORD_AT: path}

    def _complete(self, record: BatchRecord, lead: str, events: EventBatch) -> bool:
        """Write those objects of a batch that an earlier attempt or run did not create; whether there were any."""
        missing = self._listing.missing(record, lead, but=self._complete_parts)
        self._listing.make_durable(record, lead)  # after looking: what is seen may have been put there a moment ago
        if missing:
            self._add(missing_contents(record, missing, events, self.layout), lead)
        return bool(missing)

    def _add(self, contents: Contents, lead: str) -> None:
        """Create the objects of a batch whose lead exists. One that exists already is ours by its record."""
        carried = {LEAD: lead} if self._store.metadata_limit else {}

        def add(part: Part, content: bytes | memoryview) -> bool:
            if not self._store.create(part.path, content, media_type=self._media_type, record=carried):
                self._listing.is_there(part.path, lead)
                self._store.make_durable([part.path])
            self._complete_parts.add(part.path)
            return True

        self._each([partial(add, part, content) for part, content in contents])

    @property
    def _media_type(self) -> str:
        """Of the bytes as they are: no content encoding is set, so no reader decompresses what it will decompress."""
        encoding = self.layout.serializer.content_encoding
        return f"application/{encoding}" if encoding else self.layout.serializer.media_type

    # --- another owner's definition

    def _is_closed(self, definition: DefinitionRecord) -> bool:
        return self._store.head(self._quiescence.mark(definition.number)) is not None

    def _closed(self, definition: DefinitionRecord) -> DestinationError:
        newest = self._listing.newest_definition()
        if newest is not None and newest.number > definition.number:
            return self._replaced(definition, newest)
        return DefinitionSettlingError(
            f"{self.stream}: another instance is changing its definition; nothing is written meanwhile",
            remedy="Stop one of them. If no other instance is left, this one resumes by itself.",
        )

    def _replaced(self, mine: DefinitionRecord, newest: DefinitionRecord) -> DefinitionChangedError:
        text = f"{self.stream}: definition {mine.number} in {self} has been replaced by {newest.number}"
        after = self._listing.read_definition(mine.number + 1)
        if after is not None and self._end is not None and self._end.order > after.anchor.order:
            text += (
                f"; a request of this instance arrived later than settle_time allows, so events up to cluster time "
                f"{self._end.cluster_time} are there twice, in objects of definition {mine.number} from cluster time "
                f"{after.anchor.cluster_time} on"
            )
        return DefinitionChangedError(text)
