"""The destination `postgres`: one transaction holds a batch's rows and the stream's position."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Literal, Self

import attrs
import psycopg
from attrs import validators
from psycopg import AsyncConnection, AsyncCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL
from rigatoni_bson.csv_rows import CsvRows
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import (
    Delivery,
    Destination,
    DestinationMetadata,
    FormatReader,
    RecordKeeper,
    TransactionalKeeper,
)
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.options import Secret
from rigatoni_core.api.stream_record import StreamRecord

from rigatoni_postgres.errors import REFUSED_ROWS, PostgresError, translate, translated
from rigatoni_postgres.snapshots import SnapshotRecords, home_of
from rigatoni_postgres.tables import (
    CHANGES,
    COPY,
    EVERYTHING,
    LOCK,
    NAMESPACES,
    OWN,
    POSITIONS,
    RESETS,
    STAGE,
    Tables,
)

_CLIENT: dict[str, Any] = {"connect_timeout": 10, "tcp_user_timeout": 30_000, "application_name": "rigatoni"}
_SESSION = "-c idle_in_transaction_session_timeout=60000 -c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5"
"""The server ends the transaction of an owner that has died without closing its connection, and with it its lock."""

Cursor = AsyncCursor[tuple[Any, ...]]


@attrs.define(kw_only=True, eq=False)
class PostgresDestination(Destination, TransactionalKeeper, RecordKeeper, FormatReader):
    """Writes rows and the stream's position in one transaction.

    Rows of snapshots are written into the tables of the stream's changes, each chunk with its own position. The engine
    writes a chunk after all changes up to its time. Later changes may be in the tables before it: those that were read
    to prove a window, and those of another owner. In `log` readers sort by time. In `current` a row never replaces a
    later version, and what was deleted after the row was read stays deleted: while a snapshot runs, deletes are noted.
    """

    dsn: Annotated[
        Secret | None,
        "libpq's connection string: postgresql://user:password@host:5432/database, or key=value pairs; "
        "default: libpq's environment",
    ] = None
    schema: Annotated[str, "The schema of the tables, which must exist"] = "public"
    table: Annotated[str, "A table's name, with `{database}`, `{collection}`, `{pipeline}` and `{stream}`"] = (
        "{database}_{collection}"
    )
    mode: Annotated[
        Literal["log", "current"], "`log`: a row per change event; `current`: a row per document, as it is now"
    ] = "log"
    document_type: Annotated[
        Literal["jsonb", "json"], "The type of documents in new tables; `json` also holds text with NUL characters"
    ] = "jsonb"
    json_mode: Annotated[
        Literal["relaxed", "canonical"], "Documents as Extended JSON v2 `relaxed` (readable) or `canonical` (lossless)"
    ] = "relaxed"
    max_connections: Annotated[int, "Connections in use at once; each writes one batch"] = attrs.field(
        default=8, validator=validators.ge(1)
    )
    _tables: Tables = attrs.field(init=False, repr=False)
    _rows: CsvRows = attrs.field(init=False, repr=False)
    _snapshots: SnapshotRecords = attrs.field(init=False, repr=False)
    _where: str = attrs.field(init=False, repr=False)
    _slots: asyncio.Semaphore = attrs.field(init=False, repr=False)
    _idle: list[AsyncConnection] = attrs.field(init=False, factory=list, repr=False)
    _left: dict[str, StreamRecord] = attrs.field(init=False, factory=dict, repr=False)
    _steps: dict[str, int] = attrs.field(init=False, factory=dict, repr=False)

    delivery: ClassVar[Delivery] = Delivery.TRANSACTIONAL
    accepts: ClassVar[frozenset[str]] = frozenset({"bson"})

    def __attrs_post_init__(self) -> None:
        self._tables = Tables(self.schema, self.table, self.mode == "current", self.document_type)
        self._rows = CsvRows(self.json_mode)
        self._snapshots = SnapshotRecords(self._tables)
        self._slots = asyncio.Semaphore(self.max_connections)
        try:
            known = self._given()
        except psycopg.ProgrammingError:
            raise ValueError("dsn cannot be read: percent-encode / ? # : @ in user names and passwords") from None
        host, database = known.get("host", "the default host"), known.get("dbname", "the default database")
        self._where = f"PostgreSQL at {host}, database {database}, schema {self.schema}"

    # --- the contract of destinations

    async def __aenter__(self) -> Self:
        """Connect, and create the tables of Rigatoni itself unless they exist."""
        async with self._transaction(Stream("", ""), "create the table of positions") as cursor:
            for name, columns in OWN.items():
                if not await self._exists(cursor, name):
                    create = SQL("CREATE TABLE {} ({})").format(self._tables.identifier(name), SQL(columns))
                    await cursor.execute(create)
        return self

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Commit rows and position. See `TransactionalKeeper`."""
        pieces = await asyncio.to_thread(lambda: list(self._rows.pieces(events)))
        try:
            return await self._write(events, pieces)
        except REFUSED_ROWS as error:
            if refused := await self._refused(events):
                remedy = 'Set document_type = "json" for text with NUL characters, or see the constraints of the table.'
                raise RejectedEventsError(refused, remedy=remedy) from None
            raise translate(error, f"write a batch of {events.stream}", self._where) from None

    async def last_committed(self, stream: Stream) -> Position | None:
        """Return the position that the table of positions holds."""
        held = await self._read(stream)
        return held.position if held is not None else None

    async def recorded_identity(self, stream: Stream) -> Identity:
        """Return the deployment that the table of positions holds."""
        held = await self._read(stream)
        return held.identity if held is not None else Identity()

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Commit the record of the stream, unless it exists. See `TransactionalKeeper`."""
        if self.mode == "current" and definition.details.get("full_document") == "default":
            raise PostgresError(
                f'{stream}: mode = "current" needs whole documents, but updates come without them',
                remedy='Set full_document = "updateLookup", "whenAvailable" or "required" in the source.',
            )
        async with self._transaction(stream, f"begin {stream}") as cursor:
            held = await self._held(cursor, stream)
            record = StreamRecord.begun(stream, held, definition, position, gap)
            if record is not held:
                await self._keep(cursor, record)
        self._left[stream.key] = record
        return record.position

    async def commit_idle(self, stream: Stream, position: Position) -> None:
        """Commit a later position without rows. See `TransactionalKeeper`."""
        async with self._transaction(stream, f"commit the position of {stream}") as cursor:
            record = self._left[stream.key].expect(await self._held(cursor, stream)).at(position)
            await self._keep(cursor, record)
        self._left[stream.key] = record

    async def settle(self, stream: Stream, name: str, content: bytes | None = None) -> bytes | None:
        """Create a record unless it exists, and return the one in force. See `RecordKeeper`."""
        async with self._transaction(stream, f"keep a record of {stream}", locked=content is not None) as cursor:
            return await self._snapshots.settle(cursor, stream, name, content)

    def progress(self, stream: Stream) -> int:
        """Return how many statements and pieces of rows of this stream the server has taken."""
        return self._steps.get(stream.key, 0)

    def metadata(self) -> DestinationMetadata:
        """Return where the rows are, and the conditions of exactly once."""
        conditions = (
            "the source's filter is deterministic: rereading yields the same events",
            f"only Rigatoni changes the table {POSITIONS}",
        )
        return DestinationMetadata(self._where, self.delivery, conditions)

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            await self._idle.pop().close()

    # --- rows

    async def _write(self, events: EventBatch, pieces: Iterable[bytes]) -> Position | None:
        async with self._transaction(events.stream, f"write a batch of {events.stream}") as cursor:
            held = self._left[events.stream.key].expect(await self._held(cursor, events.stream))
            if held.holds(events):
                return None
            if (end := held.end_within(events)) is not None:
                return end
            if self.mode == "current" and events.stream.of_snapshot is not None:
                await self._snapshots.check_open(cursor, held)
            await self._fill(cursor, events.stream, pieces)
            await self._keep(cursor, record := held.after(events))
        self._left[events.stream.key] = record
        return None

    async def _fill(self, cursor: Cursor, stream: Stream, pieces: Iterable[bytes]) -> None:
        await cursor.execute(STAGE)
        async with cursor.copy(COPY) as copy:
            for piece in pieces:
                await copy.write(piece)
                self._step(stream)
        if self.mode == "log":
            await self._fill_between(cursor, stream, *EVERYTHING)
            return
        noting = stream.of_snapshot is None and await self._snapshots.any_open(cursor, stream)
        after, end = EVERYTHING
        for place, operation, database, collection, *target in await (await cursor.execute(RESETS)).fetchall():
            await self._fill_between(cursor, stream, after, place, noting=noting)
            emptied = await self._reset(cursor, stream, database, collection, target if operation == "rename" else None)
            if noting:
                await self._snapshots.note_emptied(cursor, stream, emptied, place)
            after = place
        await self._fill_between(cursor, stream, after, end, noting=noting)

    async def _fill_between(
        self, cursor: Cursor, stream: Stream, after: int, before: int, *, noting: bool = False
    ) -> None:
        """Write the rows between two places of the staging table into their tables; may note what is deleted."""
        await cursor.execute(NAMESPACES, [after, before, CHANGES, self.mode == "current"])
        for database, collection in await cursor.fetchall():
            name = self._tables.name(home_of(stream), database, collection)
            await self._create(cursor, name)
            which = [after, before, database, collection]
            if self.mode == "current" and stream.of_snapshot is not None:
                await cursor.execute(self._tables.fill_rows(name), [*which, home_of(stream).key, name])
            else:
                await cursor.execute(self._tables.fill(name), which)
                if noting:
                    await self._snapshots.note_deletes(cursor, stream, name, which)
            self._step(stream)

    async def _reset(
        self, cursor: Cursor, stream: Stream, database: str, collection: str, target: list[str] | None
    ) -> list[str]:
        """Empty the table of a collection that was dropped, or give its rows to the one that it was renamed to.

        Returns the tables whose earlier rows are gone.
        """
        watched = ".*".join(map(re.escape, stream.name.split("*")))
        name = self._tables.name(stream, database, collection)
        source, exists, emptied = self._tables.identifier(name), await self._exists(cursor, name), [name]
        if target and re.fullmatch(watched, ".".join(target)):
            taken = self._tables.name(stream, *target)
            emptied.append(taken)
            await self._create(cursor, taken)
            await cursor.execute(SQL("DELETE FROM {}").format(self._tables.identifier(taken)))
            if exists:
                columns = SQL("_id, document, cluster_time, cluster_time_increment, ordinal")
                move = SQL("INSERT INTO {} ({}) SELECT {} FROM {}")
                await cursor.execute(move.format(self._tables.identifier(taken), columns, columns, source))
        if exists:
            await cursor.execute(SQL("DELETE FROM {}").format(source))
        return emptied

    async def _refused(self, events: EventBatch) -> dict[int, Exception]:
        """Find the events that the server refuses, by halves; nothing of this is committed."""
        refused: dict[int, Exception] = {}
        parts = [range(len(events))]
        while parts:
            part = parts.pop()
            try:
                async with self._transaction(events.stream, "find the rows that are refused") as cursor:
                    await self._fill(cursor, events.stream, self._rows.pieces(events[part.start : part.stop]))
                    await cursor.execute("ROLLBACK AND CHAIN")
            except REFUSED_ROWS as error:
                half = part.start + len(part) // 2
                if len(part) == 1:
                    refused[part.start] = error
                else:
                    parts += [range(part.start, half), range(half, part.stop)]
        return refused

    # --- positions

    async def _read(self, stream: Stream) -> StreamRecord | None:
        async with self._transaction(stream, f"read the position of {stream}") as cursor:
            return await self._held(cursor, stream)

    async def _held(self, cursor: Cursor, stream: Stream) -> StreamRecord | None:
        select = SQL("SELECT record::text FROM {} WHERE stream = %s").format(self._tables.identifier(POSITIONS))
        row = await (await cursor.execute(select, [stream.key])).fetchone()
        return StreamRecord.load(stream, row[0], f"the row {stream.key} of {POSITIONS}") if row else None

    async def _keep(self, cursor: Cursor, record: StreamRecord) -> None:
        upsert = SQL(
            "INSERT INTO {} VALUES (%s, %s, now()) "
            "ON CONFLICT (stream) DO UPDATE SET record = excluded.record, updated_at = now()"
        )
        await cursor.execute(upsert.format(self._tables.identifier(POSITIONS)), [record.stream.key, record.dump()])

    # --- connections

    @asynccontextmanager
    async def _transaction(self, stream: Stream, what: str, *, locked: bool = True) -> AsyncIterator[Cursor]:
        """A transaction that excludes others of the stream, if locked. After any error its connection is closed.

        In `current` the chunks of a stream's snapshots exclude its changes, too.
        """
        key = (home_of(stream) if self.mode == "current" else stream).key
        with translated(what, self._where):
            async with self._slots:
                connection = self._idle.pop() if self._idle else await self._connect()
                try:
                    async with connection.transaction(), connection.cursor() as cursor:
                        if locked:
                            await cursor.execute(LOCK, [f"{self.schema}/{key}"])
                        yield cursor
                        self._step(stream)
                except BaseException:
                    await connection.close()
                    await self.close()  # a server that was restarted has closed the others, too
                    raise
                self._idle.append(connection)

    async def _connect(self) -> AsyncConnection:
        given = self._given()
        options = f"{_SESSION} {given.pop('options', '')}".strip()
        conninfo = make_conninfo(**{**_CLIENT, **given, "options": options})
        return await AsyncConnection.connect(conninfo, prepare_threshold=None)

    def _given(self) -> dict[str, Any]:
        return dict(conninfo_to_dict(self.dsn.reveal() if self.dsn else ""))

    async def _create(self, cursor: Cursor, name: str) -> None:
        """Create a table unless it exists. Two transactions that create one table at once fail, so one waits."""
        if not await self._exists(cursor, name):
            await cursor.execute(LOCK, [f"tables of {self.schema}"])
            await cursor.execute(self._tables.create(name))

    async def _exists(self, cursor: Cursor, name: str) -> bool:
        row = await (
            await cursor.execute("SELECT to_regclass(format('%%I.%%I', %s::text, %s::text))", [self.schema, name])
        ).fetchone()
        return row is not None and row[0] is not None

    def _step(self, stream: Stream) -> None:
        self._steps[stream.key] = self._steps.get(stream.key, 0) + 1
