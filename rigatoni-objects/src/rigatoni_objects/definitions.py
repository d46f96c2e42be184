"""The definitions of one stream's chain: created one after another, brought to rest, closed for good."""

from collections.abc import Collection

from rigatoni_core.api.events import Coverage, Position
from rigatoni_core.api.succession import History

from rigatoni_objects.errors import DefinitionSettlingError, StoreConflictError, UnfinishedBatchError
from rigatoni_objects.file_layout import stem
from rigatoni_objects.listing import Listing
from rigatoni_objects.paths import definition_path
from rigatoni_objects.quiescence import Quiescence
from rigatoni_objects.records import DefinitionRecord
from rigatoni_objects.store import ObjectStore

_JSON = "application/json"


class Definitions:
    """The definitions of one stream.

    Args:
        store: The stream's objects.
        listing: What they are.
        quiescence: How an old definition is brought to rest.
    """

    def __init__(self, store: ObjectStore, listing: Listing, quiescence: Quiescence) -> None:
        self._store = store
        self._listing = listing
        self._quiescence = quiescence

    # --- where a stream ends that others succeed

    def close(self) -> Position | None:
        """Create a closing definition, unless there is one; where the stream ended, None if it never began."""
        self._quiescence.prepare()
        with self._quiescence.defining():
            newest = self._listing.newest_definition()
            if newest is None:
                return None
            if newest.closed:
                return newest.anchor
            self.bring_to_rest(newest, wait=True)
            end = self.ended(newest)
            if not self.create(newest, newest.closing(newest.number + 1, end)):
                raise StoreConflictError(f"{self._listing}: another instance changes the definition at the same time")
            return end

    def end(self, record: DefinitionRecord, rest: Collection[str]) -> None:
        """Create another closing definition, which holds the rest, unless there is one.

        Args:
            record: What the stream is, where it ended.
            rest: The hashes of the rest.
        """
        self._quiescence.prepare()
        with self._quiescence.defining():
            newest = self._listing.newest_definition()
            if newest is not None and newest.rest is not None:
                return
            if newest is not None and not newest.closed:
                raise StoreConflictError(f"{self._listing}: another instance began the stream again meanwhile")
            number = newest.number + 1 if newest is not None else 0
            if not self.create(newest, (newest or record).closing(number, record.anchor, rest)):
                raise StoreConflictError(f"{self._listing}: another instance closes the stream at the same time")

    def history(self, newest: DefinitionRecord | None) -> History:
        """What the definitions say up to the newest one."""
        if newest is None:
            return History()
        if not newest.closed:
            return History(known=True, left_out=newest.left_out)
        coverage, first = list[Coverage](), None
        for record in self._listing.definitions(newest):
            first = first or record
            if record.rest is not None:
                coverage.append(record.coverage_since(first))
                first = None
        return History(known=True, closed=True, ended=newest.rest is not None, coverage=tuple(coverage))

    # --- one after another

    def is_closed(self, definition: DefinitionRecord) -> bool:
        """Whether no batch of this definition may begin any more."""
        return self._store.head(self._quiescence.mark(definition.number)) is not None

    def create(self, newest: DefinitionRecord | None, record: DefinitionRecord) -> bool:
        """Create the definition after `newest`; False where it exists."""
        if newest is not None:
            self._store.make_durable([definition_path(newest.number)])  # no number may be missing before the new one
        return self._store.create(definition_path(record.number), record.dump(), media_type=_JSON, record={})

    def bring_to_rest(self, definition: DefinitionRecord, *, wait: bool) -> None:
        """Close this definition to new batches. Raises `DefinitionSettlingError` until its chain is quiescent.

        After a gap nothing depends on where the old chain ends, so `wait` is False.
        """

        def create(path: str) -> None:
            if self._store.head(path) is None:
                self._store.create(path, b"{}\n", media_type=_JSON, record={})

        left = self._quiescence.close(definition.number, create)
        if wait and left > 0:
            raise DefinitionSettlingError(
                f"{self._listing.stream}: the definition has changed; requests under the old definition may take "
                f"effect for another {left:.0f} s",
                retry_after=left,
            )

    def ended(self, definition: DefinitionRecord) -> Position:
        """Return the final end of a closed definition's batches.

        A last batch without any object is void. It is removed if no other owner can be completing it.
        """
        end, unfinished = self._listing.tail(definition)
        if unfinished is not None:
            total = len(unfinished.record.parts)
            present = total - len(unfinished.missing)
            if present or not self._quiescence.exclusive:
                raise UnfinishedBatchError(
                    f"{self._listing.stream}: the definition has changed, but the last batch of the old definition "
                    f"({stem(unfinished.record.first)}) has only {present} of its {total} objects"
                )
            self._store.delete([unfinished.lead])
        return end
