"""The accelerator writes what the pure path writes, to the letter, for everything that BSON can hold and for damage."""

import struct
from array import array
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rigatoni_bson.elements import documents_of
from rigatoni_bson.modes import MODES
from rigatoni_bson.testing.reading import bson_document
from rigatoni_bson.testing.strategies import DAMAGED, DOCUMENTS
from rigatoni_bson.writing import JsonWriter
from rigatoni_core.api.segments import Segment
from rigatoni_native import documents_of as native_documents
from rigatoni_native import json_lines
from rigatoni_testing.batches import recorded_events

WRITERS = {mode: (JsonWriter(mode), JsonWriter(mode, accelerated=False)) for mode in MODES}


def both(mode, documents):
    """The lines and the errors' texts by either way."""
    offsets = array("Q", accumulate(map(len, documents), initial=0))
    buffer = memoryview(b"".join(documents))
    answers = [writer.lines(Segment(buffer, offsets)) for writer in WRITERS[mode]]
    return [(lines, {index: str(error) for index, error in errors.items()}) for lines, errors in answers]


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=150)
@given(documents=st.lists(DOCUMENTS, max_size=5))
def test_C6_every_document_gives_the_same_line(mode, documents):
    accelerated, pure = both(mode, documents)
    assert accelerated == pure
    assert accelerated[0].count(b"\n") == len(documents)


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=150)
@given(documents=st.lists(DAMAGED | DOCUMENTS, max_size=5))
@example(documents=[b"", b"\x05\0\0\0\0", b"\x05\0\0\0\1"])
def test_damage_is_named_by_the_same_words_and_harms_no_neighbour(mode, documents):
    accelerated, pure = both(mode, documents)
    assert accelerated == pure


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=100)
@given(documents=st.lists(DAMAGED | DOCUMENTS, max_size=5))
@example(documents=[])
def test_single_texts_are_the_same(mode, documents):
    """What tabular formats ask for: each document's text by itself."""
    accelerated, pure = ([str(text) for text in writer.texts(documents)] for writer in WRITERS[mode])
    assert accelerated == pure


@settings(deadline=None, max_examples=1000)
@given(
    text=st.binary(max_size=100).map(lambda some: bytes(b"abcdefgh"[byte % 8] for byte in some)),
    odd=st.sampled_from([b"", b'"', b"\\", b"\n", b"\x01", b"\x1f", b" ", b"\x7f", "é".encode(), b"\xff", b"$"]),
    place=st.integers(0, 100),
)
def test_every_text_is_the_same_wherever_in_it_something_is_to_escape(text, odd, place):
    """Texts are copied in pieces of 4 to 32 bytes, names in pieces of 8."""
    whole = text[:place] + odd + text[place:]
    value = struct.pack("<i", len(whole) + 1) + whole + b"\0"
    accelerated, pure = both("relaxed", [bson_document([(whole, 0x02, value)])])
    assert accelerated == pure


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=300)
@given(number=st.floats() | st.floats(width=32) | st.integers(-(10**19), 10**19).map(float))
def test_every_double_is_the_same(mode, number):
    accelerated, pure = both(mode, [bson_document([(b"d", 0x01, struct.pack("<d", number))])])
    assert accelerated == pure


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=300)
@given(
    significand=st.integers(0, 2**113 - 1) | st.integers(0, 10**6),
    exponent=st.integers(0, 12_287) | st.integers(6_160, 6_190),
    negative=st.booleans(),
)
def test_every_decimal_is_the_same(mode, significand, exponent, negative):
    bits = negative << 127 | exponent << 113 | significand
    accelerated, pure = both(mode, [bson_document([(b"d", 0x13, bits.to_bytes(16, "little"))])])
    assert accelerated == pure


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=300)
@given(milliseconds=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 253_402_300_800_000))
def test_every_date_is_the_same(mode, milliseconds):
    accelerated, pure = both(mode, [bson_document([(b"d", 0x09, struct.pack("<q", milliseconds))])])
    assert accelerated == pure


@pytest.mark.parametrize("mode", MODES)
def test_recorded_events_of_a_real_server_are_the_same_and_none_is_left_to_the_pure_path(mode, recordings):
    for path in sorted(recordings.glob("*.bson")):
        documents = recorded_events(path)
        accelerated, pure = both(mode, documents)
        assert accelerated == pure, path
    offsets = array("Q", accumulate(map(len, documents), initial=0))
    assert documents
    assert json_lines(b"".join(documents), offsets, mode)[1] == []


@settings(deadline=None, max_examples=300)
@given(documents=st.lists(DOCUMENTS, max_size=12), view=st.booleans())
def test_the_documents_of_an_array_are_the_same(documents, view):
    array_ = array_of(documents)
    data = memoryview(bytearray(b"before" + array_ + b"behind"))[6:-6] if view else memoryview(array_)
    found = native_documents(data)
    assert found is not None
    assert Segment(memoryview(found[0]), array("Q", found[1])).copies() == documents
    assert data == array_  # what others may hold is not written to


@settings(deadline=None, max_examples=500)
@given(
    documents=st.lists(DAMAGED | DOCUMENTS, max_size=4),
    place=st.integers(0, 400),
    byte=st.integers(0, 255),
    cut=st.integers(0, 30),
)
@example(documents=[], place=0, byte=0, cut=5)
@example(documents=[b"\x05\0\0\0\0"], place=4, byte=4, cut=0)
@example(documents=[b"\x05\0\0\0\0"], place=7, byte=255, cut=0)
def test_an_array_that_is_damaged_is_the_same_documents_or_left_to_the_caller(documents, place, byte, cut):
    damaged = bytearray(array_of(documents))
    if place < len(damaged):
        damaged[place] = byte
    damaged = damaged[: len(damaged) - cut]
    found = native_documents(memoryview(damaged))
    if found is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rigatoni_bson.elements._ACCELERATOR", None)
            pure = documents_of(memoryview(damaged))
        assert Segment(memoryview(found[0]), array("Q", found[1])).copies() == pure.copies()


def array_of(documents):
    return bson_document([(b"%d" % index, 0x03, raw) for index, raw in enumerate(documents)])


@pytest.mark.parametrize("depth", [249, 250, 251, 400])
def test_nesting_is_refused_at_the_same_depth(depth):
    raw = bson_document([])
    for _ in range(depth):
        raw = bson_document([(b"d", 0x03, raw)])
    accelerated, pure = both("relaxed", [raw])
    assert accelerated == pure


@pytest.mark.parametrize("offsets", [[0, 10_000], [5, 0], [0, 2**63], [3]])
def test_offsets_beyond_the_buffer_are_left_to_the_caller(offsets):
    text, left = json_lines(b"\x05\0\0\0\0", array("Q", offsets), "relaxed")
    assert text == b""
    assert left == [(0, 0)] * (len(offsets) - 1)


def test_an_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="strict"):
        json_lines(b"", array("Q", [0]), "strict")
