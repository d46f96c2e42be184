"""What independent readers find in the files equals the events (scenario H1): DuckDB, Polars, Python's csv module."""

import csv
import gzip
import io
import json
from typing import Any

import duckdb
import polars
import pytest
import zstandard
from bson import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_bson.columns import COLUMNS
from rigatoni_bson.testing.rows import elements_of_event, elements_of_row
from rigatoni_bson.testing.strategies import EVENTS
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_testing.batches import batch_of, event_document, recorded_events

ABSENT = "\\N"
FIRST, *LAST = (encode(event_document(number)) for number in range(3))
"""Around odd events: the kit's decoder looks at the first event and at the last two."""


def read_by_python(path, delimiter):
    opened: Any = {".csv": open, ".gz": gzip.open, ".zst": zstandard.open}[path.suffix]
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter, strict=True))
    return [[None if cell == ABSENT else cell for cell in row] for row in rows[1:]]


def read_by_duckdb(path, delimiter):
    columns = {column.name: "VARCHAR" for column in COLUMNS}
    query = "FROM read_csv($path, delim = $delimiter, nullstr = $null, header = true, quote = '\"', escape = '\"', "
    query += f"columns = {columns}, auto_detect = false)"
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.execute(query, {"path": str(path), "delimiter": delimiter, "null": ABSENT}).fetchall()


def read_by_polars(path, delimiter):
    frame = polars.read_csv(path, separator=delimiter, null_values=[ABSENT], infer_schema=False)
    return frame.rows()


READERS = {"python": read_by_python, "duckdb": read_by_duckdb, "polars": read_by_polars}
WRAPPED = {"none": lambda inner: inner, "gzip": lambda inner: GzipSerializer(inner=inner)}
WRAPPED["zstd"] = lambda inner: ZstdSerializer(inner=inner)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("compression", WRAPPED)
def test_H1_every_recorded_event_is_read_back(reader, compression, recordings, tmp_path, row_of):
    serializer = WRAPPED[compression](CsvSerializer(mode="canonical", null=ABSENT))
    count = 0
    for recording in sorted(recordings.glob("*.bson")):
        if events := recorded_events(recording):
            path = tmp_path / f"events{serializer.suffix}"
            path.write_bytes(serializer.serialize(batch_of(events)))
            rows = [row_of(cells) for cells in READERS[reader](path, ",")]
            assert list(map(elements_of_row, rows)) == list(map(elements_of_event, events))
            count += len(rows)
    assert count > 3000


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=st.lists(EVENTS, max_size=5), delimiter=st.sampled_from([",", ";", "\t", "|"]))
def test_C6_Z11_whatever_bson_holds_is_read_back(reader, odd, delimiter, tmp_path, row_of):
    events = [FIRST, *odd, *LAST]
    serializer = CsvSerializer(mode="canonical", delimiter=delimiter, null=ABSENT)
    path = tmp_path / "events.csv"
    path.write_bytes(serializer.serialize(batch_of(events)))
    rows = [row_of(cells) for cells in READERS[reader](path, delimiter)]
    assert list(map(elements_of_row, rows)) == list(map(elements_of_event, events))


def test_duckdb_finds_the_types_by_itself(tmp_path):
    path = tmp_path / "events.csv"
    events = [event_document(number, txnNumber=None) for number in range(50)]
    path.write_bytes(CsvSerializer().serialize(batch_of(events)))
    with duckdb.connect(config={"threads": 1}) as connection:
        found = connection.execute(
            "SELECT full_document ->> '$.value', epoch(cluster_time), cluster_time_increment, update_description "
            "FROM read_csv($path, types = {full_document: 'JSON'})",
            {"path": str(path)},
        ).fetchall()
    assert found == [(f"value {n}", 1_700_000_000, n + 1, None) for n in range(50)]


def test_a_null_document_an_absent_one_and_an_empty_text_are_three_things(tmp_path):
    """The default cell for absent fields, read with the settings that the README names."""
    path = tmp_path / "events.csv"
    absent = event_document(1)
    del absent["fullDocument"]
    events = [event_document(0, fullDocument=None), absent, event_document(2, operationType="")]
    path.write_bytes(CsvSerializer().serialize(batch_of(events)))
    with duckdb.connect(config={"threads": 1}) as connection:
        query = "SELECT operation, full_document FROM read_csv($path, allow_quoted_nulls = false, all_varchar = true)"
        found = connection.execute(query, {"path": str(path)}).fetchall()
    assert found[:2] == [("insert", "null"), ("insert", None)]
    assert found[2][0] == ""


def test_python_reads_it_strictly():
    content = CsvSerializer().serialize(batch_of([event_document(n, text='a"b\n,') for n in range(3)])).decode()
    rows = list(csv.reader(io.StringIO(content, newline=""), strict=True))
    assert [len(row) for row in rows] == [15] * 4
    assert content.count("\n") == content.count("\r\n") == 4


def test_large_documents_are_read_with_the_settings_that_the_readme_names(tmp_path):
    path = tmp_path / "events.csv"
    text = 'a"b' * 1_000_000
    path.write_bytes(CsvSerializer().serialize(batch_of([event_document(0, fullDocument={"text": text})])))
    column = polars.read_csv(path)["full_document"]
    assert json.loads(column[0]) == {"text": text}
    with duckdb.connect(config={"threads": 1}) as connection:
        query = "SELECT full_document FROM read_csv($path, max_line_size = 20_000_000)"
        assert connection.execute(query, {"path": str(path)}).fetchall() == [(column[0],)]
        with pytest.raises(duckdb.Error, match="max_line_size"):
            connection.execute(query.replace(", max_line_size = 20_000_000", ""), {"path": str(path)})
    limit = csv.field_size_limit(20_000_000)
    try:
        assert read_by_python(path, ",")[0][8] == column[0]
    finally:
        csv.field_size_limit(limit)
