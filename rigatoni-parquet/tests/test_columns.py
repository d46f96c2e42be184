"""The typed columns and documents as JSON: whatever the event, other readers find all of it."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import fastparquet
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bson import DatetimeMS, Timestamp, decode, encode
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_bson.columns import COLUMNS
from rigatoni_bson.testing.reading import document_of
from rigatoni_bson.testing.rows import elements_of_event, elements_of_row
from rigatoni_bson.testing.strategies import EVENTS
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_parquet.plugin import rigatoni_serializers
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of, event_document, recorded_events

RAW = CodecOptions(RawBSONDocument)
COMPRESSIONS = ("zstd", "snappy", "gzip", "none")
CANONICAL = ParquetSerializer(mode="canonical", row_group_size=3)


def back(row):
    """A row of a file as the event's own elements."""
    seconds = None if row["cluster_time"] is None else row["cluster_time"] // 1000
    return elements_of_row({**row, "cluster_time": seconds})


@settings(max_examples=40, deadline=None)
@given(raws=st.lists(EVENTS, min_size=1, max_size=7))
def test_Z11_H1_C6_a_row_holds_all_of_an_event(read, batch_of_any, raws):
    rows = read(CANONICAL.serialize(batch_of_any(raws)))
    assert list(map(back, rows)) == list(map(elements_of_event, raws))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_Z12_H1_every_recorded_event_with_every_compression(read, recordings, compression):
    serializer, count = ParquetSerializer(mode="canonical", compression=compression), 0
    for path in sorted(recordings.glob("*.bson")):
        if events := recorded_events(path):
            rows = read(serializer.serialize(batch_of(events)))
            assert list(map(back, rows)) == list(map(elements_of_event, events))
            count += len(rows)
    assert count > 3000


def test_Z14_C8_order_within_a_second_and_instants_as_numbers(read):
    events = [
        event_document(number, wallTime=datetime(2024, 5, 1, 12, 0, 0, 1000 * number, UTC)) for number in range(999)
    ]
    events += [event_document(999, clusterTime=Timestamp(2**32 - 1, 2**32 - 1))]
    rows = read(ParquetSerializer().serialize(batch_of(events)))
    assert [row["cluster_time_increment"] for row in rows] == [*range(1, 1000), 2**32 - 1]
    assert {row["cluster_time"] for row in rows[:-1]} == {1_700_000_000_000}
    assert rows[-1]["cluster_time"] == (2**32 - 1) * 1000
    assert [row["wall_time"] for row in rows[:3]] == [1_714_564_800_000, 1_714_564_800_001, 1_714_564_800_002]


def test_C6_no_wall_time_keeps_a_reader_from_opening_the_file(read):
    far = [DatetimeMS(253_402_300_799_999), DatetimeMS(9_223_372_036_854_776), DatetimeMS(-(2**63))]
    rows = read(ParquetSerializer().serialize(batch_of([event_document(n, wallTime=at) for n, at in enumerate(far)])))
    assert [row["wall_time"] for row in rows] == [int(far[0]), None, None]
    assert rows[0]["unknown_fields"] is None
    assert json.loads(rows[2]["unknown_fields"]) == {"wallTime": {"$date": {"$numberLong": str(-(2**63))}}}


def test_null_is_not_absent(read):
    events = [event_document(0, fullDocument=None), event_document(1)]
    del events[1]["fullDocument"]
    for documents, column in (("json", "full_document"), ("nested", "full_document_rest")):
        rows = read(ParquetSerializer(documents=documents).serialize(batch_of(events)))
        assert [row[column] for row in rows] == ["null", None]


def test_events_of_a_transaction_keep_their_ordinals_whatever_is_taken_out(read):
    events = [event_document(number, clusterTime=Timestamp(1_700_000_000, 1)) for number in range(1500)]
    batch = batch_of(events).without({0, 3})[1:]
    for documents in ("json", "nested"):
        rows = read(ParquetSerializer(documents=documents).serialize(batch))
        assert [row["ordinal"] for row in rows] == [2, *range(4, 1500)]


def test_the_types_are_those_that_every_reader_knows():
    """Signed integers, INT64 milliseconds of UTC, one kind of text: what Spark and Athena read without options."""
    content = ParquetSerializer().serialize(batch_of([event_document(0)]))
    schema = pq.ParquetFile(pa.BufferReader(content)).schema
    columns = list(map(schema.column, range(len(COLUMNS))))
    logical = [str(column.logical_type).partition(", is_from")[0] for column in columns]
    types = {column.path: (column.physical_type, kind) for column, kind in zip(columns, logical, strict=True)}
    instant = "Timestamp(isAdjustedToUTC=true, timeUnit=milliseconds"
    expected = {column.name: ("BYTE_ARRAY", "String") for column in COLUMNS}
    expected |= dict.fromkeys(("cluster_time", "wall_time"), ("INT64", instant))
    expected |= dict.fromkeys(("cluster_time_increment", "txn_number", "ordinal"), ("INT64", "None"))
    assert types == expected
    assert list(types) == list(expected)


def test_the_same_events_give_the_same_bytes_whoever_writes_them(recordings):
    events = recorded_events(recordings / "all-bson-types.bson") + recorded_events(
        recordings / "update-descriptions.bson"
    )
    for documents in ("json", "nested"):
        one, other = (ParquetSerializer(documents=documents) for _ in range(2))
        expected = bytes(one.serialize(batch_of(events)))
        if documents == "json":  # nested columns keep the types that this serializer has written before
            other.serialize(batch_of(recorded_events(recordings / "ids-crud-lookup.bson")))
        with ThreadPoolExecutor(4) as threads:
            written = threads.map(other.serialize, [batch_of(events)] * 8)
        assert {bytes(content) for content in written} == {expected}


def test_the_file_says_how_it_was_written():
    content = ParquetSerializer(mode="plain").serialize(batch_of([event_document(0)]))
    metadata = pq.read_metadata(pa.BufferReader(content))
    assert metadata.metadata == {b"rigatoni.format": b"2", b"rigatoni.mode": b"plain"}
    assert metadata.created_by == f"parquet-cpp-arrow version {pa.__version__}"


def test_malformed_events_are_named_all_at_once_each_with_its_byte():
    events = [encode(event_document(number, fullDocument={"flag": True})) for number in range(9)]
    events[2] = events[2].replace(b"\x08flag\0\1", b"\x08flag\0\2")
    events[5] = events[5][:-1] + b"\1"
    for documents in ("json", "nested"):
        with pytest.raises(RejectedEventsError) as caught:
            ParquetSerializer(documents=documents).serialize(batch_of(events[:9]))
        assert caught.value.events.keys() == {2, 5}
        assert caught.value.events[2].offset == events[2].index(b"\x08flag")


@pytest.mark.parametrize("documents", ["json", "nested"])
def test_parts_of_batches(read, documents):
    """As destinations make them: cut by offsets, and without some events; more events than are worked on at once."""
    whole = batch_of([event_document(number) for number in range(1500)])
    serializer = ParquetSerializer(documents=documents)
    rows = read(serializer.serialize(whole))
    assert read(serializer.serialize(whole[3:1400])) == rows[3:1400]
    assert read(serializer.serialize(whole.without(range(5, 1490)))) == rows[:5] + rows[1490:]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists the threads of a process")
@pytest.mark.parametrize("documents", ["json", "nested"])
def test_the_calling_thread_does_all_the_work(documents):
    code = (
        "import os, sys\nfrom rigatoni_testing.batches import batch_of, event_document\n"
        "from rigatoni_parquet.serializer import ParquetSerializer\n"
        "batch = batch_of([event_document(number) for number in range(5000)])\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "ParquetSerializer(documents=sys.argv[1], row_group_size=1000).serialize(batch)\n"
        "assert len(os.listdir('/proc/self/task')) == before"
    )
    subprocess.run([sys.executable, "-c", code, documents], check=True)


@pytest.mark.parametrize("documents", ["json", "nested"])
def test_no_events_are_a_file_too(read, documents):
    assert read(ParquetSerializer(documents=documents).serialize(batch_of([]))) == []


def test_Z12_compression_around_the_file_is_refused():
    with pytest.raises(ValueError, match=r"\.parquet, which is already compressed: use it directly"):
        ZstdSerializer(inner=ParquetSerializer(compression="none"))


@pytest.mark.parametrize("compression", COMPRESSIONS[:3])
def test_H1_a_third_reader(recordings, compression):
    """fastparquet, which pandas uses: written in Python, knows nothing of Arrow."""
    events = recorded_events(recordings / "three-thousand.bson")
    content = ParquetSerializer(mode="canonical", compression=compression).serialize(batch_of(events))
    frame = fastparquet.ParquetFile(io.BytesIO(content)).to_pandas()
    assert len(frame) == len(events)
    for (_, row), raw in zip(frame.iterrows(), events, strict=True):
        assert document_of(row["full_document"]) == decode(raw, RAW)["fullDocument"].raw
        assert row["cluster_time"].timestamp() == decode(raw)["clusterTime"].time


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"row_group_size": 0}, "row_group_size is 0"),
        ({"schema": Path("x")}, "documents"),
        ({"documents": "text"}, "documents is 'text'; it must be one of json, nested"),
        ({"compression": "lzo"}, "compression is 'lzo'"),
        ({"mode": "strict"}, "mode is 'strict'"),
    ],
)
def test_options_that_can_not_be_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        ParquetSerializer(**option)


def test_the_component():
    (component,) = rigatoni_serializers()
    serializer = component.load()()
    assert component.name == "parquet"
    assert isinstance(serializer, Serializer)
    assert (serializer.suffix, serializer.media_type) == (".parquet", "application/vnd.apache.parquet")
    assert serializer.content_encoding is None
