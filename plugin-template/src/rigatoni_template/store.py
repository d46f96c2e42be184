"""The state store `template`: keeps checkpoints in a SQLite database."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self, TypeVar

import attrs
from rigatoni_core.api.contracts import StateStore
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.records import StateRecord, dump_checkpoint, dump_cleared, load_record

from rigatoni_template.errors import TemplateStateError, using

T = TypeVar("T")
_TABLE = "CREATE TABLE IF NOT EXISTS checkpoints (stream TEXT PRIMARY KEY, fencing_token INTEGER, record BLOB)"
_SAVE = """
INSERT INTO checkpoints VALUES (?, ?, ?) ON CONFLICT (stream) DO UPDATE
SET fencing_token = excluded.fencing_token, record = excluded.record
WHERE excluded.fencing_token = checkpoints.fencing_token
"""
_LOAD = "SELECT record FROM checkpoints WHERE stream = ?"


@attrs.define(kw_only=True, eq=False)
class TemplateStateStore(StateStore):
    """Keeps checkpoints in one table, by the stream's key."""

    path: Annotated[Path, "SQLite database; created if it does not exist"]
    _executor: DaemonExecutor | None = attrs.field(init=False, default=None, repr=False)
    _database: sqlite3.Connection | None = attrs.field(init=False, default=None, repr=False)

    async def __aenter__(self) -> Self:
        executor = DaemonExecutor("rigatoni-template")
        try:
            self._database = await executor.run(self._open)
        except BaseException:
            executor.close()
            raise
        self._executor = executor
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        executor, self._executor = self._executor, None
        database, self._database = self._database, None
        if executor is not None and database is not None:
            await executor.run(database.close)
            executor.close()

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """See `StateStore`."""
        await self._replace(stream, checkpoint.fencing_token, dump_checkpoint(stream, checkpoint))

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """See `StateStore`."""
        record = await self._record(stream)
        return record.checkpoint if record else None

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Replace the record by one without a position, which keeps the fencing token. See `StateStore`."""
        await self._replace(stream, fencing_token, dump_cleared(stream, fencing_token))

    async def cleared_under(self, stream: Stream) -> int | None:
        """See `StateStore`."""
        record = await self._record(stream)
        return record.fencing_token if record and record.checkpoint is None else None

    async def _record(self, stream: Stream) -> StateRecord | None:
        row = await self._run(lambda database: database.execute(_LOAD, (stream.key,)).fetchone())
        return load_record(stream, row[0], f"{self.path}: {stream.key}") if row else None

    async def _replace(self, stream: Stream, fencing_token: int, record: bytes) -> None:
        """Compare the fencing token and replace the record in one statement."""

        def save(database: sqlite3.Connection) -> None:
            if not database.execute(_SAVE, (stream.key, fencing_token, record)).rowcount:
                raise LeaseLostError(f"{stream} was saved by another owner, with another fencing token")

        await self._run(save)

    async def _run(self, call: Callable[[sqlite3.Connection], T]) -> T:
        executor, database = self._executor, self._database
        if executor is None or database is None:
            raise TemplateStateError("the state store is not entered", remedy="Use it in an `async with` block.")

        def attempt() -> T:
            with using(self.path):
                return call(database)

        return await executor.run(attempt)

    def _open(self) -> sqlite3.Connection:
        with using(self.path):
            database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA synchronous = FULL")
            database.execute(_TABLE)
            return database
