"""Dead letters as records: what is damaged is refused."""

import pytest
from bson import decode
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_testing.batches import TestDecoder, batch_of, event_document

DECODER = TestDecoder()
LETTER = DeadLetter.of(batch_of([event_document(0)]), 0, ValueError("no"), plugin="acme", attempt=1, redact=str)


@pytest.mark.parametrize(
    "change",
    [
        {"event": 10**12},
        {"event": 10**30},
        {"event": [1, 2]},
        {"attempt": float("inf")},
        {"format": []},
        {"position": 1},
    ],
    ids=str,
)
def test_a_damaged_letter_is_a_value_error_and_takes_no_memory(change):
    document = decode(LETTER.document(DECODER))
    document["deadLetter"] |= change
    with pytest.raises(ValueError, match="not a dead letter"):
        DeadLetter.read(document)
