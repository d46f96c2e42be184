"""The base class of destinations that write the change events of a stream to a table.

The rule: the position of the stream and the rows are read and committed against one snapshot of the table, by exactly
one attempt of the library. A commit that is refused starts again by reading the table. So the table itself decides
between two owners, and whether an attempt whose outcome is unknown took effect.
"""

import random
import re
import string
import time
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import attrs
import pyarrow as pa
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import (
    Delivery,
    Destination,
    DestinationMetadata,
    FormatReader,
    RecordKeeper,
    TransactionalKeeper,
)
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.stream_record import StreamRecord

from rigatoni_tables.errors import CommitRefusedError, TableConflictError
from rigatoni_tables.rows import Rows

Snapshot = TypeVar("Snapshot")
T = TypeVar("T")

ATTEMPTS = 8
"""Commits that are tried in a row while others commit to the same table; core retries after that."""

_MIB = 2**20
_ODD = re.compile(r"[^A-Za-z0-9_.-]")
"""What names of tables lack, here `_`. Streams whose names are then alike share a table, each with its own record."""


@attrs.frozen
class Held(Generic[Snapshot]):
    """What one snapshot of a table holds of a stream.

    Attributes:
        snapshot: The library's handle, which a commit is made against.
        record: The stream's record; None if the stream has none there.
    """

    snapshot: Snapshot
    record: StreamRecord | None


@attrs.define(kw_only=True, eq=False)
class TableDestination(Destination, TransactionalKeeper, RecordKeeper, FormatReader, Generic[Snapshot]):
    """Appends the change events of each stream to a table, with rows and position in one commit.

    Rows of snapshots are in the table of the stream's changes. Each range has a record there, as a stream has. The
    engine writes a chunk after all changes up to its time. Later changes may be in the table before it: those that were
    read to prove a window, and those of another owner. So readers of a log sort by time.

    A subclass adds the options of its library and implements the methods of "the table" below. These block, and are
    called on threads, one at a time for a stream and its snapshots. They make exactly one attempt.
    """

    table: Annotated[str, "A table's name, with `{stream}` and `{pipeline}`; several streams may share a table"] = (
        "{stream}"
    )
    json_mode: Annotated[
        Literal["relaxed", "canonical", "plain"],
        "Documents as Extended JSON v2 `relaxed` (readable) or `canonical` (lossless), or as `plain` JSON",
    ] = "relaxed"
    _rows: Rows = attrs.field(init=False, repr=False)
    _left: dict[str, StreamRecord] = attrs.field(init=False, factory=dict, repr=False)
    _threads: dict[str, DaemonExecutor] = attrs.field(init=False, factory=dict, repr=False)
    _steps: dict[str, int] = attrs.field(init=False, factory=dict, repr=False)

    delivery: ClassVar[Delivery] = Delivery.TRANSACTIONAL
    accepts: ClassVar[frozenset[str]] = frozenset({"bson"})
    limits: ClassVar[dict[str, float]] = {
        "batch_size": 1_000_000,
        "batch_bytes": 128 * _MIB,
        "batch_timeout": 60.0,
        "max_buffered_bytes": 192 * _MIB,
        "max_total_buffered_bytes": 512 * _MIB,
    }

    def __attrs_post_init__(self) -> None:
        found = {name for _, name, _, _ in string.Formatter().parse(self.table) if name is not None}
        if unknown := found - {"pipeline", "stream"}:
            raise ValueError(f"table names {{{min(unknown)}}}; it may name {{pipeline}} and {{stream}}")
        self._rows = Rows(self.json_mode)

    # --- the table

    @abstractmethod
    def read(self, table: str, stream: Stream) -> Held[Snapshot] | None:
        """Read one snapshot of the table and the stream's record in it; None if the table does not exist."""

    @abstractmethod
    def create(self, table: str, record: StreamRecord | None) -> None:
        """Create the table, with the record of a stream if one is given.

        Raises:
            CommitRefusedError: It exists.
        """

    @abstractmethod
    def commit(self, table: str, held: Held[Snapshot], rows: pa.Table | None, record: StreamRecord) -> None:
        """Commit rows, if any, and the record against the snapshot, in one commit and by one attempt.

        Raises:
            CommitRefusedError: Others have committed since the snapshot.
            TableSchemaError: A column has another type than the rows.
        """

    @abstractmethod
    def kept(self, held: Held[Snapshot], name: str) -> str | None:
        """Return the record of this name that the snapshot of the table holds. See `RecordKeeper`."""

    @abstractmethod
    def keep(self, table: str, held: Held[Snapshot], name: str, content: str) -> None:
        """Commit a record against the snapshot, by one attempt. It lasts as long as the table.

        Raises:
            CommitRefusedError: Others have committed since the snapshot.
        """

    @abstractmethod
    def where(self, table: str) -> str:
        """Return the table as messages name it. Without secrets."""

    @abstractmethod
    def conditions(self) -> tuple[str, ...]:
        """Return what exactly once depends on at this kind of table."""

    # --- the contract of destinations

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Commit rows and position. See `TransactionalKeeper`."""
        return await self._run(events.stream, partial(self._write, events))

    async def last_committed(self, stream: Stream) -> Position | None:
        """Return the position that the table holds."""
        record = await self._run(stream, partial(self._record, stream))
        return record.position if record is not None else None

    async def recorded_identity(self, stream: Stream) -> Identity:
        """Return the deployment that the table holds."""
        record = await self._run(stream, partial(self._record, stream))
        return record.identity if record is not None else Identity()

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Commit the record of the stream, unless it exists. See `TransactionalKeeper`."""
        return await self._run(stream, partial(self._begin, stream, definition, position, gap))

    async def commit_idle(self, stream: Stream, position: Position) -> None:
        """Commit a later position without rows. See `TransactionalKeeper`."""
        await self._run(stream, partial(self._commit_idle, stream, position))

    async def settle(self, stream: Stream, name: str, content: bytes | None = None) -> bytes | None:
        """Create a record in the stream's table unless it exists. See `RecordKeeper`."""
        found = await self._run(stream, partial(self._settle, stream, name, content.decode() if content else None))
        return found.encode() if found is not None else None

    def progress(self, stream: Stream) -> int:
        """Return how many reads, conversions and commits of this stream and its snapshots have ended."""
        return self._steps.get(home_of(stream).key, 0)

    def metadata(self) -> DestinationMetadata:
        """Return where the tables are, and the conditions of exactly once."""
        conditions = (
            "the source's filter is deterministic: rereading yields the same events",
            *self.conditions(),
        )
        return DestinationMetadata(self.where(self.table), self.delivery, conditions)

    async def close(self) -> None:
        """Stop the threads. A thread that waits for the store is abandoned and does not keep the process alive."""
        for thread in self._threads.values():
            thread.close()
        self._threads.clear()

    # --- one stream's steps, on its thread

    def _write(self, events: EventBatch) -> Position | None:
        stream = events.stream
        rows = self._rows.of(events) if len(events) else None
        self._step(stream)

        def attempt(held: Held[Snapshot] | None) -> Position | None:
            record = self._left[stream.key].expect(held.record if held is not None else None)
            assert held is not None
            if record.holds(events):
                return None
            if (end := record.end_within(events)) is not None:
                return end
            record = record.after(events)
            self.commit(self._name(stream), held, rows, record)
            self._left[stream.key] = record
            return None

        return self._attempts(stream, attempt)

    def _begin(self, stream: Stream, definition: Definition, position: Position, gap: Gap | None) -> Position:
        def attempt(held: Held[Snapshot] | None) -> Position:
            kept = held.record if held is not None else None
            record = StreamRecord.begun(stream, kept, definition, position, gap)
            if held is None:
                self.create(self._name(stream), record)
            elif record is not kept:
                self.commit(self._name(stream), held, None, record)
            self._left[stream.key] = record
            return record.position

        return self._attempts(stream, attempt)

    def _commit_idle(self, stream: Stream, position: Position) -> None:
        def attempt(held: Held[Snapshot] | None) -> None:
            kept = self._left[stream.key].expect(held.record if held is not None else None)
            record = kept.at(position)
            if held is not None and record is not kept:
                self.commit(self._name(stream), held, None, record)
            self._left[stream.key] = record

        self._attempts(stream, attempt)

    def _settle(self, stream: Stream, name: str, content: str | None) -> str | None:
        table, name = self._name(stream), f"{stream.key}/{name}"

        def attempt(held: Held[Snapshot] | None) -> str | None:
            found = self.kept(held, name) if held is not None else None
            if found is not None or content is None:
                return found
            if held is None:  # the request of a snapshot comes before the stream
                self.create(table, None)
                raise CommitRefusedError
            self.keep(table, held, name, content)
            return content

        return self._attempts(stream, attempt)

    def _record(self, stream: Stream) -> StreamRecord | None:
        held = self.read(self._name(stream), stream)
        return held.record if held is not None else None

    def _attempts(self, stream: Stream, attempt: Callable[[Held[Snapshot] | None], T]) -> T:
        """Read the table and attempt a commit, again while others commit in between."""
        name = self._name(stream)
        for number in range(ATTEMPTS):
            held = self.read(name, stream)
            self._step(stream)
            try:
                return attempt(held)
            except CommitRefusedError:
                time.sleep(random.uniform(0, 0.05 * 2**number))  # noqa: S311 (no secret)
            finally:
                self._step(stream)
        raise TableConflictError(f"{stream}: others committed to {self.where(name)} at each of {ATTEMPTS} attempts")

    def _name(self, stream: Stream) -> str:
        home = home_of(stream)
        name = self.table.format(pipeline=home.pipeline, stream=home.name)
        return _ODD.sub("_", name.replace("*", "all"))

    async def _run(self, stream: Stream, call: Callable[[], T]) -> T:
        """Run a call on the thread of a stream and its snapshots, one after another."""
        home = home_of(stream)
        if home.key not in self._threads:
            self._threads[home.key] = DaemonExecutor(f"table of {home}")
        return await self._threads[home.key].run(call)

    def _step(self, stream: Stream) -> None:
        key = home_of(stream).key
        self._steps[key] = self._steps.get(key, 0) + 1


def home_of(stream: Stream) -> Stream:
    """Return the stream that a range or a record of a snapshot belongs to; any other stream itself."""
    return stream.of_snapshot or Stream(stream.pipeline.removesuffix(".snapshots"), stream.name)


def revealed(options: dict[str, Any]) -> dict[str, str]:
    """Return the options of a library with their secrets, to be passed to the library only."""
    return {name: value.reveal() for name, value in options.items()}
