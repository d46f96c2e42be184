"""Change events as rows of a table: the columns of all tabular formats, in types that every table format has."""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
from rigatoni_arrow.tables import accelerated_table_of, table_of
from rigatoni_bson.accelerator import find_accelerator
from rigatoni_bson.columns import COLUMNS, Kind
from rigatoni_bson.texts import ColumnTexts
from rigatoni_core.api.batch import EventBatch

from rigatoni_tables.errors import TableSchemaError

TIME = pa.timestamp("us", "UTC")
"""Delta and Iceberg keep times in microseconds."""

_TYPES = {Kind.INTEGER: pa.int64(), Kind.SECONDS: TIME, Kind.MILLISECONDS: TIME}

SCHEMA = pa.schema([pa.field(column.name, _TYPES.get(column.kind, pa.string())) for column in COLUMNS])
"""The columns of a log table. All are optional: a field that an event lacks is null."""


class Rows:
    """Converts batches to rows. Thread-safe.

    Args:
        mode: How documents are written as JSON: a name in `rigatoni_bson.modes.MODES`.
    """

    def __init__(self, mode: str) -> None:
        texts, accelerator = ColumnTexts(mode), find_accelerator()
        self._table_of = (
            partial(table_of, texts=texts, nesting=None)
            if accelerator is None
            else partial(accelerated_table_of, texts=texts, mode=mode, nesting=None, accelerator=accelerator)
        )

    def of(self, events: EventBatch) -> pa.Table:
        """Return the rows of a batch, without loss.

        Raises:
            RejectedEventsError: Names the events whose bytes are not BSON.
        """
        table, _ = self._table_of(events)
        return table.cast(SCHEMA)  # milliseconds to microseconds, and texts of 64-bit offsets


def missing_columns(table: pa.Schema, rows: pa.Schema, where: str) -> Sequence[pa.Field]:
    """Return the columns that a table lacks.

    Raises:
        TableSchemaError: A column has another type. The library would cast the values, and so lose some.
    """
    missing = [field for field in rows if field.name not in table.names]
    for field in rows:
        if field.name in table.names and not _alike(table.field(field.name).type, field.type):
            found = table.field(field.name).type
            raise TableSchemaError(f"the column {field.name} of {where} is {found}; Rigatoni writes {field.type}")
    return missing


def _alike(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types hold the same values: texts have several layouts in Arrow."""
    return one == other or all(
        pa.types.is_string(each) or pa.types.is_large_string(each) or pa.types.is_string_view(each)
        for each in (one, other)
    )
