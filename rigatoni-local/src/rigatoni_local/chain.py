"""The delivery protocol for one stream's folder: each event exactly once in effect, whatever crashes when.

    <stream.key>/
      [partition/]<stem><suffix>             the files: <stem> names the batch by its first event
      _rigatoni/definition-N.json            what defines the batches of number N, and the position before the first
      _rigatoni/batches/N/<day>/<stem>.json  a batch's sidecar: where it ends and what its files are
      _rigatoni/tmp/                         files that have no name yet
      _rigatoni/lock                         shared while a batch is written, exclusive while a definition is created

Resuming after the same position yields the same next event, so every run and every owner gives the same batch the same
name, wherever it cuts. The sidecar is created first and only if absent: it is the arbiter that fixes the batch's end.
Whoever finds one with another end cuts there; whoever finds one without all its files completes them. So two owners at
once still make one linear chain. No file of events is ever changed or removed.

A new definition is created under the exclusive lock, so no batch of the old one is being written meanwhile; its anchor
is the old chain's end. Who still works with the old definition finds the new one before its next write, and stops.

Everything here blocks: call it from a thread, one call at a time for each `Chain`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DefinitionChangedError, ForeignObjectError
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_objects.file_layout import FileLayout, day, stem
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

from rigatoni_local import files
from rigatoni_local.errors import LocalError, LocalFolderGoneError, UnfinishedBatchError


class Chain:
    """One stream's batches below the folder `root`, and which definition this run works with."""

    def __init__(self, root: Path, stream: Stream, layout: FileLayout) -> None:
        self.stream = stream
        self.layout = layout
        self.folder = root / stream.key
        self._records = self.folder / "_rigatoni"
        self._temporary = self._records / "tmp"
        self._lock = self._records / "lock"
        self._tree = files.Tree(root)
        self._definition: DefinitionRecord | None = None
        self._told_fresh = False

    # --- where the stream goes on

    def last_committed(self) -> Position | None:
        """The end of the newest complete batch, else the newest definition's anchor; None where there is neither."""
        definition = self._newest_definition()
        self._told_fresh = definition is None
        return self._tail(definition)[0] if definition is not None else None

    def begin(self, definition: Definition, position: Position, gap: Gap | None = None) -> Position:
        """See `PositionKeeper.begin`. A changed definition waits until no batch is being written."""
        self._tree.make_folder(self._temporary)
        with files.locked(self._lock, exclusive=True, create=True, wait=False) as alone:
            if alone:
                files.sweep(self._temporary)
        with files.locked(self._lock, exclusive=False):
            resumed = self._resume(definition, position, gap)
        if resumed is None:
            with files.locked(self._lock, exclusive=True):
                while (resumed := self._resume(definition, position, gap)) is None:
                    if self._define(definition, position, gap):
                        gap = None  # recorded: what is in force now is this very definition
        self._told_fresh = False
        return resumed

    def _resume(self, definition: Definition, position: Position, gap: Gap | None) -> Position | None:
        """The position in force if the newest definition is this one; None where a new one must be created."""
        newest, mine = self._newest_definition(), self._definition
        if newest is None:
            return None
        same = newest.means(definition, self.layout)
        if mine is not None and newest.number > mine.number and not same:
            raise self._replaced(mine)
        if gap is not None:
            return None
        if newest.deployment != definition.deployment:
            if position.deployment != newest.deployment:
                raise ForeignObjectError(
                    f"{self.folder} belongs to the deployment {newest.deployment!r}, but {self.stream} is read from "
                    f"{definition.deployment!r}"
                )
            return position  # of the other deployment: the source is the one to say that it is lost
        if not same:
            return None
        files.sync_folder(self._records)  # whoever created it may have died right before
        self._definition = newest
        if self._told_fresh:  # a concurrent start was quicker: its anchor is in force, ours may be later
            return self._tail(newest)[0]
        return later(newest.anchor, position)

    def _define(self, definition: Definition, position: Position, gap: Gap | None) -> bool:
        """Create the next definition; False where somebody was quicker. Called under the exclusive lock."""
        newest = self._newest_definition()
        files.sync_folder(self._records)  # no number may be missing before the new one
        anchor = position
        if newest is not None and gap is None:
            end = self._ended(newest)
            anchor = end if self._told_fresh else later(end, position)
        record = DefinitionRecord.following(newest, self.stream, definition, self.layout, anchor, gap)
        with files.staged(record.dump(), self._temporary) as temporary:
            return self._tree.publish(temporary, self._definition_path(record.number))

    def _ended(self, definition: DefinitionRecord) -> Position:
        """Where an old definition's batches end for good. A last batch without a single file is void: it is removed."""
        end, unfinished = self._tail(definition)
        if unfinished is not None:
            if len(self._missing(unfinished)) < len(unfinished.parts):
                raise UnfinishedBatchError(
                    f"{self.stream}: its definition has changed, but the last batch of the old one "
                    f"({stem(unfinished.first)}) has only some of its files"
                )
            files.remove(self._sidecar(definition, unfinished.first))
        return end

    def _newest_definition(self) -> DefinitionRecord | None:
        names = [path.stem.removeprefix("definition-") for path in self._records.glob("definition-*.json")]
        number = max((int(name) for name in names if name.isdecimal()), default=None)
        if number is None:
            return None
        record = DefinitionRecord.parse((path := self._definition_path(number)).read_bytes(), str(path))
        if (record.pipeline, record.stream) != (self.stream.pipeline, self.stream.name):
            raise ForeignObjectError(f"{path} belongs to {record.pipeline}/{record.stream}, not to {self.stream}")
        return record

    def _definition_path(self, number: int) -> Path:
        return self._records / f"definition-{number}.json"

    def _replaced(self, mine: DefinitionRecord) -> DefinitionChangedError:
        return DefinitionChangedError(f"{self.stream}: definition {mine.number} in {self.folder} has been replaced")

    # --- what is written already

    def _tail(self, definition: DefinitionRecord) -> tuple[Position, BatchRecord | None]:
        """Where the definition's complete batches end, durably; and the incomplete one after them, if there is one.

        Only the newest can be incomplete: nobody begins a batch before the one before it is complete.
        """
        newest_first = self._sidecars(definition)
        newest = next(newest_first, None)
        if newest is None:
            return definition.anchor, None
        record = _batch_record(newest)
        if not self._missing(record):
            self._sync(newest, record)
            return record.end, None
        before = next(newest_first, None)
        return (_batch_record(before).end if before is not None else definition.anchor), record

    def _sidecar(self, definition: DefinitionRecord, first: Position) -> Path:
        return self._batches(definition) / day(first) / f"{stem(first)}.json"

    def _batches(self, definition: DefinitionRecord) -> Path:
        return self._records / "batches" / str(definition.number)

    def _sidecars(self, definition: DefinitionRecord) -> Iterator[Path]:
        """The sidecars of a definition, newest first."""
        folder = self._batches(definition)
        days = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
        return (path for day in days for path in sorted(day.glob("*.json"), reverse=True))

    def _missing(self, record: BatchRecord) -> list[PartRecord]:
        return [part for part in record.parts if not (self.folder / part.path).exists()]

    def _sync(self, sidecar: Path, record: BatchRecord) -> None:
        """Make a batch durable that another process may have left right before it did so."""
        folders = [sidecar.parent, *((self.folder / part.path).parent for part in record.parts)]
        for folder in dict.fromkeys(folders):
            self._tree.make_folder(folder)
            files.sync_folder(folder)

    # --- writing

    def write(self, events: EventBatch, contents: Callable[[], Contents] | None = None) -> Position | None:
        """See `Destination.write_batch`. `contents` answers what `made` answers, where that was begun before."""
        definition = self._definition
        if definition is None:
            raise LocalError(f"{self.stream}: nothing was settled by begin() before the first write")
        try:
            with files.locked(self._lock, exclusive=False):
                if self._definition_path(definition.number + 1).exists():
                    raise self._replaced(definition)
                return self._write(definition, events, events.first, contents or partial(made, self.layout, events))
        except FileNotFoundError as error:
            raise LocalFolderGoneError(f"{self.folder} vanished: {error}") from error

    def _write(
        self, definition: DefinitionRecord, events: EventBatch, first: Position, contents: Callable[[], Contents]
    ) -> Position | None:
        sidecar = self._sidecar(definition, first)
        found = self._found(sidecar, definition, first)
        if found is None and self._create(sidecar, definition, events, contents()):
            return None
        if found is None and (found := self._found(sidecar, definition, first)) is None:
            raise LocalFolderGoneError(f"{sidecar} vanished")
        if not is_same_place(found.end, events.end):
            return found.end
        self._complete(sidecar, found, events)
        return None

    def _found(self, sidecar: Path, definition: DefinitionRecord, first: Position) -> BatchRecord | None:
        """The batch that is there under this name, if any. Raises `ForeignObjectError` where it is not ours."""
        if not sidecar.exists():
            return None
        record = _batch_record(sidecar)
        if not record.belongs_to(definition, first):
            raise ForeignObjectError(f"{sidecar} is the record of another batch than that of {self.stream}")
        return record

    def _create(self, sidecar: Path, definition: DefinitionRecord, events: EventBatch, contents: Contents) -> bool:
        """Write the batch; False where somebody else has just fixed its end."""
        described = tuple(PartRecord.of(part, alone=len(contents) == 1) for part, _ in contents)
        record = BatchRecord.of(definition, events, described)
        with ExitStack() as stack:
            arbiter = stack.enter_context(files.staged(record.dump(), self._temporary))
            temporaries = [stack.enter_context(files.staged(content, self._temporary)) for _, content in contents]
            self._refuse_strangers(sidecar, record)
            if not self._tree.publish(arbiter, sidecar):
                return False
            for (part, _), temporary in zip(contents, temporaries, strict=True):
                self._tree.publish(temporary, self.folder / part.path)
        return True

    def _refuse_strangers(self, sidecar: Path, record: BatchRecord) -> None:
        """A file without a sidecar is not ours. Looks in this order, since another owner creates the sidecar first."""
        present = [part.path for part in record.parts if (self.folder / part.path).exists()]
        if present and not sidecar.exists():
            raise ForeignObjectError(f"{self.folder / present[0]} is there, but no record of ours says what it is")

    def _complete(self, sidecar: Path, record: BatchRecord, events: EventBatch) -> None:
        """Write those files of a batch that an earlier run did not come to; all is durable afterwards."""
        missing = self._missing(record)
        self._sync(sidecar, record)  # after looking: what is seen may have been put there a moment ago
        if not missing:
            return
        for part, content in zip(missing, missing_contents(record, missing, events, self.layout), strict=True):
            with files.staged(content, self._temporary) as temporary:
                self._tree.publish(temporary, self.folder / part.path)


def made(layout: FileLayout, events: EventBatch) -> Contents:
    """The files of a batch. Raises `RejectedEventsError`."""
    return contents_of(layout, layout.parts(events))


def _batch_record(sidecar: Path) -> BatchRecord:
    return BatchRecord.parse(sidecar.read_bytes(), str(sidecar))
