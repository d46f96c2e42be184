"""What the serializer wrote is read back: dead letters above all, in every mode."""

import pytest
from rigatoni_core.api.dead_letters import DeadLetter, read_replay_mark
from rigatoni_core.api.errors import UnreadableError
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import TestDecoder, batch_of, event_document

MODES = ["relaxed", "canonical", "plain"]
DECODER = TestDecoder()


def letter_of(document):
    batch = batch_of([event_document(0), document])
    reason = ValueError('"quoted"\nand \N{SNOWMAN} \0')
    return DeadLetter.of(batch, 1, reason, plugin="acme", attempt=3, redact=str)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("document", [event_document(1), event_document(1, _id={"_data": "82", "_typeBits": b"\1"})])
def test_a_dead_letter_comes_back_as_it_was(mode, document):
    letter = letter_of(document)
    serializer = JsonSerializer(mode=mode)
    content = serializer.serialize(batch_of([letter.document(DECODER), letter.replay_mark(DECODER)]))
    kept, mark = serializer.deserialize(content)
    assert DeadLetter.read(kept) == letter
    assert read_replay_mark(mark) == letter.key
    for other, read in ((mark, DeadLetter.read), (kept, read_replay_mark)):
        with pytest.raises(ValueError, match="not a"):
            read(other)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"a":{"$date":"never"}}', b"\xff"])
def test_what_is_no_document_is_named_by_its_line(content):
    good = JsonSerializer().serialize(batch_of([event_document(0)]))
    documents = JsonSerializer().deserialize(good + content)
    assert next(iter(documents))["documentKey"] == {"_id": 0}
    with pytest.raises(UnreadableError, match="line 2"):
        list(documents)


def test_nothing_is_no_documents():
    assert list(JsonSerializer().deserialize(b"")) == []


def test_plain_json_is_read_as_it_is_whatever_the_names_of_its_fields():
    document = {"_id": 1, "a": {"$oid": "abc"}, "b": {"$date": 5}}
    serializer = JsonSerializer(mode="plain")
    content = bytes(serializer.serialize(batch_of([event_document(0, fullDocument=document)])))
    (read,) = serializer.deserialize(content)
    assert read["fullDocument"] == document
