"""What independent readers find in the files equals the events (H1): Apache's avro package, Polars, fastavro."""

import io
from datetime import UTC, datetime, timedelta

import fastavro
import polars
import pytest
from avro.datafile import DataFileReader
from avro.io import DatumReader
from bson import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_bson.columns import COLUMNS, Kind
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.modes import Canonical
from rigatoni_bson.testing.rows import elements_of_event, elements_of_row
from rigatoni_bson.testing.strategies import EVENTS
from rigatoni_testing.batches import batch_of, event_document, recorded_events

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, *LAST = (encode(event_document(number)) for number in range(3))
"""Around odd events: the kit's decoder looks at the first event and at the last two."""
WALKER = Walker(Canonical())


def read_by_apache(content):
    with DataFileReader(io.BytesIO(content), DatumReader()) as reader:
        return list(reader)


def read_by_fastavro(content):
    return list(fastavro.reader(io.BytesIO(content)))


def read_by_polars(content):
    return polars.read_avro(io.BytesIO(content)).rows(named=True)


READERS = {"apache": read_by_apache, "fastavro": read_by_fastavro, "polars": read_by_polars}
CODECS = {name: ["null", "deflate", "snappy", "zstandard"] for name in READERS}
CODECS["polars"].remove("zstandard")  # it does not know it, as the README says


def event_of(record):
    """The elements of the event that a record stands for; documents may be canonical JSON or BSON."""
    row = {}
    for column in COLUMNS:
        value = record[column.name]
        if isinstance(value, datetime):
            milliseconds = (value - EPOCH) // timedelta(milliseconds=1)
            value = milliseconds if column.kind is Kind.MILLISECONDS else milliseconds // 1000
        elif isinstance(value, bytes):
            value = WALKER.line(value) if value else b"null"
        row[column.name] = value
    return elements_of_row(row)


@pytest.mark.parametrize("mode", ["canonical", "bson"])
@pytest.mark.parametrize(("reader", "codec"), [(name, codec) for name in READERS for codec in CODECS[name]])
def test_H1_every_recorded_event_is_read_back(reader, codec, mode, recordings):
    events = [raw for path in sorted(recordings.glob("*.bson")) for raw in recorded_events(path)]
    assert len(events) > 3000
    content = AvroSerializer(mode=mode, codec=codec).serialize(batch_of(events))
    assert list(map(event_of, READERS[reader](content))) == list(map(elements_of_event, events))


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=40)
@given(odd=st.lists(EVENTS, max_size=5), mode=st.sampled_from(["canonical", "bson"]), data=st.data())
def test_C6_Z11_whatever_bson_holds_is_read_back(reader, odd, mode, data):
    events = [FIRST, *odd, *LAST]
    codec = data.draw(st.sampled_from(CODECS[reader]))
    content = AvroSerializer(mode=mode, codec=codec).serialize(batch_of(events))
    assert list(map(event_of, READERS[reader](content))) == list(map(elements_of_event, events))


def test_polars_says_that_it_does_not_know_zstandard():
    """The README says so: when this fails, correct it there and in docs/formats.md."""
    with pytest.raises(polars.exceptions.ComputeError, match="zstandard"):
        read_by_polars(AvroSerializer().serialize(batch_of([event_document(0)])))
