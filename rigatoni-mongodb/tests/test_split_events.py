"""Events of more than 16 MB, which the server splits on request, are delivered whole (specification, prose test 19)."""

# ruff: noqa: SIM117 (a server outside, the stream inside)
import asyncio

import bson
import pytest
from bson import encode
from rigatoni_bson.elements import chunk_of
from rigatoni_mongodb.errors import MongoDBUnavailableError
from rigatoni_mongodb.split_events import STAGE, Joiner
from rigatoni_mongodb.testing.wire import Drop, ScriptedServer
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
OPTIONS = {"start_at": "2020-01-01T00:00:00Z", "pipeline": [{STAGE: {}}]}


def fragment(number, place, of, **fields):
    token = {"_data": f"82{number:012X}{place:02X}"}
    return encode({"_id": token, "splitEvent": {"fragment": place, "of": of}, **fields})


def split(number):
    """Split an event into three fragments, as the server does."""
    rest = {key: value for key, value in event_document(number).items() if key not in ("_id", "fullDocument")}
    document = {"_id": number, "text": "z" * 50}
    return [
        fragment(number, 1, 3, **rest),
        fragment(number, 2, 3, fullDocumentBeforeChange={"_id": number, "text": "q" * 50}),
        fragment(number, 3, 3, fullDocument=document),
    ]


EVENTS = [encode(event_document(0)), *split(1), *split(2), encode(event_document(3))]


@pytest.mark.parametrize("reply_events", [1, 2, 3, 100])
async def test_fragments_become_one_event_whose_token_is_the_last_ones(open_source, read, reply_events):
    async with ScriptedServer(events=EVENTS, reply_events=reply_events) as server:
        async with open_source(NAME, uri=server.uri, **OPTIONS) as source, read(source, NAME) as reading:
            events = await reading.events(4)
            assert [event.document_key["_id"] for event in events] == [0, 1, 2, 3]
            assert events[1].full_document == {"_id": 1, "text": "z" * 50}
            assert events[1].full_document_before_change == {"_id": 1, "text": "q" * 50}
            assert events[1].unknown == {}
            assert '"8200000000000103"' in events[1].resume_token


async def test_a_break_between_fragments_goes_on_before_the_event(open_source, read):
    script = [None, None, Drop()]  # after event 0 and the first fragment of event 1
    async with ScriptedServer(events=EVENTS, reply_events=2, script=script) as server:
        async with open_source(NAME, uri=server.uri, **OPTIONS) as source, read(source, NAME) as reading:
            events = await reading.events(4)
        again = [command for command in server.commands if "aggregate" in command][1]
    assert [event.document_key["_id"] for event in events] == [0, 1, 2, 3]
    assert again["pipeline"][0]["$changeStream"]["startAfter"] == event_document(0)["_id"]


async def test_nothing_moves_past_an_event_that_is_not_whole(open_source, read):
    async with ScriptedServer(events=EVENTS[:3], reply_events=1) as server:
        async with open_source(NAME, uri=server.uri, **OPTIONS) as source, read(source, NAME) as reading:
            await reading.events(1)
            end = reading.position
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reading.next(), 1)
    assert reading.position == end


async def test_a_fragment_out_of_its_place_is_a_damaged_reply(open_source, read):
    async with ScriptedServer(events=[EVENTS[0], EVENTS[2]]) as server:
        async with open_source(NAME, uri=server.uri, **OPTIONS) as source, read(source, NAME) as reading:
            with pytest.raises(MongoDBUnavailableError, match="fragment 2 of 3"):
                await reading.events(2)


@pytest.mark.parametrize("place", [{}, {"fragment": "x", "of": 2}, {"fragment": 1}])
def test_a_place_that_is_none_is_a_value_error(place):
    with pytest.raises(ValueError):
        Joiner().joined(chunk_of(encode({"_id": {}, "splitEvent": place})))


async def test_a_real_server_splits_and_the_event_comes_whole(open_source, read, database, client):
    large = "q" * (10 * 2**20)
    database.create_collection("large", changeStreamPreAndPostImages={"enabled": True})
    name = f"{database.name}.large"
    source = open_source(name, pipeline=[{STAGE: {}}], full_document_before_change="required")
    async with source, read(source, name) as reading:
        database.large.insert_one({"_id": 1, "value": large})
        database.large.update_one({}, {"$set": {"value": large.replace("q", "z")}})
        insert, update = await reading.events(2)
    assert insert.full_document["value"] == large
    assert update.full_document_before_change["value"] == large
    assert update.update_description.updated_fields["value"] == large.replace("q", "z")
    assert len(bson.encode(dict(update.update_description.updated_fields))) > 10 * 2**20
