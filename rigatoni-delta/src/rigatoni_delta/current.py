"""`mode = "current"`: the changes of a batch as one merge into a table of documents."""

import json

import attrs
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
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

_GONE = pa.field("gone", pa.bool_())
_ENDS = {"drop", "rename"}
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
            if operation in _ENDS:
                newest, emptied = {}, True
            elif key is not None and (operation == "delete" or (document or "null") != "null"):
                newest[_id(key)] = index
        taken = events.take(pa.array(newest.values(), pa.int64()))
        arrays = [pa.array(newest, pa.string()), taken["full_document"], *(taken[name] for name in CURRENT.names[2:])]
        rows = pa.table(arrays, CURRENT)
        return cls(rows.append_column(_GONE, pc.equal(taken["operation"], "delete")), emptied)

    def commit(self, table: DeltaTable, properties: CommitProperties) -> None:
        """Merge the changes against the table as it was read, in one commit."""
        before = table.version()
        if len(self.rows) or self.emptied:
            self._merge(table, properties)
        if table.version() == before:  # the library makes no commit if no row changes; the position must move
            write_deltalake(table, CURRENT.empty_table(), mode="append", commit_properties=properties)

    def _merge(self, table: DeltaTable, properties: CommitProperties) -> None:
        merge = table.merge(
            self.rows,
            predicate=" AND ".join(["t._id = s._id", *self._bounds()]),
            source_alias="s",
            target_alias="t",
            commit_properties=properties,
        )
        columns = {name: f"s.{name}" for name in CURRENT.names}
        merge = merge.when_matched_delete("s.gone").when_matched_update(columns, "NOT s.gone")
        merge = merge.when_not_matched_insert(columns, "NOT s.gone")
        if self.emptied:
            merge = merge.when_not_matched_by_source_delete()
        merge.execute()

    def _bounds(self) -> list[str]:
        """Bounds on the key: files whose keys lie outside need no rewriting."""
        if self.emptied or not len(self.rows):
            return []
        least, most = (str(bound).replace("'", "''") for bound in pc.min_max(self.rows["_id"]).as_py().values())
        return [f"t._id >= '{least}'", f"t._id <= '{most}'"]


def _id(key: str) -> str:
    """Return the `_id` of a document key as JSON text; the key of a sharded collection holds more."""
    return json.dumps(json.loads(key)["_id"], separators=(",", ":"), ensure_ascii=False)
