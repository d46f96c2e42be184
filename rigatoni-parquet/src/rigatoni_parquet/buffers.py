"""Tables by the accelerator: rows that it made, as Arrow arrays around its bytes, and the others in their places."""

from array import array
from collections.abc import Sequence

import pyarrow as pa
from rigatoni_bson.accelerator import Accelerator
from rigatoni_bson.columns import COLUMNS, Kind

TIME = pa.timestamp("ms", "UTC")
TEXT = pa.large_string()  # the same text in Parquet, without a limit of 2 GiB per batch
TYPES = {Kind.TOKEN: TEXT, Kind.DOCUMENT: TEXT, Kind.TEXT: TEXT, Kind.INTEGER: pa.int64()}
TYPES |= {Kind.SECONDS: TIME, Kind.MILLISECONDS: TIME}
"""The types of columns whose documents are JSON texts."""


def accelerated(
    accelerator: Accelerator, buffer: bytes, offsets: "array[int]", mode: str
) -> tuple[pa.Table, list[int]]:
    """The events between these offsets, and the indices of those that the table has no row for."""
    columns, left = accelerator.arrow_columns(buffer, offsets, mode)
    rows = len(offsets) - 1 - len(left)
    arrays: dict[str, pa.Array] = {}
    for column, (validity, ends, data) in zip(COLUMNS, columns, strict=True):
        parts = [validity, data] if ends is None else [validity, ends, data]
        buffers = [None if part is None else pa.py_buffer(part) for part in parts]
        arrays[column.name] = pa.Array.from_buffers(TYPES[column.kind], rows, buffers)
    return pa.table(arrays), left


def completed(table: pa.Table, missing: pa.Table, places: Sequence[int]) -> pa.Table:
    """The table with the missing rows in their places, which are in order."""
    taken = list(range(len(table)))
    for number, place in enumerate(places):
        taken.insert(place, len(table) + number)
    return pa.concat_tables([table, missing]).take(taken).combine_chunks()
