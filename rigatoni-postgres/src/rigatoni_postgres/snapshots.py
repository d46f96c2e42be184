"""The records of snapshots, and what `current` notes so that a row of a snapshot brings nothing back.

A chunk may be written after changes that are later than its rows. A version that the table holds is compared with the
row, but what was deleted is not in the table. So from the request of a snapshot until its end,
each transaction of the stream notes the documents that it deletes, and the tables that it empties. The request is on
record before anything of the snapshot is read. A chunk of a snapshot that has ended is refused.
"""

from collections.abc import Sequence
from typing import Any

import attrs
from psycopg import AsyncCursor
from psycopg.sql import SQL
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.stream_record import StreamRecord

from rigatoni_postgres.tables import DELETIONS, RECORDS, Tables

Cursor = AsyncCursor[tuple[Any, ...]]

_OPEN = """
    SELECT FROM {records} AS request WHERE stream = %s AND name LIKE 'snapshots/%%/request' AND NOT EXISTS (
        SELECT FROM {records} AS ended
        WHERE ended.stream = request.stream AND ended.name = replace(request.name, '/request', '/end'))
    LIMIT 1"""
_EMPTIED = """
    INSERT INTO {deletions} SELECT %s, %s, '', cluster_time, cluster_time_increment FROM pg_temp.rigatoni_staging
    WHERE place = %s
    ON CONFLICT (stream, target, _id) DO UPDATE SET
        cluster_time = excluded.cluster_time, cluster_time_increment = excluded.cluster_time_increment"""


def home_of(stream: Stream) -> Stream:
    """Return the stream that a range or a record of a snapshot belongs to; any other stream itself."""
    return stream.of_snapshot or Stream(stream.pipeline.removesuffix(".snapshots"), stream.name)


@attrs.frozen
class SnapshotRecords:
    """Reads and writes the records of snapshots, and the notes about deleted documents, in a caller's transaction.

    Attributes:
        tables: The tables of the destination.
    """

    tables: Tables

    async def settle(self, cursor: Cursor, stream: Stream, name: str, content: bytes | None) -> bytes | None:
        """Create a record unless it exists, and return the one in force; forget deletes once no snapshot runs."""
        records = self.tables.identifier(RECORDS)
        if content is not None:
            insert = SQL("INSERT INTO {} VALUES (%s, %s, %s) ON CONFLICT (stream, name) DO NOTHING")
            await cursor.execute(insert.format(records), [stream.key, name, content])
        select = SQL("SELECT content FROM {} WHERE stream = %s AND name = %s").format(records)
        row = await (await cursor.execute(select, [stream.key, name])).fetchone()
        if content is not None and name.endswith("/end") and not await self.any_open(cursor, home_of(stream)):
            forget = SQL("DELETE FROM {} WHERE stream = %s").format(self.tables.identifier(DELETIONS))
            await cursor.execute(forget, [home_of(stream).key])
        return bytes(row[0]) if row is not None else None

    async def any_open(self, cursor: Cursor, stream: Stream) -> bool:
        """Return whether a snapshot of the stream is requested and has not ended."""
        select = SQL(_OPEN).format(records=self.tables.identifier(RECORDS))
        return await (await cursor.execute(select, [stream.beside("snapshots").key])).fetchone() is not None

    async def check_open(self, cursor: Cursor, record: StreamRecord) -> None:
        """Refuse a chunk of a snapshot that has ended: what was deleted since is not noted.

        Raises:
            LeaseLostError: Another owner ended the snapshot.
        """
        home, number = home_of(record.stream), record.details["snapshot"]["number"]
        select = SQL("SELECT FROM {} WHERE stream = %s AND name = %s").format(self.tables.identifier(RECORDS))
        ended = await cursor.execute(select, [home.beside("snapshots").key, f"snapshots/{number}/end"])
        if await ended.fetchone() is not None:
            raise LeaseLostError(f"{record.stream}: the snapshot has ended meanwhile")

    async def note_deletes(self, cursor: Cursor, stream: Stream, name: str, which: Sequence[Any]) -> None:
        """Note the documents that the changes between two places of the staging table delete."""
        await cursor.execute(self.tables.note_deletes(), [stream.key, name, *which])

    async def note_emptied(self, cursor: Cursor, stream: Stream, names: Sequence[str], place: int) -> None:
        """Note that all documents of these tables are gone since the change at this place."""
        statement = SQL(_EMPTIED).format(deletions=self.tables.identifier(DELETIONS))
        for name in names:
            await cursor.execute(statement, [stream.key, name, place])
