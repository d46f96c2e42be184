"""Readers skip row groups by time and collection: they never touch the bytes of those that cannot match."""

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of, event_document

SECOND = 1_700_000_000


@pytest.fixture(params=["json", "nested"])
def damaged(request, tmp_path):
    """A file of four row groups, 500 events each and two to a second; only the last one's pages are as written."""
    events = [
        event_document(number, ns={"db": "shop", "coll": "orders" if number < 1500 else "users"})
        for number in range(2000)
    ]
    content = bytearray(ParquetSerializer(documents=request.param, row_group_size=500).serialize(batch_of(events)))
    metadata = pq.read_metadata(pa.BufferReader(bytes(content)))
    assert metadata.num_row_groups == 4
    first = metadata.row_group(3).column(0)
    end = first.dictionary_page_offset or first.data_page_offset
    content[4:end] = b"\xee" * (end - 4)
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    return path


QUESTIONS = ["collection = 'users'", f"cluster_time >= to_timestamp({SECOND + 1}) and cluster_time_increment > 500"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_duckdb_reads_only_the_row_groups_that_can_match(damaged, question):
    with duckdb.connect() as connection:
        answer = connection.sql(f"select count(distinct resume_token) from '{damaged}' where {question}")
        assert answer.fetchall() == [(500,)]
        with pytest.raises(duckdb.Error):
            connection.sql(f"select count(distinct resume_token) from '{damaged}'").fetchall()


def test_polars_reads_only_the_row_groups_that_can_match(damaged):
    users = polars.scan_parquet(damaged).filter(polars.col("collection") == "users")
    assert users.select(polars.col("resume_token").n_unique()).collect().item() == 500
    with pytest.raises(polars.exceptions.PolarsError):
        polars.scan_parquet(damaged).select(polars.col("resume_token").n_unique()).collect()


def test_statistics_and_dictionaries_are_where_they_help():
    events = [event_document(number, fullDocument={"_id": number, "tags": ["a"]}) for number in range(100)]
    content = ParquetSerializer(documents="nested").serialize(batch_of(events))
    group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    columns = {column.path_in_schema: column for column in map(group.column, range(group.num_columns))}
    known = {path for path, column in columns.items() if column.is_stats_set}
    assert known == {
        *("operation", "database", "collection", "cluster_time", "cluster_time_increment", "wall_time", "txn_number"),
        "ordinal",
        *("document_key._id", "full_document._id", "full_document.tags.list.element"),
        *("full_document_before_change._id", "full_document_before_change.tags.list.element"),
    }
    plain = {path for path, column in columns.items() if "RLE_DICTIONARY" not in column.encodings}
    assert plain == {"resume_token", "update_description"}
