"""Commits to Iceberg tables by exactly one attempt, and the record of a stream in a table.

The only module that uses private functions of PyIceberg. `Table.transaction().commit_transaction()` retries by itself
since 0.12 (apache/iceberg-python#3320), on top of what another owner has committed. So PyIceberg is pinned to one minor
release.

The record is a property of the table, which outlives the expiry of snapshots, and is in the summary of each snapshot
that Rigatoni adds. So a rollback shows: then the record of the newest snapshot in the lineage is in force.
"""

from collections.abc import Iterator, Mapping

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from rigatoni_core.api.events import Stream
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_tables.errors import TableRestoredError
from rigatoni_tables.rows import SCHEMA, missing_columns

APPENDED = ".appended"
"""What the name of a property ends in that tells whether the stream ever added a snapshot."""


def property_of(stream: Stream) -> str:
    """Return the name of a stream's record among a table's properties, and in the summaries of its snapshots."""
    return f"rigatoni.{stream.key}"


def record_in(table: Table, stream: Stream, where: str) -> StreamRecord | None:
    """Return the record in force; None if the stream never committed to the table.

    Raises:
        TableRestoredError: The table was rolled back to before the stream's first commit.
    """
    name = property_of(stream)
    text = table.properties.get(name)
    if text is None:
        return None
    lineage = list(_lineage(table))
    found = next((summary for each in lineage if (summary := _summary(each, name)) is not None), None)
    if found is None and APPENDED.join((name, "")) in table.properties:
        if not lineage or lineage[-1].sequence_number == 1:  # PyIceberg's expiry also removes the ids of parents
            raise TableRestoredError(f"{where} was rolled back to before the first commit of {stream}")
        found = text  # the stream's snapshots have expired
    return StreamRecord.load(stream, found or text, f"the property {name} of {where}")


def append(table: Table, rows: pa.Table, record: StreamRecord, where: str) -> None:
    """Append rows, which may be none, and the record, against the table as it was read, by one attempt."""
    name, text = property_of(record.stream), record.dump()
    _append(table, rows, {name: text, f"{name}{APPENDED}": "true"}, {name: text}, where)


def keep(table: Table, name: str, content: str, where: str) -> None:
    """Set a property against the table as it was read, by one attempt.

    A commit of properties alone is never refused, so it comes with a snapshot without rows.
    """
    _append(table, SCHEMA.empty_table(), {name: content}, {}, where)


def _append(
    table: Table, rows: pa.Table, properties: Mapping[str, str], summary: Mapping[str, str], where: str
) -> None:
    transaction = table.transaction()
    if missing_columns(table.schema().as_arrow(), rows.schema, where):
        with transaction.update_schema() as update:
            update.union_by_name(rows.schema)
    transaction.set_properties(dict(properties))
    transaction.append(rows, snapshot_properties=dict(summary))
    table._do_commit(transaction._updates, transaction._requirements)


def _lineage(table: Table) -> Iterator[Snapshot]:
    """Yield the snapshots from the current one to the oldest that is kept."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None


def _summary(snapshot: Snapshot, name: str) -> str | None:
    return snapshot.summary.additional_properties.get(name) if snapshot.summary is not None else None
