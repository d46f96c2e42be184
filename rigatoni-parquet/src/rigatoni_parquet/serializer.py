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
"""The version of what this distribution writes: columns, their types, and what they mean."""

_ALIKE = (
    *("operation", "database", "collection", "cluster_time", "cluster_time_increment", "wall_time", "txn_number"),
    "ordinal",
)
"""Columns with few values, or values in order: a dictionary and statistics (for skipping row groups) pay."""
_REPEATED = ("lsid", "unknown_fields", *(f"{name}{REST}" for name in (KEY, *IMAGES)))
"""Columns of text whose values may well repeat: a dictionary pays, statistics do not."""


@attrs.define(kw_only=True, eq=False)
class ParquetSerializer(Serializer, ConfigLinter):
    """One Parquet file per batch: typed columns about the event, documents as JSON text or as nested columns.

    The same events give the same bytes, with one version of pyarrow. An event whose bytes are not BSON is rejected
    (`RejectedEventsError`); all others can be written. Compression is inside the file, where every reader expects it.
    """

    documents: Annotated[
        Form,
        "Documents as `json` text, or as `nested` columns with what does not fit beside them as JSON",
    ] = "json"
    schema: Annotated[
        Path | None, "A file that says the fields and types of nested documents; without it, each batch tells its own"
    ] = None
    mode: Annotated[Mode, "How JSON texts are written: see the serializer `json`"] = "relaxed"
    compression: Annotated[Compression, "Compression of the pages inside the file"] = "zstd"
    row_group_size: Annotated[
        int, "The most events in one row group, which is what readers skip or read as a whole"
    ] = 100_000
    _texts: ColumnTexts = attrs.field(init=False, repr=False)
    _struct: Struct | None = attrs.field(init=False, repr=False, default=None)
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
                raise ValueError('schema says the types of nested columns: set documents = "nested" too')
            self._struct = load_schema(self.schema)

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Types that are inferred again by each run. See `ConfigLinter`."""
        if self.documents != "nested" or self.schema is not None:
            return ()
        return (
            'documents = "nested" without schema: each run infers the types of fields anew, so files of earlier runs '
            "may have others, which readers cannot join. Set schema to a file that says the types",
        )

    def serialize(self, events: EventBatch) -> memoryview:
        """The batch as one complete file."""
        metadata = {"rigatoni.format": FORMAT, "rigatoni.mode": self.mode}
        nesting = Nesting(self._struct, self._agreed) if self.documents == "nested" else None
        if self._accelerator is not None:
            table, types = accelerated_table_of(events, self._texts, self.mode, nesting, self._accelerator)
        else:
            table, types = table_of(events, self._texts, nesting)
        if nesting:
            spelled = {name: kind.spelled() for name, kind in types.items() if kind}
            metadata["rigatoni.schema"] = json.dumps(spelled, ensure_ascii=False)
        return self._written(table, metadata)

    def _written(self, table: pa.Table, metadata: dict[str, str]) -> memoryview:
        texts = {field.name for field in table.schema if pa.types.is_large_string(field.type)}
        ordered = [path for field in table.schema for path in _leaves(field) if path not in texts or path in _ALIKE]
        target = pa.BufferOutputStream()
        with pq.ParquetWriter(
            target,
            table.schema,
            compression=self.compression,
            use_dictionary=[*ordered, *_REPEATED],
            write_statistics=ordered,
            write_page_index=True,
            store_schema=False,  # every reader knows these types without Arrow's own description of them
        ) as writer:
            writer.write_table(table, self.row_group_size)
            writer.add_key_value_metadata(metadata)
        return memoryview(target.getvalue())


def _leaves(field: pa.Field, above: str = "") -> Iterator[str]:
    """The paths of a column's leaves, as Parquet names them."""
    path = f"{above}{field.name}"
    if pa.types.is_struct(field.type):
        for inner in field.type:
            yield from _leaves(inner, f"{path}.")
    elif pa.types.is_list(field.type):
        yield from _leaves(field.type.value_field, f"{path}.list.")
    else:
        yield path
