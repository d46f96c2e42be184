"""The serializer `parquet`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
from rigatoni_arrow.agreed_types import AgreedTypes
from rigatoni_arrow.nested_schema import IMAGES, KEY, REST, Nesting
from rigatoni_arrow.schemas import load_schema
from rigatoni_arrow.tables import accelerated_table_of, table_of
from rigatoni_arrow.types import Struct
from rigatoni_bson.accelerator import Accelerator, find_accelerator
from rigatoni_bson.columns import COLUMNS
from rigatoni_bson.texts import ColumnTexts
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import ConfigLinter, Serializer
from rigatoni_core.api.settings import Settings

Form = Literal["json", "nested"]
Mode = Literal["relaxed", "canonical", "plain"]
Compression = Literal["zstd", "snappy", "gzip", "none"]

FORMAT = "2"
"""The version of the file layout: columns, their types, and their meaning."""

_ORDERED = (
    *("operation", "database", "collection", "cluster_time", "cluster_time_increment", "wall_time", "txn_number"),
    "ordinal",
)
"""Columns with few distinct or with ordered values: dictionaries, and statistics to skip row groups, pay off."""
_REPEATED = ("lsid", "unknown_fields", *(f"{name}{REST}" for name in (KEY, *IMAGES)))
"""Text columns whose values often repeat: dictionaries pay off, statistics do not."""


@attrs.define(kw_only=True, eq=False)
class ParquetSerializer(Serializer, ConfigLinter):
    """One Parquet file per batch: typed columns about the event, documents as JSON text or as nested columns.

    The same events give the same bytes, with one version of pyarrow. Only an event whose bytes are not BSON is rejected
    (`RejectedEventsError`). The file is compressed internally, as every reader expects.
    """

    documents: Annotated[
        Form,
        "Documents as `json` text, or as `nested` columns, with values that do not fit in an extra column as JSON",
    ] = "json"
    schema: Annotated[
        Path | None, "File with the fields and types of nested documents; without it, they are inferred from each batch"
    ] = None
    mode: Annotated[Mode, "Notation of JSON texts: see the serializer `json`"] = "relaxed"
    compression: Annotated[Compression, "Compression of the pages inside the file"] = "zstd"
    row_group_size: Annotated[
        int, "Maximum number of events in a row group, the unit that readers skip or read as a whole"
    ] = 100_000
    _texts: ColumnTexts = attrs.field(init=False, repr=False)
    _schema_types: Struct | None = attrs.field(init=False, repr=False, default=None)
    _agreed: AgreedTypes = attrs.field(init=False, repr=False, factory=AgreedTypes)
    _accelerator: Accelerator | None = attrs.field(init=False, repr=False, factory=find_accelerator)

    accepts = frozenset({"bson"})
    media_type = "application/vnd.apache.parquet"
    suffix = ".parquet"
    columns = (*(column.name for column in COLUMNS), *(f"{name}{REST}" for name in (KEY, *IMAGES)))
    compressed = True

    def __attrs_post_init__(self) -> None:
        for name, value, known in (("documents", self.documents, Form), ("compression", self.compression, Compression)):
            if value not in get_args(known):
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(get_args(known))}")
        if self.row_group_size < 1:
            raise ValueError(f"row_group_size is {self.row_group_size}; it must be 1 or more")
        self._texts = ColumnTexts(self.mode)
        if self.schema is not None:
            if self.documents != "nested":
                raise ValueError('schema applies only to nested columns: set documents = "nested"')
            self._schema_types = load_schema(self.schema)

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Warn about types that each run infers again. See `ConfigLinter`."""
        if self.documents != "nested" or self.schema is not None:
            return ()
        return (
            'documents = "nested" without schema: each run infers the types of fields, so files of earlier runs may '
            "have different types, and readers cannot combine them. Set schema to a file that defines the types",
        )

    def serialize(self, events: EventBatch) -> memoryview:
        """Return the batch as one complete file."""
        metadata = {"rigatoni.format": FORMAT, "rigatoni.mode": self.mode}
        nesting = Nesting(self._schema_types, self._agreed) if self.documents == "nested" else None
        if self._accelerator is not None:
            table, types = accelerated_table_of(events, self._texts, self.mode, nesting, self._accelerator)
        else:
            table, types = table_of(events, self._texts, nesting)
        if nesting:
            spelled = {name: kind.spelled() for name, kind in types.items() if kind}
            metadata["rigatoni.schema"] = json.dumps(spelled, ensure_ascii=False)
        return self._write(table, metadata)

    def _write(self, table: pa.Table, metadata: dict[str, str]) -> memoryview:
        texts = {field.name for field in table.schema if pa.types.is_large_string(field.type)}
        ordered = [path for field in table.schema for path in _leaves(field) if path not in texts or path in _ORDERED]
        target = pa.BufferOutputStream()
        with pq.ParquetWriter(
            target,
            table.schema,
            compression=self.compression,
            use_dictionary=[*ordered, *_REPEATED],
            write_statistics=ordered,
            write_page_index=True,
            store_schema=False,  # readers derive these types without Arrow's own description
        ) as writer:
            writer.write_table(table, self.row_group_size)
            writer.add_key_value_metadata(metadata)
        return memoryview(target.getvalue())


def _leaves(field: pa.Field, above: str = "") -> Iterator[str]:
    """Yield the Parquet paths of a column's leaves."""
    path = f"{above}{field.name}"
    if pa.types.is_struct(field.type):
        for inner in field.type:
            yield from _leaves(inner, f"{path}.")
    elif pa.types.is_list(field.type):
        yield from _leaves(field.type.value_field, f"{path}.list.")
    else:
        yield path
