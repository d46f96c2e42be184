"""The destination `iceberg`: change events in Apache Iceberg tables."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Self

import attrs
import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform
from pyiceberg.types import IcebergType, LongType, NestedField, StringType, TimestamptzType
from rigatoni_core.api.contracts import ConfigLinter
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_tables.destination import Held, TableDestination, revealed
from rigatoni_tables.errors import CommitRefusedError
from rigatoni_tables.rows import SCHEMA, TIME
from sqlalchemy.exc import IntegrityError

from rigatoni_iceberg.commits import append, keep, property_of, record_in
from rigatoni_iceberg.errors import translated

_TYPES: Mapping[pa.DataType, IcebergType] = {pa.int64(): LongType(), pa.string(): StringType(), TIME: TimestamptzType()}
_SCHEMA = Schema(
    *(NestedField(number, field.name, _TYPES[field.type], required=False) for number, field in enumerate(SCHEMA, 1))
)
_BY_DAY = PartitionSpec(
    PartitionField(_SCHEMA.find_field("cluster_time").field_id, 1000, DayTransform(), "cluster_time_day")
)
_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.parquet.compression-codec": "zstd",
    "commit.manifest-merge.enabled": "true",
}
"""Of tables that Rigatoni creates: each commit writes all metadata and adds a manifest, and would keep them all."""


@attrs.define(kw_only=True, eq=False)
class IcebergDestination(TableDestination[Table], ConfigLinter):
    """Appends change events to Iceberg tables; each commit holds rows and position."""

    namespace: Annotated[str, "The namespace of the tables; it is created if the catalog permits that"]
    catalog: Annotated[
        Mapping[str, Secret],
        "The catalog's properties, as PyIceberg names them: `type`, `uri`, `warehouse`, …; added to those that "
        "PyIceberg finds itself",
    ] = attrs.field(factory=dict)
    catalog_name: Annotated[str, "The catalog's name: in `.pyiceberg.yaml`, and in the tables of a SQL catalog"] = (
        "default"
    )
    _catalog: Catalog | None = attrs.field(init=False, default=None, repr=False)

    async def __aenter__(self) -> Self:
        """Open the catalog, and create the namespace if it is missing."""
        self._catalog = await self._run(Stream("", ""), self._open)
        return self

    def read(self, table: str, stream: Stream) -> Held[Table] | None:
        """Load the table's current metadata. See `TableDestination`."""
        with translated("read", self.where(table)):
            try:
                found = self._tables.load_table((self.namespace, table))
            except (NoSuchTableError, NoSuchNamespaceError):
                return None
            return Held(found, record_in(found, stream, self.where(table)))

    def create(self, table: str, record: StreamRecord | None) -> None:
        """Create the table, partitioned by day, with the record among its properties. See `TableDestination`."""
        properties = {**_PROPERTIES, **({property_of(record.stream): record.dump()} if record else {})}
        with translated("create", self.where(table)):
            try:
                self._tables.create_table(
                    (self.namespace, table), _SCHEMA, partition_spec=_BY_DAY, properties=properties
                )
            except TableAlreadyExistsError:
                raise CommitRefusedError from None

    def commit(self, table: str, held: Held[Table], rows: pa.Table | None, record: StreamRecord) -> None:
        """Append against the snapshot, by one attempt. See `TableDestination`."""
        where = self.where(table)
        with translated("write to", where):
            append(held.snapshot, SCHEMA.empty_table() if rows is None else rows, record, where)

    def kept(self, held: Held[Table], name: str) -> str | None:
        """Return a record among the table's properties. See `TableDestination`."""
        return held.snapshot.properties.get(f"rigatoni.{name}")

    def keep(self, table: str, held: Held[Table], name: str, content: str) -> None:
        """Add a record to the table's properties. See `TableDestination`."""
        where = self.where(table)
        with translated("write to", where):
            keep(held.snapshot, f"rigatoni.{name}", content, where)

    def where(self, table: str) -> str:
        """Return the table's identifier."""
        return f"the Iceberg table {self.namespace}.{table}"

    def conditions(self) -> tuple[str, ...]:
        """Return what exactly once depends on."""
        return ("the catalog compares and swaps the table's metadata atomically, as Iceberg requires",)

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Warn of many small files, and of a catalog that only one machine can use."""
        warnings = []
        if settings.batch_timeout < 10:
            files = 86_400 / settings.batch_timeout
            warnings.append(
                f"batch_timeout = {settings.batch_timeout:g} means up to {files:,.0f} commits a day and stream: set 60"
            )
        uri = self.catalog.get("uri")
        if uri is not None and uri.reveal().startswith("sqlite:"):
            warnings.append("a catalog in SQLite serves one machine: use a REST, SQL, Glue or Hive catalog for several")
        return tuple(warnings)

    @property
    def _tables(self) -> Catalog:
        assert self._catalog is not None, "the destination is not entered"
        return self._catalog

    def _open(self) -> Catalog:
        with translated("open the catalog of", self.where(self.table)):
            try:
                return self._prepared()
            except IntegrityError:  # another instance has created the namespace at the same moment
                return self._prepared()

    def _prepared(self) -> Catalog:
        """Return the catalog, in which the namespace exists."""
        catalog = load_catalog(self.catalog_name, **revealed(dict(self.catalog)))
        with suppress(NamespaceAlreadyExistsError):
            catalog.create_namespace(self.namespace)
        return catalog

    def _name(self, stream: Stream) -> str:
        return TableDestination._name(self, stream).replace(".", "_")
