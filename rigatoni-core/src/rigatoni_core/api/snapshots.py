"""Snapshots: what exists in a collection before its stream begins, read while the stream runs.

A *snapshot* is one reading of chosen collections of a stream. Its *plan* divides them into *ranges*. Each range is
read in *chunks*, one after another, each at one cluster time. A document of a chunk is a *row*: an event with the
operation `read`.

Who does what: the source plans ranges and reads chunks (`Snapshotter`). The engine decides when a chunk is read and
written, names it, and records it. A chunk is named by snapshot, range and number alone, and created only if absent, so
the first one that exists at the destination fixes its end, its time and its rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, NewType

import attrs

from rigatoni_core.api.errors import SourceError, Transient
from rigatoni_core.api.events import Namespace, Position, Stream, Timestamp
from rigatoni_core.api.segments import Segment

Bound = NewType("Bound", str)
"""A document's `_id` as text made by the source, exact for every type and equal for equal ids.

Opaque to the engine, and never logged: it may be personal data.
"""


class SnapshotTimeError(SourceError, Transient):
    """The server cannot read at this cluster time, or what was read cannot be trusted: another time is needed.

    The engine reads the same chunk again once the stream's position has moved. Nothing was written.
    """

    id = "snapshot-time"
    default_remedy = "Rigatoni reads again at a later cluster time. If this repeats, check the server's oplog window."


@attrs.frozen(kw_only=True)
class SnapshotRequest:
    """What a snapshot is asked to read.

    Attributes:
        id: Names the request, so that it is carried out once; empty for the initial snapshot of a stream.
        collections: The names of the collections, `database.collection`; all that the stream watches if empty.
        operation: The operation of the rows: `read`, or `insert` for readers that know no other.
        filters: By collection, a query as text that the source can parse: only matching documents are read.
        lowest: The `_id` of the first document, as text that the source can parse; from the first one if empty.
        highest: The `_id` before which reading ends; to the last one if empty.
    """

    id: str = ""
    collections: tuple[str, ...] = ()
    operation: Literal["read", "insert"] = "read"
    filters: Mapping[str, str] = attrs.field(factory=dict)
    lowest: str = attrs.field(default="", repr=False)
    highest: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class SnapshotRange:
    """A part of one collection that is read by itself: the ids from `low` (inclusive) to `high` (exclusive).

    Attributes:
        namespace: The collection's name when the snapshot was planned.
        collection: What identifies the collection under any name, such as its UUID; empty if the source has no such id.
        low: None for a range that begins with the collection's first document.
        high: None for a range that includes the collection's last document.
        nbytes: The estimated size of its documents in bytes, for the progress; 0 if it is unknown.
    """

    namespace: Namespace
    collection: str = ""
    low: Bound | None = attrs.field(default=None, repr=False)
    high: Bound | None = attrs.field(default=None, repr=False)
    nbytes: int = 0


@attrs.frozen(kw_only=True)
class SnapshotPlan:
    """The ranges of a snapshot: disjoint, and together all that was requested.

    Attributes:
        ranges: The ranges; at most 256. A plan without ranges is a snapshot without rows.
        at: The server's time when the collections were looked up: no chunk is read before the stream has reached it.
            None if the source cannot read at a time.
        details: What else the source needs to read the ranges (plain JSON values), kept with the plan.
    """

    ranges: tuple[SnapshotRange, ...]
    at: Timestamp | None = None
    details: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Chunk:
    """What was read of a range: the state of the ids from where it was read up to `end`, as of one cluster time.

    Attributes:
        rows: The rows as raw change events in the source's own format, in the order of their ids. Their `_id` names
            snapshot and document (not the reading), their `clusterTime` is `at`.
        at: The cluster time of the rows. Each row is the document at that time, and each id of the chunk that has
            no row did not exist then (unless it is `filtered`).
        end: Where the next chunk begins: the `_id` of a document that is not in this one. None at the end of the range.
        after: The chunk is written only after all events of the stream up to this time. `at` if it was read at a time
            that the stream had reached already. Where the source has read the stream itself to prove the rows, the time
            of the last event that it met up to `at`, or the time of the position it was given if it met none.
        filtered: Whether documents may have been left out by a query or by the source's own pipeline.
        ended: Why the rest of the range does not exist any more (`dropped`, `renamed`); empty otherwise. The chunk has
            no rows and no `end` then.
        scanned: Documents read, if more than there are rows.
    """

    rows: Sequence[Segment]
    at: Timestamp
    end: Bound | None = attrs.field(repr=False)
    after: Timestamp
    filtered: bool = False
    ended: str = ""
    scanned: int = 0

    @property
    def count(self) -> int:
        """The number of rows."""
        return sum(map(len, self.rows))

    @property
    def nbytes(self) -> int:
        """The size of the rows in bytes."""
        return sum(segment.nbytes for segment in self.rows)


class Snapshotter(ABC):
    """Optional interface of a source: it reads the documents that exist, next to the stream's changes."""

    @abstractmethod
    def check_snapshot(self, stream: Stream, request: SnapshotRequest) -> None:
        """Check that a request can be carried out. Does no I/O; also called before `__aenter__`.

        Args:
            stream: The stream that the snapshot belongs to.
            request: The request.

        Raises:
            ConfigurationError: A collection is not watched, a filter or an id cannot be parsed, or the source's own
                options make rows impossible.
        """

    @abstractmethod
    async def plan_snapshot(self, stream: Stream, request: SnapshotRequest, *, ranges: int) -> SnapshotPlan:
        """Divide what is requested into ranges.

        Called once per snapshot, after the stream's first position is on record. The engine keeps the plan; another
        owner's plan may take its place, so planning must leave nothing behind.

        Args:
            stream: The stream that the snapshot belongs to.
            request: What is requested.
            ranges: How many ranges can be read at a time. The source decides how many a collection's size is worth.

        Returns:
            The plan.

        Raises:
            ConfigurationError: As `check_snapshot`, once the server was asked.
            SourceError: The collections cannot be read.
        """

    @abstractmethod
    async def read_chunk(
        self,
        stream: Stream,
        request: SnapshotRequest,
        plan: SnapshotPlan,
        index: int,
        *,
        name: str,
        low: Bound | None,
        at: Position,
        limit: int,
        high: Bound | None = None,
    ) -> Chunk:
        """Read the next chunk of a range.

        Called for several ranges at once, never twice at once for one range.

        Args:
            stream: The stream that the snapshot belongs to.
            request: What is requested.
            plan: The plan in force, which may be another owner's.
            index: The range, by its place in the plan.
            name: The snapshot's name, `shop.orders#3`, for the `_id` of rows.
            low: Where the chunk begins; None for the first chunk of a range without `low`.
            at: The position up to which the stream has been written. Its cluster time, never later than the server's,
                is the time to read at. Where the server cannot read at a time, the chunk is proved by reading the
                stream from this position, and is of a later time.
            limit: The size of the rows in bytes at which the chunk ends, after at least one document.
            high: Where the chunk must end, if not at `limit`.

        Returns:
            The rows of the chunk, and where it ends.

        Raises:
            SnapshotTimeError: Another time is needed.
            ConfigurationError: What is requested can never be read. A requested snapshot ends as failed.
            SourceError: Reading failed; `Transient` if a retry may help.
        """
