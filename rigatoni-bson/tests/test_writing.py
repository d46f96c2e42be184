"""Many documents at once: each gets its text or its error, in its place."""

import json

import bson
import pytest
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.writing import CHUNK, JsonWriter


@pytest.mark.parametrize("accelerated", [True, False])
@pytest.mark.parametrize("mode", ["relaxed", "canonical", "plain"])
def test_each_document_has_its_text_in_its_place(mode, accelerated):
    documents = [bson.encode({"n": number, "text": f"text {number}"}) for number in range(2 * CHUNK + 3)]
    documents[7] = documents[7][:-3]
    documents[CHUNK] = b""
    texts = JsonWriter(mode, accelerated=accelerated).texts(documents)
    assert [index for index, text in enumerate(texts) if isinstance(text, MalformedEventError)] == [7, CHUNK]
    for number, text in enumerate(texts):
        if isinstance(text, bytes):
            assert json.loads(text)["text"] == f"text {number}"


def test_an_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="relaxed, canonical, plain"):
        JsonWriter("strict")
