"""What the tests share: the recordings, and readers of Parquet that we did not write."""

import io
from itertools import accumulate
from pathlib import Path

import duckdb
import polars
import pyarrow as pa
import pytest
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.segments import Segment
from rigatoni_testing.batches import START, STREAM, TestDecoder


@pytest.fixture(scope="session")
def recordings():
    """Recorded replies of a real mongod."""
    return Path(__file__).parents[2] / "tests" / "recordings" / "mongod-5.0.7"


def by_duckdb(content, folder):
    path = folder / "file.parquet"
    path.write_bytes(content)
    with duckdb.connect() as connection:
        return connection.read_parquet(str(path)).to_arrow_table()


def by_polars(content, folder):
    return polars.read_parquet(io.BytesIO(content)).to_arrow()


@pytest.fixture(scope="session")
def batch_of_any():
    """Makes a batch of any raw documents, even such as are no change events (these have no position)."""

    def batch(raws):
        raws = list(raws)
        offsets = [*accumulate(map(len, raws), initial=0)]
        buffer = memoryview(b"".join(raws))
        return EventBatch(STREAM, first=START, end=START, segments=[Segment(buffer, offsets)], decoder=TestDecoder())

    return batch


@pytest.fixture(scope="session", params=[by_duckdb, by_polars], ids=["duckdb", "polars"])
def read(request, tmp_path_factory):
    """The rows of a Parquet file as dicts, by a reader of its own; instants are milliseconds since the epoch."""
    folder = tmp_path_factory.mktemp("files")

    def rows(content):
        table = request.param(content, folder).combine_chunks()
        columns = {name: plain(table[name].combine_chunks()) for name in table.column_names}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    return rows


def plain(array):
    """An Arrow array as Python values; instants, which Python's own type may not hold, as numbers."""
    kind = array.type
    if pa.types.is_timestamp(kind):
        unit = {"ms": 1, "us": 1000}[kind.unit]
        assert kind.tz is not None
        return [None if value is None else value // unit for value in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_struct(kind):
        fields = {field.name: plain(array.field(index)) for index, field in enumerate(kind)}
        present = array.is_valid().to_pylist()
        return [
            {name: values[row] for name, values in fields.items()} if present[row] else None
            for row in range(len(array))
        ]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values, offsets = plain(array.values), array.offsets.to_pylist()
        present = array.is_valid().to_pylist()
        return [values[offsets[row] : offsets[row + 1]] if present[row] else None for row in range(len(array))]
    return array.to_pylist()
