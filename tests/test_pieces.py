"""Where a batch is written piece by piece, nothing depends on where the pieces begin."""

from array import array
from itertools import accumulate

import bson
import pytest
from rigatoni_bson.writing import PIECE, pieces_of
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.segments import Segment
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_testing.batches import START, STREAM, TestDecoder, batch_of, event_document, in_chunks

SERIALIZERS = ("json", "csv", "avro", "parquet")


def serializer(name):
    return Catalog.discover().get("serializer", name)()


def events_of(sizes):
    return [bson.encode(event_document(number, fullDocument={"text": "x" * size})) for number, size in enumerate(sizes)]


def unchecked(raws, kind=bytes):
    """A batch of whatever bytes, in a buffer of this kind."""
    offsets = array("Q", accumulate(map(len, raws), initial=0))
    chunks = [Segment(memoryview(kind(b"".join(raws))), offsets)]
    return EventBatch(STREAM, first=START, end=START, segments=chunks, decoder=TestDecoder())


def test_pieces_are_all_events_in_order_none_much_larger_than_it_must_be():
    sizes = [10, PIECE, 3 * PIECE, 10, 10, PIECE // 2, PIECE // 2, PIECE // 2]
    whole = batch_of(events_of(sizes))
    for places in ([], [1, 4], [3]):
        batch = in_chunks(whole, places)
        pieces = list(pieces_of(batch))
        assert [raw for _, piece in pieces for raw in piece.copies()] == whole.whole.copies()
        assert [first for first, _ in pieces] == list(accumulate((len(piece) for _, piece in pieces[:-1]), initial=0))
        assert all(piece.nbytes <= PIECE or len(piece) == 1 for _, piece in pieces)
        assert len(pieces) <= 7 + len(places)


@pytest.mark.parametrize("name", SERIALIZERS)
@pytest.mark.parametrize("damaged", [{0}, {2, 7}, {4, 5, 6, 7, 8}])
def test_malformed_events_are_named_by_their_place_in_the_batch(name, damaged):
    raws = events_of([PIECE // 3] * 9)
    for index in damaged:
        raws[index] = raws[index][:-1] + b"\1"
    with pytest.raises(RejectedEventsError) as caught:
        serializer(name).serialize(in_chunks(unchecked(raws), [5]))
    assert set(caught.value.events) == damaged


@pytest.mark.parametrize("name", SERIALIZERS)
def test_it_does_not_matter_what_object_holds_the_bytes(name):
    raws = events_of([10, 2 * PIECE, 10])
    expected = serializer(name).serialize(unchecked(raws))
    for kind in (bytearray, lambda data: memoryview(b"before" + data + b"behind")[6:-6]):
        assert serializer(name).serialize(unchecked(raws, kind)) == expected


def test_a_csv_file_has_one_header():
    lines = bytes(serializer("csv").serialize(unchecked(events_of([PIECE // 2] * 5)))).splitlines()
    assert [line.startswith(b"resume_token,") for line in lines] == [True, *[False] * 5]
