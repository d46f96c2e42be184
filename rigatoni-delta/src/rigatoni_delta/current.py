"""`mode = "current"`: the changes of a batch as one merge into a table of documents."""

import json

import attrs
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.table import TableMerger
from rigatoni_tables.rows import TIME

CURRENT = pa.schema(
    [
        ("_id", pa.string()),
        ("document", pa.string()),
        ("cluster_time", TIME),
        ("cluster_time_increment", pa.int64()),
        ("ordinal", pa.int64()),
    ]
)
"""The columns of a table of documents. `_id` and `document` are JSON text."""

_COLUMNS = {name: f"s.{name}" for name in CURRENT.names}
_NOT_LATER = (
    "t.cluster_time IS NULL OR t.cluster_time < s.cluster_time "
    "OR (t.cluster_time = s.cluster_time AND t.cluster_time_increment <= s.cluster_time_increment)"
)

_GONE = pa.field("gone", pa.bool_())
ENDS = {"drop", "rename"}
"""What leaves the collection empty. A database is dropped after its collections."""


@attrs.frozen
class Changes:
    """The effect of a batch on the documents of one collection.

    Attributes:
        rows: The newest state of each document that changed; `gone` tells whether it was deleted.
        emptied: Whether all other documents are gone, since the collection was dropped or renamed.
    """

    rows: pa.Table
    emptied: bool

    @classmethod
    def of(cls, events: pa.Table) -> "Changes":
        """Return the effect of change events, given in the order of the stream.

        An update whose look-up came after the delete changes nothing: the delete follows.
        """
        newest: dict[str, int] = {}
        emptied = False
        columns = (events[name].to_pylist() for name in ("operation", "document_key", "full_document"))
        for index, (operation, key, document) in enumerate(zip(*columns, strict=True)):
            if operation in ENDS:
                newest, emptied = {}, True
            elif key is not None and (operation == "delete" or (document or "null") != "null"):
                newest[id_of(key)] = index
        taken = events.take(pa.array(newest.values(), pa.int64()))
        arrays = [pa.array(newest, pa.string()), taken["full_document"], *(taken[name] for name in CURRENT.names[2:])]
        rows = pa.table(arrays, CURRENT)
        return cls(rows.append_column(_GONE, pc.equal(taken["operation"], "delete")), emptied)

    def commit(self, table: DeltaTable, properties: CommitProperties) -> None:
        """Merge the changes against the table as it was read, in one commit."""
        before = table.version()
        if len(self.rows) or self.emptied:
            merge = _merge(table, self.rows, properties, bounded=not self.emptied)
            merge = merge.when_matched_delete("s.gone").when_matched_update(_COLUMNS, "NOT s.gone")
            merge = merge.when_not_matched_insert(_COLUMNS, "NOT s.gone")
            (merge.when_not_matched_by_source_delete() if self.emptied else merge).execute()
        _commit_anyway(table, before, properties)


def merge_rows(table: DeltaTable, events: pa.Table, properties: CommitProperties) -> None:
    """Merge rows of a snapshot against the table as it was read, in one commit. A later version stays."""
    before = table.version()
    ids = pa.array(map(id_of, events["document_key"].to_pylist()), pa.string())
    rows = pa.table([ids, events["full_document"], *(events[name] for name in CURRENT.names[2:])], CURRENT)
    if len(rows):
        merge = _merge(table, rows, properties, bounded=True)
        merge.when_matched_update(_COLUMNS, _NOT_LATER).when_not_matched_insert(_COLUMNS).execute()
    _commit_anyway(table, before, properties)


def _merge(table: DeltaTable, rows: pa.Table, properties: CommitProperties, *, bounded: bool) -> TableMerger:
    """Begin a merge by key. Bounds on the key: files whose keys lie outside need no rewriting."""
    predicates = ["t._id = s._id"]
    if bounded and len(rows):
        least, most = (str(bound).replace("'", "''") for bound in pc.min_max(rows["_id"]).as_py().values())
        predicates += [f"t._id >= '{least}'", f"t._id <= '{most}'"]
    return table.merge(
        rows,
        predicate=" AND ".join(predicates),
        source_alias="s",
        target_alias="t",
        commit_properties=properties,
    )


def _commit_anyway(table: DeltaTable, before: int, properties: CommitProperties) -> None:
    """Commit without rows if nothing was committed: the library does not if no row changes; the position must move."""
    if table.version() == before:
        write_deltalake(table, CURRENT.empty_table(), mode="append", commit_properties=properties)


def id_of(key: str) -> str:
    """Return the `_id` of a document key as JSON text; the key of a sharded collection holds more."""
    return json.dumps(json.loads(key)["_id"], separators=(",", ":"), ensure_ascii=False)
