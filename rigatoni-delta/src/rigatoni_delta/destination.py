"""The destination `delta`: change events in Delta Lake tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import attrs
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from rigatoni_core.api.contracts import ConfigLinter
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_tables.destination import Held, TableDestination, home_of, revealed
from rigatoni_tables.errors import CommitRefusedError, TableSchemaError
from rigatoni_tables.rows import SCHEMA, missing_columns

from rigatoni_delta.current import CURRENT, Changes, merge_rows
from rigatoni_delta.errors import DeltaTableError, DeltaUnavailableError, translated
from rigatoni_delta.history import app_id, record_in
from rigatoni_delta.removals import Removals

DAY = "date"
"""The partition column: the day of the cluster time, in UTC."""

_SCHEMA = SCHEMA.append(pa.field(DAY, pa.date32()))


@attrs.define(kw_only=True, eq=False)
class DeltaDestination(TableDestination[DeltaTable], ConfigLinter):
    """Appends change events to Delta Lake tables; each commit holds rows and position."""

    path: Annotated[str, "The folder of the tables: a path, or a URL such as `s3://lake/raw`, `gs://…`, `abfss://…`"]
    mode: Annotated[
        Literal["log", "current"], "`log`: a row per change event; `current`: a row per document, as it is now"
    ] = "log"
    storage_options: Annotated[
        Mapping[str, Secret], "Options of the store, as deltalake names them, such as `AWS_REGION`"
    ] = attrs.field(factory=dict)
    _removals: dict[str, Removals] = attrs.field(init=False, factory=dict, repr=False)

    async def __aenter__(self) -> Self:
        """Create the folder of the tables, if it is local."""
        await self._run(Stream("", ""), self._make_folder)
        return self

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Commit the record of the stream, unless it exists. See `TransactionalKeeper`."""
        if self.mode == "current" and "*" in stream.name:
            raise DeltaTableError(
                f'{stream}: mode = "current" keeps one collection in a table, but the stream has several',
                remedy='Name each collection in `watch`, or use mode = "log".',
            )
        if self.mode == "current" and definition.details.get("full_document") == "default":
            raise DeltaTableError(
                f'{stream}: mode = "current" needs whole documents, but updates come without them',
                remedy='Set full_document = "updateLookup", "whenAvailable" or "required" in the source.',
            )
        return await TableDestination.begin(self, stream, definition, position, gap=gap)

    def read(self, table: str, stream: Stream) -> Held[DeltaTable] | None:
        """Read the newest version. See `TableDestination`."""
        with translated("read", self.where(table)):
            try:
                found = DeltaTable(self._uri(table), storage_options=self._options())
            except TableNotFoundError:
                if self._is_local and not Path(self.path).is_dir():  # a volume that is not mounted is no dropped table
                    raise DeltaUnavailableError(f"cannot read {self.where(table)}: {self.path} is no folder") from None
                return None
            return Held(found, record_in(found, stream, self.where(table)))

    def create(self, table: str, record: StreamRecord | None) -> None:
        """Create the table, partitioned by day, with the record in its first commit. See `TableDestination`."""
        with translated("create", self.where(table)):
            try:
                DeltaTable.create(
                    self._uri(table),
                    _SCHEMA if self.mode == "log" else CURRENT,
                    partition_by=[DAY] if self.mode == "log" else None,
                    storage_options=self._options(),
                    commit_properties=_properties(record, 0) if record else None,
                )
            except DeltaError as error:
                if isinstance(error, CommitFailedError) or "already exists" in str(error):
                    raise CommitRefusedError from None
                raise

    def commit(self, table: str, held: Held[DeltaTable], rows: pa.Table | None, record: StreamRecord) -> None:
        """Append against the snapshot, by one attempt. See `TableDestination`."""
        where = self.where(table)
        with translated("write to", where):
            version = held.snapshot.transaction_version(app_id(record.stream))
            guards = self._guards(record.stream, held.snapshot, where) if self.mode == "current" else ()
            properties = _properties(record, 0 if version is None else version + 1, guards)
            rows = SCHEMA.empty_table() if rows is None else rows
            if self.mode == "log":
                _append(held.snapshot, rows, properties, where)
            elif missing := missing_columns(pa.schema(held.snapshot.schema()), CURRENT, where):
                raise TableSchemaError(f"{where} has no column {missing[0].name}")
            elif record.stream.of_snapshot is not None:
                merge_rows(held.snapshot, self._removals_of(record.stream).admit(rows), properties)
            else:
                if any(left.stream.of_snapshot == record.stream for left in self._left.values()):
                    self._removals_of(record.stream).note(rows)
                Changes.of(rows).commit(held.snapshot, properties)

    def kept(self, held: Held[DeltaTable], name: str) -> str | None:
        """Return a record among the table's properties. See `TableDestination`."""
        found: str | None = held.snapshot.metadata().configuration.get(f"rigatoni.{name}")
        return found

    def keep(self, table: str, held: Held[DeltaTable], name: str, content: str) -> None:
        """Add a record to the table's properties, which outlive the history of the log. See `TableDestination`."""
        with translated("write to", self.where(table)):
            held.snapshot.alter.set_table_properties(
                {f"rigatoni.{name}": content},
                raise_if_not_exists=False,
                commit_properties=CommitProperties(max_commit_retries=0),
            )

    def where(self, table: str) -> str:
        """Return the table's path or URL."""
        return f"the Delta table {self._uri(table)}"

    def conditions(self) -> tuple[str, ...]:
        """Return what exactly once depends on."""
        return (
            "every writer of the table commits by atomic creation; Spark without a log store for S3 does not",
            "the table's log keeps the stream's newest commit (delta.logRetentionDuration, 30 days)",
        )

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Warn of writers that may overwrite commits, and of many small files."""
        warnings = []
        if self.path.startswith(("s3://", "s3a://")):
            warnings.append(
                "Spark writes Delta tables in S3 without an atomic commit unless it uses S3DynamoDBLogStore or runs on "
                "Databricks: do not let another Spark write to these tables"
            )
        if self.mode == "current" and settings.batch_timeout < 300:
            warnings.append(
                f'mode = "current" rewrites every file that holds a changed document, up to '
                f"{86_400 / settings.batch_timeout:,.0f} times a day: set batch_timeout = 300 or more"
            )
        elif settings.batch_timeout < 10:
            files = 86_400 / settings.batch_timeout
            warnings.append(
                f"batch_timeout = {settings.batch_timeout:g} means up to {files:,.0f} commits a day and stream: set 60"
            )
        return tuple(warnings)

    def _guards(self, stream: Stream, table: DeltaTable, where: str) -> Sequence[Transaction]:
        """Return what makes the commit of a chunk fail if the stream commits at the same time.

        Raises:
            LeaseLostError: Another owner moved the stream, so this one does not know what was deleted. The worker
                enters again, and reads the chunk again.
        """
        home = stream.of_snapshot
        if home is None:
            return ()
        left, version = self._left[home.key], table.transaction_version(app_id(home))
        if left.expect(record_in(table, home, where)).delivered.order != left.delivered.order:
            raise LeaseLostError(f"{home}: another instance writes the stream; its snapshot is read from here again")
        return [Transaction(app_id(home), version or 0)]

    def _removals_of(self, stream: Stream) -> Removals:
        return self._removals.setdefault(home_of(stream).key, Removals())

    def _uri(self, table: str) -> str:
        return f"{self.path.rstrip('/')}/{table}"

    def _make_folder(self) -> None:
        if self._is_local:
            with translated("create the folder of", self.where(self.table)):
                Path(self.path).mkdir(parents=True, exist_ok=True)

    @property
    def _is_local(self) -> bool:
        return "://" not in self.path

    def _options(self) -> dict[str, str]:
        return revealed(dict(self.storage_options))


def _append(table: DeltaTable, rows: pa.Table, properties: CommitProperties, where: str) -> None:
    """Append change events, and add the columns that the table lacks."""
    existing = pa.schema(table.schema())
    rows = rows.append_column(_SCHEMA.field(DAY), pc.cast(rows["cluster_time"], pa.date32()))
    differs = missing_columns(existing, rows.schema, where) or len(existing) > len(rows.schema)
    write_deltalake(table, rows, mode="append", schema_mode="merge" if differs else None, commit_properties=properties)


def _properties(record: StreamRecord, version: int, guards: Sequence[Transaction] = ()) -> CommitProperties:
    """What a commit carries besides rows. The library must not retry: it would commit on top of another owner."""
    name = app_id(record.stream)
    return CommitProperties(
        custom_metadata={name: record.dump()},
        app_transactions=[Transaction(name, version), *guards],
        max_commit_retries=0,
    )
