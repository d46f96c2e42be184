"""Walking raw BSON: what is found equals what PyMongo finds, and damage is an error."""

import bson
import pytest
from bson import Regex
from hypothesis import example, given
from hypothesis import strategies as st
from rigatoni_bson.elements import chunk_of, documents_of, elements
from rigatoni_bson.testing.strategies import DAMAGED, DOCUMENTS


def test_an_array_becomes_consecutive_documents_with_and_without_the_c_extension(monkeypatch):
    documents = [bson.encode({"n": n}) for n in range(1234)]
    array = bson.encode({str(n): bson.decode(raw) for n, raw in enumerate(documents)})
    expected = b"".join(documents)
    for without in ((), ("rigatoni_bson.elements._ACCELERATOR",), ("bson._cbson",)):
        for name in without:
            monkeypatch.setattr(name, None)
        found = documents_of(memoryview(array))
        assert found.documents == expected
        assert found.copies() == documents


@pytest.mark.parametrize("size", range(5, 60, 3))
def test_truncated_bytes_are_an_error_that_says_so(size):
    raw = bson.encode({"_id": {"_data": "8263"}, "text": "some text", "n": 1, "d": {"e": [1, 2]}})[:size]
    with pytest.raises(ValueError):
        list(elements(raw))


@given(raw=DOCUMENTS | DAMAGED, key=st.text("ab", max_size=200), cut=st.integers(0, 300))
@example(raw=bson.encode({"r": Regex("a" * 100, "i")}), key="k" * 63, cut=300)
@example(raw=bson.encode({"r": Regex("a", "i")}), key="k" * 64, cut=300)
def test_a_view_is_walked_like_bytes(raw, key, cut):
    data = (b"\x00\x01\x00\x00\x08" + key.encode() + b"\0\1" + raw[4:])[:cut]
    found = []
    for document in (data, memoryview(data)):
        places = []
        try:
            places += elements(document)
        except ValueError:
            places.append("not BSON")
        found.append(places)
    assert found[0] == found[1]


@pytest.mark.parametrize("size", [-5, -12, -(2**31)])
def test_a_negative_size_is_an_error_and_never_goes_round_in_a_circle(size):
    raw = bytearray(bson.encode({"before": 1, "text": "some text"}))
    place = raw.index(b"text\0") + 5
    raw[place : place + 4] = size.to_bytes(4, "little", signed=True)
    with pytest.raises(ValueError, match="negative size"):
        list(elements(bytes(raw)))


@pytest.mark.parametrize("size", [0, 4, -1, -13, 2**31 - 1])
def test_a_document_of_an_impossible_size_is_an_error_and_never_goes_round_in_a_circle(size):
    documents = bytearray(bson.encode({"n": 1}) * 2)
    documents[12:16] = size.to_bytes(4, "little", signed=True)
    with pytest.raises(ValueError, match=r"size|ends"):
        chunk_of(bytes(documents))


def test_documents_that_are_cut_off_are_an_error():
    with pytest.raises(ValueError, match="not BSON"):
        chunk_of(bson.encode({"n": 1}) + b"\x05\x00")
