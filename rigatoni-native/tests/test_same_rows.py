"""Tables by the accelerator are those of the pure path, to the letter, damaged events included."""

from array import array
from itertools import accumulate

import pytest
from bson import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_avro.serializer import AvroSerializer
from rigatoni_bson.modes import MODES
from rigatoni_bson.testing.strategies import DAMAGED, DOCUMENTS, EVENTS
from rigatoni_core.batch import Chunk, EventBatch
from rigatoni_core.errors import RejectedEventsError
from rigatoni_core.testing.batches import START, STREAM, TestDecoder, batch_of, event_document, recorded_events
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_parquet.serializer import ParquetSerializer


def both(make, events, **options):
    """What is written, or what is wrong with which event, by either way."""
    answers = []
    for accelerated in (True, False):
        serializer = make(**options)
        assert serializer._accelerator is not None
        if not accelerated:
            serializer._accelerator = None
        try:
            answers.append(bytes(serializer.serialize(events)))
        except RejectedEventsError as error:
            answers.append({index: str(reason) for index, reason in error.events.items()})
    return answers


def unchecked(events):
    """A batch of whatever bytes: nothing is read from them."""
    offsets = array("Q", accumulate(map(len, events), initial=0))
    buffer = memoryview(b"".join(events))
    return EventBatch(STREAM, first=START, end=START, chunks=[Chunk(buffer, offsets)], decoder=TestDecoder())


OPTIONS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([*MODES]),
        "header": st.booleans(),
        "delimiter": st.sampled_from([",", "\t"]),
        "null": st.sampled_from(["", "\\N"]),
        "spreadsheet_safe": st.booleans(),
    }
)


@settings(deadline=None, max_examples=400)
@given(events=st.lists(EVENTS | DAMAGED | DOCUMENTS, max_size=6), options=OPTIONS)
def test_C6_every_event_gives_the_same_row(events, options):
    accelerated, pure = both(CsvSerializer, unchecked(events), **options)
    assert accelerated == pure


@pytest.mark.parametrize("mode", [*MODES])
def test_recorded_events_of_a_real_server_give_the_same_rows(mode, recordings):
    for path in sorted(recordings.glob("*.bson")):
        accelerated, pure = both(CsvSerializer, batch_of(recorded_events(path)), mode=mode)
        assert accelerated == pure


def test_a_part_of_a_batch_gives_its_rows():
    batch = batch_of([encode(event_document(number)) for number in range(9)])
    accelerated, pure = both(CsvSerializer, batch[3:7])
    assert accelerated == pure
    assert accelerated.count(b"\r\n") == 5


@settings(deadline=None, max_examples=300)
@given(events=st.lists(EVENTS | DAMAGED | DOCUMENTS, max_size=6), mode=st.sampled_from([*MODES, "bson"]))
def test_C6_every_event_gives_the_same_avro_record(events, mode):
    accelerated, pure = both(AvroSerializer, unchecked(events), mode=mode, codec="null")
    assert accelerated == pure


@pytest.mark.parametrize("mode", [*MODES, "bson"])
def test_recorded_events_of_a_real_server_give_the_same_avro_records(mode, recordings):
    for path in sorted(recordings.glob("*.bson")):
        accelerated, pure = both(AvroSerializer, batch_of(recorded_events(path)), mode=mode)
        assert accelerated == pure


@settings(deadline=None, max_examples=200)
@given(events=st.lists(EVENTS | DAMAGED | DOCUMENTS, max_size=6), mode=st.sampled_from([*MODES]))
def test_C6_every_event_gives_the_same_parquet_file(events, mode):
    accelerated, pure = both(ParquetSerializer, unchecked(events), mode=mode)
    assert accelerated == pure


@pytest.mark.parametrize("mode", [*MODES])
def test_recorded_events_of_a_real_server_give_the_same_parquet_file(mode, recordings):
    for path in sorted(recordings.glob("*.bson")):
        accelerated, pure = both(ParquetSerializer, batch_of(recorded_events(path)), mode=mode)
        assert accelerated == pure


@pytest.mark.parametrize("damaged", [[], [511], [512, 1100]])
def test_a_long_batch_with_events_left_to_the_pure_path_gives_the_same_parquet_file(damaged):
    """Of the odd events some open a chunk, some end one, and some stand one after the other."""
    events = [encode(event_document(number)) for number in range(1200)]
    for number in (0, 511, 512, 513, 700, 1199):
        events[number] = encode(event_document(number) | {"txnNumber": f"number {number}"})
    for number in damaged:
        events[number] = events[number][:-1] + b"\1"
    accelerated, pure = both(ParquetSerializer, unchecked(events))
    assert accelerated == pure
    assert isinstance(pure, dict) == bool(damaged)
