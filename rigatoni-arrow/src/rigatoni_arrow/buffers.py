"""Creates tables with the accelerator: its rows as Arrow arrays without a copy, and the other rows at their places."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from rigatoni_bson.accelerator import Accelerator, Buffers
from rigatoni_bson.columns import FIELDS, Kind
from rigatoni_core.api.orders import Integers

from rigatoni_arrow.nested_schema import IMAGES, KEY, REST
from rigatoni_arrow.types import Array, Struct, Type

TIME = pa.timestamp("ms", "UTC")
TEXT = pa.large_string()  # the same text in Parquet, without a limit of 2 GiB per batch
TYPES = {Kind.TOKEN: TEXT, Kind.DOCUMENT: TEXT, Kind.TEXT: TEXT, Kind.INTEGER: pa.int64()}
TYPES |= {Kind.SECONDS: TIME, Kind.MILLISECONDS: TIME}
"""The types of columns whose documents are JSON texts."""


Types = Mapping[str, Struct | None]
"""The types of the nested columns. Other document columns are not nested."""


def accelerated(
    accelerator: Accelerator, buffer: bytes, offsets: Integers, ordinals: Integers, mode: str, types: Types
) -> tuple[pa.Table, list[int]]:
    """Return the table of the events between these offsets, and the indices of the events without a row."""
    spelled = tuple(kind.spelled() if (kind := types.get(name)) else None for name in (KEY, *IMAGES))
    columns, nested, left = accelerator.arrow_columns(buffer, offsets, mode, spelled)  # type: ignore[arg-type]
    rows, inner = len(offsets) - 1 - len(left), iter(nested)
    arrays: dict[str, pa.Array] = {}
    for column, buffers in zip(FIELDS, columns, strict=True):
        if kind := types.get(column.name):
            arrays[column.name] = _array(kind.arrow, rows, iter(next(inner)))
        name = column.name + REST if column.name in types else column.name
        arrays[name] = _array(TYPES[column.kind], rows, iter([buffers]))
    without = set(left)
    kept = [ordinal for index, ordinal in enumerate(ordinals) if index not in without]
    arrays["ordinal"] = pa.array(kept, TYPES[Kind.INTEGER])
    return pa.table(arrays), left


def is_known(kind: Type | None) -> bool:
    """Return whether the accelerator supports this type: all except decimals with a precision."""
    match kind:
        case Struct():
            return all(map(is_known, kind.fields.values()))
        case Array():
            return is_known(kind.item)
        case _:
            return kind is None or not pa.types.is_decimal(kind.arrow)


def _array(kind: pa.DataType, rows: int, columns: Iterator[Buffers]) -> pa.Array:
    """Return the next column with its inner columns as an array, without copying their bytes."""
    validity, ends, data = next(columns)
    parts, children = [validity], []
    if pa.types.is_struct(kind):
        children = [_array(field.type, rows, columns) for field in kind]
    elif pa.types.is_list(kind):
        assert ends is not None
        parts.append(ends)
        children = [_array(kind.value_type, int.from_bytes(ends[-4:], "little"), columns)]
    else:
        parts += [data] if ends is None else [ends, data]
    buffers = [None if part is None else pa.py_buffer(part) for part in parts]
    return pa.Array.from_buffers(kind, rows, buffers, children=children)


def completed(table: pa.Table, missing: pa.Table, places: Sequence[int]) -> pa.Table:
    """Return the table with the missing rows inserted at their places, which are ascending."""
    taken = list(range(len(table)))
    for number, place in enumerate(places):
        taken.insert(place, len(table) + number)
    return pa.concat_tables([table, missing]).take(taken).combine_chunks()
