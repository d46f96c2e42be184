"""The delivery protocol for one stream's objects: each event exactly once in effect, whatever crashes when.

    <prefix>/<stream.key>/
      [folders/]<stem><suffix>          the objects: <stem> names the batch by its first event
      _rigatoni/definition-N.json       what defines the batches of number N, and the position before the first
      _rigatoni/closing-N.json          from now on no batch of number N may begin
      _rigatoni/leads/N/<stem>          the leads of batches that may have several objects
      _rigatoni/records/<sha256>.json   records that are too long for an object's metadata

Resuming after the same position yields the same next event, so every run and every owner gives the same batch the same
name, wherever it cuts. The *lead* is the first thing of a batch that is created, and only if absent: it is the arbiter
that fixes the batch's end, which its metadata say. Its key follows from the first position alone. Where that decides
about the folder, too, the batch is one object and is its own lead. Where the events decide (by namespace, by field),
the lead is an empty object beside them, which also says what the others are; whoever finds one without all its objects
completes them. No object is ever changed or removed.

A new definition begins where the old chain ends, so that chain must not grow any more. Whoever wants the new one closes
the old one first: a mark, which everybody looks for right before creating a lead. A request that was on its way then
may still arrive: its end is looked for only when `settle_time` has passed. So the one assumption is that no attempt to
create a lead, from the look at the mark to the store's effect, lasts longer. Whoever broke it says so (`_replaced`).

Everything here blocks: call it from a thread, one call at a time for each `Chain`.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from functools import partial

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DefinitionChangedError, ForeignObjectError
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_objects.file_layout import FileLayout, Part, stem
from rigatoni_objects.records import (
    BatchRecord,
    Contents,
    DefinitionRecord,
    PartRecord,
    contents_of,
    is_same_place,
    later,
    missing_contents,
)

from rigatoni_s3.bucket import Bucket
from rigatoni_s3.errors import (
    DefinitionSettlingError,
    S3ConflictError,
    S3Error,
    S3KeyTooLongError,
    UnfinishedBatchError,
)
from rigatoni_s3.holdings import LEAD, RECORD, RECORD_AT, Holdings, closing_path, definition_path

MAX_KEY = 1024
"""Bytes of a key that S3 allows (S3 user guide, "Naming objects")."""
MAX_METADATA = 1900
"""Bytes of a record that metadata can hold: S3 allows 2 KB for names and values together, in ASCII."""
ROUNDS = 3
"""How often others may be quicker, with a definition or with a lead that then vanishes, before that is an error."""

_JSON = "application/json"


class Chain(Holdings):
    """One stream's batches below a prefix of a bucket, and which definition this run works with."""

    def __init__(
        self, bucket: Bucket, prefix: str, stream: Stream, layout: FileLayout, settle_time: float = 60.0
    ) -> None:
        super().__init__(bucket, prefix, stream)
        self.layout = layout
        self._settle_time = settle_time
        self._definition: DefinitionRecord | None = None
        self._told_fresh = False
        self._seen_closing: dict[int, float] = {}
        self._looking = True  # ask whether a batch is there before serialising it
        self._end: Position | None = None  # of the last batch that this run created

    # --- where the stream goes on

    def last_committed(self) -> Position | None:
        """The end of the newest complete batch, else the newest definition's anchor; None where there is neither."""
        definition = self._newest_definition()
        self._told_fresh = definition is None
        return self._tail(definition)[0] if definition is not None else None

    def begin(self, definition: Definition, position: Position, gap: Gap | None = None) -> Position:
        """See `PositionKeeper.begin`. A changed definition waits until the old one has settled."""
        if (longest := len(self.folder) + self.layout.longest_path) > MAX_KEY:
            raise S3KeyTooLongError(f"{self}: keys may be {longest} bytes long, S3 allows {MAX_KEY}")
        for _ in range(ROUNDS):
            newest = self._newest_definition()
            resumed = self._resume(newest, definition, position, gap)
            if resumed is not None:
                self._told_fresh = False
                self._looking = True
                return resumed
            if self._define(newest, definition, position, gap):
                gap = None  # recorded: what is in force now is this very definition
        raise S3ConflictError(f"{self}: its definition changes again and again, or does not show in listings")

    def _resume(
        self, newest: DefinitionRecord | None, definition: Definition, position: Position, gap: Gap | None
    ) -> Position | None:
        """The position in force if the newest definition is this one; None where a new one must be created."""
        mine = self._definition
        if newest is None:
            return None
        same = newest.means(definition, self.layout)
        if mine is not None and newest.number > mine.number and not same:
            raise self._replaced(mine, newest)
        if gap is not None:
            return None
        if newest.deployment != definition.deployment:
            if position.deployment != newest.deployment:
                raise ForeignObjectError(
                    f"{self} belongs to the deployment {newest.deployment!r}, but {self.stream} is read from "
                    f"{definition.deployment!r}"
                )
            return position  # of the other deployment: the source is the one to say that it is lost
        if not same or (self._is_closed(newest) and self._tail(newest)[1] is None):
            return None
        self._definition = newest
        if self._told_fresh:  # a concurrent start was quicker: its anchor is in force, ours may be later
            return self._tail(newest)[0]
        return later(newest.anchor, position)

    def _define(
        self, newest: DefinitionRecord | None, definition: Definition, position: Position, gap: Gap | None
    ) -> bool:
        """Create the definition after `newest`; False where somebody was quicker, perhaps with this very one."""
        anchor = position
        if newest is not None:
            self._close(newest, wait=gap is None)
            if gap is None:
                end = self._ended(newest)
                anchor = end if self._told_fresh else later(end, position)
        record = DefinitionRecord.following(newest, self.stream, definition, self.layout, anchor, gap)
        return self._bucket.create(self._key(definition_path(record.number)), record.dump(), media_type=_JSON)

    def _close(self, definition: DefinitionRecord, *, wait: bool) -> None:
        """Let no further batch of this definition begin. Raises `DefinitionSettlingError` until all is quiet.

        Behind a gap nothing depends on where the old chain ends: there is nothing to wait for.
        """
        if not self._is_closed(definition):
            self._bucket.create(self._key(closing_path(definition.number)), b"{}\n", media_type=_JSON)
        seen = self._seen_closing.setdefault(definition.number, time.monotonic())
        left = seen + self._settle_time - time.monotonic()
        if wait and left > 0:
            raise DefinitionSettlingError(
                f"{self.stream}: its definition has changed; what an instance with the old one may have under way has "
                f"{self._settle_time:.0f} s to end",
                retry_after=left,
            )

    def _ended(self, definition: DefinitionRecord) -> Position:
        """Where a closed definition's batches end for good."""
        end, unfinished = self._tail(definition)
        if unfinished is not None:
            raise UnfinishedBatchError(
                f"{self.stream}: its definition has changed, but the last batch of the old one "
                f"({stem(unfinished.first)}) has only some of its objects"
            )
        return end

    def _found(self, lead: str, definition: DefinitionRecord, first: Position) -> BatchRecord | None:
        """The batch that is there under this name, if any. Raises `ForeignObjectError` where it is not ours."""
        record = self._record(lead)
        if record is None or record.belongs_to(definition, first):
            return record
        if (record.pipeline, record.stream) == (self.stream.pipeline, self.stream.name):
            newest = self._newest_definition()
            if newest is not None and newest.number > definition.number:
                raise self._replaced(definition, newest)
        raise ForeignObjectError(f"{self}{lead} belongs to another batch than that of {self.stream}")

    # --- writing

    def write(self, events: EventBatch, contents: Callable[[], Contents] | None = None) -> Position | None:
        """See `Destination.write_batch`. `contents` answers what `made` answers, where that was begun before."""
        definition = self._definition
        if definition is None:
            raise S3Error(f"{self.stream}: nothing was settled by begin() before the first write")
        together = self.layout.cut(events)
        if together < len(events):
            return events[:together].end  # a batch never lies in two partitions of time
        try:
            return self._write(definition, events, events.first, contents or partial(made, self.layout, events))
        except BaseException:
            self._looking = True  # it may be there all the same
            raise

    def _write(
        self, definition: DefinitionRecord, events: EventBatch, first: Position, contents: Callable[[], Contents]
    ) -> Position | None:
        only = self.layout.only_path(first, self.stream)
        lead = only or f"_rigatoni/leads/{definition.number}/{stem(first)}"
        made_now: Contents | None = None
        for _ in range(ROUNDS):
            if self._looking and (found := self._found(lead, definition, first)):
                if not is_same_place(found.end, events.end):
                    return found.end
                self._complete(found, lead, events)
                return None
            if made_now is None:
                made_now = contents()
            if self._create(lead, definition, events, made_now):
                self._looking, self._end = False, events.end
                return None
            self._looking = True
        raise S3ConflictError(f"{self}{lead} is in the way, and then it is not")

    def _create(self, lead: str, definition: DefinitionRecord, events: EventBatch, contents: Contents) -> bool:
        """Write the batch; False where somebody has fixed its end before."""
        alone = len(contents) == 1 and contents[0][0].path == lead
        parts = tuple(PartRecord.of(part, alone=alone or len(contents) == 1) for part, _ in contents)
        metadata = self._described(BatchRecord.of(definition, events, parts))
        if self._is_closed(definition):
            raise self._closed(definition)
        content, media_type = (contents[0][1], self._media_type) if alone else (b"", "application/octet-stream")
        if not self._bucket.create(self._key(lead), content, media_type=media_type, metadata=metadata):
            return False
        if not alone:
            for part, content in contents:
                self._add(part.path, content, lead)
        return True

    def _described(self, record: BatchRecord) -> Mapping[str, str]:
        """The record as metadata. One that is too long is stored first, named by its content, and referred to."""
        text = record.dump(compact=True)
        if len(text) <= MAX_METADATA:
            return {RECORD: text.decode("ascii")}
        path = f"_rigatoni/records/{hashlib.sha256(text).hexdigest()}.json"
        self._bucket.create(self._key(path), text, media_type=_JSON)
        return {RECORD_AT: path}

    def _complete(self, record: BatchRecord, lead: str, events: EventBatch) -> None:
        """Write those objects of a batch that an earlier run did not come to."""
        missing = self._missing(record, lead)
        if missing:
            for part, content in zip(missing, missing_contents(record, missing, events, self.layout), strict=True):
                self._add(part.path, content, lead)

    def _add(self, path: str, content: bytes | memoryview, lead: str) -> None:
        metadata = {LEAD: lead}
        if not self._bucket.create(self._key(path), content, media_type=self._media_type, metadata=metadata):
            self._is_there(path, lead)

    @property
    def _media_type(self) -> str:
        """Of the bytes as they are: no content encoding is set, so no reader decompresses what it will decompress."""
        encoding = self.layout.serializer.content_encoding
        return f"application/{encoding}" if encoding else self.layout.serializer.media_type

    def _closed(self, definition: DefinitionRecord) -> S3Error | DefinitionChangedError:
        newest = self._newest_definition()
        if newest is not None and newest.number > definition.number:
            return self._replaced(definition, newest)
        return DefinitionSettlingError(
            f"{self.stream}: another instance is changing its definition; nothing is written meanwhile",
            remedy="Stop one of them. If there is no other one any more, this one goes on by itself.",
        )

    def _replaced(self, mine: DefinitionRecord, newest: DefinitionRecord) -> DefinitionChangedError:
        text = f"{self.stream}: definition {mine.number} in {self} has been replaced by {newest.number}"
        after = self._read_definition(mine.number + 1)
        if after is not None and self._end is not None and self._end.order > after.anchor.order:
            text += (
                f"; a request of this instance arrived later than settle_time allows, so events up to cluster time "
                f"{self._end.cluster_time} are there twice, in objects of definition {mine.number} from cluster time "
                f"{after.anchor.cluster_time} on"
            )
        return DefinitionChangedError(text)


def made(layout: FileLayout, events: EventBatch) -> Contents:
    """The objects of a batch. Raises `RejectedEventsError`."""
    only = layout.only_path(events.first, events.stream)
    return contents_of(layout, [Part(only, range(len(events)), events)] if only else layout.parts(events))
