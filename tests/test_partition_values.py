"""Values of every BSON type as names of folders, read back by DuckDB and pyarrow as they stand in plain JSON."""

import json
import uuid
from datetime import UTC, datetime
from itertools import accumulate

import duckdb
import pyarrow.dataset
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp, encode
from bson.datetime_ms import DatetimeMS
from rigatoni_core.api.batch import EventBatch
from rigatoni_json.serializer import JsonSerializer
from rigatoni_mongodb.decoding import ChangeEventDecoder
from rigatoni_objects.file_layout import FileLayout
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import START, STREAM, event_document

VALUES = [
    *("München", "東京 😀", "a/b", "100% = #1?", 'it\'s "quoted"', "dot.", "~", "a\nb\\c", "[x]{y}^*:", "+ &;,@", "é"),
    uuid.UUID("00010203-0405-0607-0809-0a0b0c0d0e0f"),
    *(ObjectId("65f000000000000000000001"), datetime(2024, 5, 1, 12, 0, 5, 120000, tzinfo=UTC), DatetimeMS(2**60)),
    *(Decimal128("1.10"), 7, Int64(2**53 + 1), 1.5, float("nan"), True, False, b"\x00\xff", Binary(b"\x01\x02", 5)),
    *(Timestamp(1, 2), Regex("^a", "i"), Code("f()"), MinKey(), MaxKey()),
]
ABSENT = [None, {"deep": 1}, [1, 2], ""]


def batch(values):
    raws = []
    for number, value in enumerate(values):
        value = Binary.from_uuid(value) if isinstance(value, uuid.UUID) else value
        raws.append(encode(event_document(number, fullDocument={"value": value})))
    offsets = list(accumulate(map(len, raws), initial=0))
    return EventBatch.from_reply(START, STREAM, memoryview(b"".join(raws)), offsets, ChangeEventDecoder())


@pytest.fixture
def lake(tmp_path):
    """The files; and for each increment of the cluster time what a reader must find, as text or None."""
    events = batch(VALUES + ABSENT)
    layout = FileLayout(ParquetSerializer(mode="plain"), ("field:value",))
    for part in layout.parts(events):
        file = tmp_path / part.path
        file.parent.mkdir(parents=True)
        file.write_bytes(layout.serializer.serialize(part.events))
    lines = JsonSerializer(mode="plain").serialize(events).splitlines()
    plain = [json.loads(line)["fullDocument"]["value"] for line in lines]
    texts = [value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for value in plain]
    expected = dict(enumerate(texts[: len(VALUES)], 1)) | dict.fromkeys(range(len(VALUES) + 1, len(texts) + 1))
    return tmp_path, expected


def test_duckdb_reads_every_value_back(lake):
    folder, expected = lake
    query = f"""
        SELECT cluster_time_increment, value
        FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true, hive_types = {{value: VARCHAR}})
    """
    with duckdb.connect() as connection:
        assert dict(connection.execute(query).fetchall()) == expected


def test_pyarrow_reads_every_value_back(lake):
    folder, expected = lake
    partitioning = pyarrow.dataset.partitioning(pyarrow.schema([("value", pyarrow.string())]), flavor="hive")
    table = pyarrow.dataset.dataset(folder, format="parquet", partitioning=partitioning).to_table()
    found = zip(table["cluster_time_increment"].to_pylist(), table["value"].to_pylist(), strict=True)
    assert dict(found) == expected


def test_no_value_is_what_python_makes_of_it(lake):
    folder, _ = lake
    names = [path.name for path in folder.iterdir()]
    assert f"value={VALUES[11]}" in names
    assert not [name for name in names if "b'" in name or "Binary" in name or "(" in name.replace("f()", "")]
