"""Reading a bucket back: dead letters written in any order by any number of owners appear once and in order."""

import attrs
import bson
import pytest
from rigatoni_core.api.contracts import Deserializer, Serializer
from rigatoni_core.api.dead_letters import DeadLetter, kept_letters
from rigatoni_core.api.errors import UnreadableError
from rigatoni_core.api.events import Stream
from rigatoni_core.engine.single_event_writer import SingleEventWriter
from rigatoni_testing.batches import TestDecoder, batch_of

DECODER = TestDecoder()
STREAMS = [Stream("lake", "shop.*"), Stream("lake", "shop.users")]


@attrs.define(kw_only=True)
class Raw(Serializer, Deserializer):
    """Split the raw documents."""

    accepts = frozenset({"*"})
    media_type = "application/bson"
    suffix = ".bson"

    def serialize(self, events):
        return bytes(events.documents)

    def deserialize(self, content):
        return bson.decode_all(content)


def letters_of(stream, event):
    batch = batch_of((event(number, collection="ab"[number % 2]) for number in range(6)), stream=stream)
    reason = ValueError("no")
    return [DeadLetter.of(batch, n, reason, plugin="acme", attempt=1, redact=str) for n in range(len(batch))]


async def keep(destination, letters):
    for letter in letters:
        await writer(destination, letter, "dead-letters").write(letter.position, letter.document(DECODER), DECODER)


def writer(destination, letter, side):
    return SingleEventWriter(letter.stream.beside(side), destination)


@pytest.mark.parametrize("partition_by", [(), ("namespace", "hour")])
async def test_D5_letters_come_back_once_in_order_and_are_marked(place, destination, event, partition_by):
    whole = [letter for stream in STREAMS for letter in letters_of(stream, event)]
    async with (
        destination(serializer=Raw(), partition_by=partition_by) as kept,
        destination(serializer=Raw(), partition_by=partition_by) as another,
        destination(prefix="lake/") as lake,
    ):
        await keep(kept, whole[::-1])
        await keep(another, whole[3:])
        assert [each async for each in kept_letters(another, "lake")] == [(letter, False) for letter in whole]
        assert [each async for each in kept_letters(kept, "lak")] == []
        for _ in range(2):
            for letter in whole[4:8]:
                await writer(lake, letter, "replayed").write(letter.position, letter.event, DECODER)
                await writer(kept, letter, "replay-marks").write(letter.position, letter.replay_mark(DECODER), DECODER)
        done = [letter async for letter, replayed in kept_letters(kept, "lake") if replayed]
        assert done == whole[4:8]
    replayed = [token for tokens in place.written("lake/").values() for token in tokens]
    assert sorted(replayed) == sorted(letter.position.resume_token for letter in whole[4:8])


async def test_what_another_serializer_wrote_is_named_after_the_rest(place, destination, event):
    whole = letters_of(STREAMS[1], event)
    async with destination(serializer=Raw()) as kept, destination() as other:
        await keep(kept, whole[:3])
        stem = next(key for key in place if key.endswith(".bson") and "_rigatoni/" not in key)
        place.put(f"{stem.removesuffix('.bson')}.txt", b"what an earlier serializer wrote")
        found = kept_letters(kept, "lake")
        assert [(await anext(found))[0] for _ in range(3)] == whole[:3]
        with pytest.raises(UnreadableError, match="1 files or objects"):
            await anext(found)
        with pytest.raises(UnreadableError, match="cannot read"):
            await anext(kept_letters(other, "lake"))
