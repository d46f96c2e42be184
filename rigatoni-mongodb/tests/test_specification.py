"""The prose tests of the MongoDB change-streams specification (source/change-streams/tests/README.md), by number.

| number | here |
|---|---|
| 1, 2, 3, 4, 6, 7, 8, 11, 13, 17 | below |
| 19 | test_split_events.py |
| 5, 10, 15, 16 | removed from the specification |
| 9, 12 | about servers before 4.0.7, which PyMongo does not talk to; those that send no token are below all the same |
| 14 | an opening reply with events: `cursor: {batchSize: 0}` never asks for any |
| 18 | we go on with `startAfter` always: it takes every token that `resumeAfter` takes, and an invalidate's, too |
"""

# ruff: noqa: SIM117 (a server outside, the stream inside)
import bson
import pytest
from bson import encode
from rigatoni_core.api.bus import listening
from rigatoni_core.api.notices import Resumed
from rigatoni_mongodb.decoding import token_document
from rigatoni_mongodb.errors import MongoDBError, MongoDBUnavailableError
from rigatoni_mongodb.testing.wire import Fail, Rewrite, ScriptedServer, together
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
EVENTS = [encode(event_document(number)) for number in range(25)]
RESUMABLE = "ResumableChangeStreamError"
OLD = {"start_at": "2020-01-01T00:00:00Z"}


def tokens(position):
    return token_document(position.resume_token)


def opened(server):
    return [command for command in server.commands if "aggregate" in command]


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)


async def test_prose_1_11_13_the_last_token_is_always_known(open_source, read):
    """After a reply the position is its post-batch token; within it, the token of the last event processed."""
    async with ScriptedServer(events=EVENTS, reply_events=10) as server:
        async with open_source(NAME, uri=server.uri, **OLD) as source, read(source, NAME) as reading:
            for last in (9, 19, 24):
                batch = await reading.batch()
                assert tokens(batch.end) == event_document(last)["_id"]
                assert tokens(batch[:-3].end) == event_document(last - 3)["_id"]


async def test_prose_1_an_idle_reply_moves_the_token_too(open_source, read):
    mark = {"_data": "82FF"}
    move = Rewrite(lambda reply: _with_token(reply, mark))
    async with ScriptedServer(events=EVENTS[:3], script=[None, None, move]) as server:
        async with open_source(NAME, uri=server.uri, **OLD) as source, read(source, NAME) as reading:
            await reading.events(3)
            assert tokens((await reading.next()).end) == mark


def _with_token(reply, token):
    document = bson.decode(reply)
    document["cursor"]["postBatchResumeToken"] = token
    return encode(document)


async def test_prose_2_an_event_without_a_token_is_an_error(open_source, read):
    """It is requested again once, like a damaged reply; the server resends it."""
    bare = [encode({key: value for key, value in event_document(n).items() if key != "_id"}) for n in range(2)]
    server = ScriptedServer(events=bare, sends_tokens=False)
    async with server, open_source(NAME, uri=server.uri, **OLD) as source, read(source, NAME) as reading:
        with pytest.raises(MongoDBUnavailableError, match="resume token"):
            await reading.events(2)


@pytest.mark.parametrize("code", [6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 63, 150, 13388, 234, 133])
async def test_prose_3_a_resumable_error_is_resumed_once_with_the_same_pipeline_and_options(open_source, read, code):
    options = {"pipeline": [{"$match": {"operationType": "insert"}}], "full_document": "updateLookup", **OLD}
    script = [None, None, Fail(code, (RESUMABLE,))]
    heard = Heard()
    async with ScriptedServer(events=EVENTS, script=script, reply_events=10) as server:
        with listening([heard]):
            async with open_source(NAME, uri=server.uri, **options) as source, read(source, NAME) as reading:
                ids = [event.full_document["_id"] for event in await reading.events(25)]
    assert ids == list(range(25))
    assert [type(notice) for notice in heard.notices] == [Resumed]
    first, second = ([dict(stage) for stage in command["pipeline"]] for command in opened(server))
    assert second[0]["$changeStream"].pop("startAfter") == event_document(9)["_id"]
    first[0]["$changeStream"].pop("startAtOperationTime")
    assert first == second


@pytest.mark.parametrize("code", [8, 136, 237, 11601, 10107])
async def test_prose_3_without_the_label_nothing_is_resumed_except_a_lost_cursor(open_source, read, code):
    """Servers since 4.4 (wire version 9) mark resumable errors by the label alone."""
    async with ScriptedServer(events=EVENTS, script=[None, None, Fail(code)], reply_events=10) as server:
        async with open_source(NAME, uri=server.uri, **OLD) as source, read(source, NAME) as reading:
            with pytest.raises(MongoDBError):
                await reading.events(25)
    assert len(opened(server)) == 1


async def test_prose_4_an_error_of_the_aggregate_is_not_resumed(open_source, read):
    script = [Fail(10107, (RESUMABLE,)), Fail(10107, (RESUMABLE,))]
    async with ScriptedServer(events=EVENTS, script=script) as server:
        async with open_source(NAME, uri=f"{server.uri}&retryReads=false", **OLD) as source:
            with pytest.raises(MongoDBUnavailableError):
                async with read(source, NAME):
                    pass
    assert len(opened(server)) == 1


@pytest.mark.parametrize(
    ("options", "given", "wanted"),
    [
        ("readPreference=secondary", {}, {"mode": "secondary"}),
        ("readPreference=secondary&readPreferenceTags=dc:east", {}, {"mode": "secondary", "tags": [{"dc": "east"}]}),
        ("readPreference=secondary&maxStalenessSeconds=120", {}, {"mode": "secondary", "maxStalenessSeconds": 120}),
        ("readPreference=primary", {"read_preference": "secondary"}, {"mode": "secondary"}),
    ],
)
async def test_prose_6_members_are_chosen_again_by_the_same_read_preference(open_source, read, options, given, wanted):
    fail = [None, None, Fail(10107, (RESUMABLE,))]
    async with (
        ScriptedServer(events=EVENTS, reply_events=10) as primary,
        ScriptedServer(events=EVENTS, reply_events=10, role="secondary", script=fail, tags={"dc": "east"}) as secondary,
    ):
        uri = f"{together(primary, secondary)}&{options}"
        async with open_source(NAME, uri=uri, **given, **OLD) as source, read(source, NAME) as reading:
            assert len(await reading.events(25)) == 25
    assert opened(primary) == []
    assert [command["$readPreference"] for command in opened(secondary)] == [wanted, wanted]


async def test_prose_7_an_empty_first_reply_with_a_cursor_id_is_followed(open_source, read):
    async with ScriptedServer(events=EVENTS, reply_events=10) as server:
        async with open_source(NAME, uri=server.uri, **OLD) as source, read(source, NAME) as reading:
            assert len(await reading.events(25)) == 25
    assert [command for command in server.commands if "getMore" in command]


async def test_prose_8_a_cursor_that_can_not_be_killed_is_no_error(open_source, read):
    script = [None, None, Fail(10107, (RESUMABLE,))]
    failing = {"killCursors": Fail(59, message="no such command")}
    async with ScriptedServer(events=EVENTS, script=script, reply_events=10, fails=failing) as server:
        async with open_source(NAME, uri=server.uri, **OLD) as source, read(source, NAME) as reading:
            assert len(await reading.events(25)) == 25


async def test_prose_17_a_saved_position_without_news_is_resumed_with_start_after_alone(open_source, read):
    async with ScriptedServer(events=EVENTS, reply_events=10) as server:
        async with open_source(NAME, uri=server.uri, **OLD) as source, read(source, NAME) as reading:
            position = (await reading.next()).end
        server.commands.clear()
        server.script = [None, Fail(10107, (RESUMABLE,))]
        async with open_source(NAME, uri=server.uri) as source, read(source, NAME, position) as reading:
            assert len(await reading.events(15)) == 15
    stages = [command["pipeline"][0]["$changeStream"] for command in opened(server)]
    assert stages == [{"startAfter": event_document(9)["_id"]}] * 2


async def test_a_comment_goes_with_every_command(open_source, read):
    async with ScriptedServer(events=EVENTS, reply_events=10) as server:
        source = open_source(NAME, uri=server.uri, comment="the lake's", **OLD)
        async with source, read(source, NAME) as reading:
            await reading.events(25)
    assert {command["comment"] for command in server.commands} == {"the lake's"}


async def test_replies_may_be_compressed(open_source, read):
    async with ScriptedServer(events=EVENTS, reply_events=10, compresses=True) as server:
        uri = f"{server.uri}&compressors=zlib"
        async with open_source(NAME, uri=uri, **OLD) as source, read(source, NAME) as reading:
            ids = [event.full_document["_id"] for event in await reading.events(25)]
    assert ids == list(range(25))
    assert server.compressed >= 4
