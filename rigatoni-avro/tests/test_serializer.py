"""What the serializer promises in its options and its README."""

import io
import json
import os
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest
from bson import Int64, Timestamp, encode
from bson.datetime_ms import DatetimeMS
from rigatoni_avro.plugin import rigatoni_serializers
from rigatoni_avro.schema import event_schema
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_bson.columns import COLUMNS, Kind
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import batch_of, event_document, recorded_events

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CODECS = ("null", "deflate", "snappy", "zstandard")
MODES = ("relaxed", "canonical", "plain", "bson")


def records_of(events, **options):
    return list(fastavro.reader(io.BytesIO(AvroSerializer(**options).serialize(batch_of(events)))))


@pytest.mark.parametrize("mode", ["relaxed", "canonical", "plain"])
def test_C6_documents_are_the_json_serializers(mode, recordings):
    """So what rigatoni-json says of every type holds within documents, too."""
    events = recorded_events(recordings / "all-bson-types.bson")
    lines = JsonSerializer(mode=mode).serialize(batch_of(events)).splitlines()
    records = records_of(events, mode=mode)
    assert [json.loads(record["full_document"]) for record in records] == [
        json.loads(line)["fullDocument"] for line in lines
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("milliseconds", [-62_198_755_200_000, 253_402_300_800_000, 2**63 - 1])
def test_C6_a_date_that_no_calendar_knows_stops_nothing(mode, milliseconds):
    event = event_document(0, wallTime=DatetimeMS(milliseconds), fullDocument={"at": DatetimeMS(milliseconds)})
    (record,) = records_of([event], mode=mode)
    assert record["wall_time"] is None
    if mode == "canonical":
        date = {"$date": {"$numberLong": str(milliseconds)}}
        assert json.loads(record["unknown_fields"]) == {"wallTime": date}
        assert json.loads(record["full_document"]) == {"at": date}
    if mode == "bson":
        assert record["unknown_fields"] == encode({"wallTime": DatetimeMS(milliseconds)})


@pytest.mark.parametrize("mode", MODES)
def test_a_null_document_is_not_an_absent_one(mode):
    absent = event_document(1)
    del absent["fullDocument"]
    records = records_of([event_document(0, fullDocument=None), absent], mode=mode)
    assert [record["full_document"] for record in records] == [b"" if mode == "bson" else "null", None]


def test_the_event_s_own_fields_have_logical_types():
    event = event_document(0, wallTime=datetime(2024, 5, 1, 12, 0, 5, 123000, UTC), txnNumber=Int64(-(2**63)))
    (record,) = records_of([event])
    assert record["cluster_time"] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert record["wall_time"] == datetime(2024, 5, 1, 12, 0, 5, 123000, tzinfo=UTC)
    assert record["txn_number"] == -(2**63)


def test_C8_five_thousand_events_of_one_second_keep_order_and_increment():
    events = [event_document(number, clusterTime=Timestamp(1_700_000_000, number + 1)) for number in range(5000)]
    assert [record["cluster_time_increment"] for record in records_of(events)] == list(range(1, 5001))


def test_events_of_a_transaction_keep_their_ordinals_whatever_is_taken_out():
    events = [event_document(number, clusterTime=Timestamp(1_700_000_000, 1)) for number in range(1500)]
    batch = batch_of(events).without({0, 3})[1:]
    records: Any = fastavro.reader(io.BytesIO(AvroSerializer().serialize(batch)))
    assert [record["ordinal"] for record in records] == [2, *range(4, 1500)]


def test_C9_unknown_operations_and_fields_are_kept():
    (record,) = records_of([event_document(0, operationType="teleport", newer={"deep": 1})])
    assert record["operation"] == "teleport"
    assert json.loads(record["unknown_fields"]) == {"newer": {"deep": 1}}


@pytest.mark.parametrize("wrapper", [GzipSerializer, ZstdSerializer])
@pytest.mark.parametrize("codec", CODECS)
def test_Z12_compression_around_it_is_refused(wrapper, codec):
    with pytest.raises(ValueError, match=r"inner writes \.avro, which is already compressed"):
        wrapper(inner=AvroSerializer(codec=codec))


@pytest.mark.parametrize("mode", MODES)
def test_records_are_what_fastavro_writes(mode, recordings):
    """Another writer of the same records makes the same blocks."""
    events = [raw for path in sorted(recordings.glob("*.bson")) for raw in recorded_events(path)]
    content = AvroSerializer(mode=mode, codec="null").serialize(batch_of(events))
    ours = b"".join(block.bytes_.getvalue() for block in fastavro.block_reader(io.BytesIO(content)))
    schema, theirs = fastavro.parse_schema(event_schema(bson=mode == "bson")), io.BytesIO()
    for record in fastavro.reader(io.BytesIO(content)):
        fastavro.schemaless_writer(theirs, schema, record)
    assert theirs.getvalue() == ours


def test_a_large_batch_has_several_blocks_and_an_empty_one_has_none():
    events = [event_document(number, fullDocument={"text": "x" * 1000}) for number in range(2000)]
    content = AvroSerializer().serialize(batch_of(events))
    sizes = [block.num_records for block in fastavro.block_reader(io.BytesIO(content))]
    assert len(sizes) > 3
    assert sum(sizes) == 2000
    assert records_of([]) == []


def fingerprint_of(canonical: bytes) -> str:
    """CRC-64-AVRO as the specification's section "Schema Fingerprints" defines it, lowest byte first."""
    empty = 0xC15D213AA4D7A795
    value = empty
    for byte in canonical:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (empty & -(value & 1))
    return struct.pack("<Q", value).hex()


@pytest.mark.parametrize("mode", MODES)
def test_the_fingerprint_is_the_specifications_and_the_readmes(mode):
    assert fingerprint_of(b'"int"') == "8f5c393f1ad57572"  # the specification's own example
    documents = "bytes" if mode == "bson" else "string"
    types = dict.fromkeys([Kind.INTEGER, Kind.SECONDS, Kind.MILLISECONDS], "long") | {Kind.DOCUMENT: documents}
    fields = ",".join(
        f'{{"name":"{column.name}","type":["null","{types.get(column.kind, "string")}"]}}' for column in COLUMNS
    )
    expected = fingerprint_of(f'{{"name":"rigatoni.ChangeEvent","type":"record","fields":[{fields}]}}'.encode())
    reader = fastavro.reader(io.BytesIO(AvroSerializer(mode=mode).serialize(batch_of([]))))
    assert reader.metadata["rigatoni.schema.fingerprint"] == expected
    assert reader.metadata["rigatoni.documents"] == mode
    assert f"| `{expected}` |" in README


SAME = """
import hashlib, sys
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_testing.batches import batch_of, event_document
events = [event_document(number, operationType=f"operation {number % 7}") for number in range(100)]
for codec in ("null", "deflate", "snappy", "zstandard"):
    print(hashlib.sha256(AvroSerializer(codec=codec).serialize(batch_of(events))).hexdigest())
"""


def test_the_same_events_give_the_same_bytes_in_every_process():
    answers = [
        subprocess.run(
            [sys.executable, "-c", SAME],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert answers[0] == answers[1]
    assert len(set(answers[0].split())) == len(CODECS)
    ends = {AvroSerializer().serialize(batch_of([event_document(number)]))[-16:] for number in (100, 101)}
    assert len(ends) == 2  # a sync marker is that of its events


@pytest.mark.parametrize("mode", MODES)
def test_names_all_malformed_events_at_once(mode):
    events = [encode(event_document(number, fullDocument={"flag": True})) for number in range(100)]
    events[3] = events[3].replace(b"\x03fullDocument\0\x0c", b"\x03fullDocument\0\x00")
    events[9] = events[9].replace(b"\x03fullDocument\0\x0c", b"\x03fullDocument\0\x04")
    events[70] = events[70][:-1] + b"\1"
    with pytest.raises(RejectedEventsError) as caught:
        AvroSerializer(mode=mode).serialize(batch_of(events))
    assert caught.value.events.keys() == {3, 9, 70}
    kept = batch_of(events).without(caught.value.events)
    assert len(list(fastavro.reader(io.BytesIO(AvroSerializer(mode=mode).serialize(kept))))) == 97


@pytest.mark.parametrize(("options", "message"), [({"mode": "strict"}, "mode is"), ({"codec": "lzma"}, "codec is")])
def test_refuses_what_it_does_not_know(options, message):
    with pytest.raises(ValueError, match=message):
        AvroSerializer(**options)


def test_says_what_it_writes():
    serializer = AvroSerializer()
    assert isinstance(serializer, Serializer)
    assert (serializer.media_type, serializer.suffix) == ("application/avro", ".avro")
    assert (serializer.content_encoding, serializer.compressed) == (None, True)
    assert repr(serializer) == "AvroSerializer(mode='relaxed', codec='zstandard')"


def test_the_hook_yields_it():
    (component,) = rigatoni_serializers()
    assert component.name == "avro"
    assert component.load() is AvroSerializer


@pytest.mark.parametrize("codec", CODECS)
def test_threads_share_a_serializer(codec):
    batches = [batch_of([event_document(n, **{f"field {kind}": n}) for n in range(60)]) for kind in range(12)]
    serializer = AvroSerializer(codec=codec)
    expected = [AvroSerializer(codec=codec).serialize(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(serializer.serialize, batches * 3)) == expected * 3


@pytest.mark.parametrize("mode", MODES)
def test_a_part_of_a_batch(mode):
    """A batch cut out of a larger one shares its buffer and begins somewhere inside."""
    events = [event_document(number) for number in range(1000)]
    part = AvroSerializer(mode=mode).serialize(batch_of(events)[700:900])
    assert part == AvroSerializer(mode=mode).serialize(batch_of(events[700:900]))
