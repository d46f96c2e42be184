"""A server refuses a whole reply because of one event: earlier events are delivered, then the error names the event.

The errors are those that mongod 5.0.7 and 7.1 sent (tests/recordings). The server that refuses is scripted: SecantusDB
sends events of any size, and refuses to open the stream before an event without its image.
"""

from pathlib import Path

import pytest
from bson import decode, encode
from rigatoni_core.api.bus import listening
from rigatoni_core.api.notices import Resumed
from rigatoni_mongodb.errors import EventTooLargeError, ImageMissingError, MongoDBError
from rigatoni_mongodb.testing.wire import Drop, Fail, ScriptedServer
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
EVENTS = [encode(event_document(number)) for number in range(25)]
RECORDINGS = Path(__file__).parents[2] / "tests" / "recordings"
OLD = {"start_at": "2020-01-01T00:00:00Z"}


def recorded(name: str) -> Fail:
    """Return the error at the end of a recording."""
    content = (RECORDINGS / name).read_bytes()
    while True:
        size = int.from_bytes(content[:4], "little")
        if size == len(content):
            break
        content = content[size:]
    document = decode(content)
    error = document.get("error", document)
    return Fail(error["code"], message=error["errmsg"])


TOO_LARGE = recorded("mongod-7.1.0-alpha/too-large-without-stage.bson")
TOO_LARGE_5 = recorded("mongod-5.0.7/error-event-too-large.bson")
NO_IMAGE = recorded("mongod-7.1.0-alpha/images-required-missing.bson")
FAILING_STAGE = Fail(241, message="Failed to parse number 'x' in $convert with no onError value")


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)


async def collect(reading, ids):
    """Put the ids of all events into `ids`, until an error is raised."""
    while True:
        ids += [event.document_key["_id"] for event in await reading.next()]


async def read_to_the_error(open_source, read, server, **options):
    """Return the ids of the events delivered, and the error that ended the stream."""
    ids = []
    async with open_source(NAME, uri=server.uri, **OLD, **options) as source, read(source, NAME) as reading:
        with pytest.raises(MongoDBError) as caught:
            await collect(reading, ids)
    return ids, caught.value


@pytest.mark.parametrize("error", [TOO_LARGE, TOO_LARGE_5, NO_IMAGE, FAILING_STAGE], ids=lambda error: str(error.code))
@pytest.mark.parametrize(("index", "reply_events"), [(0, 10), (9, 10), (10, 10), (24, 1000)])
async def test_every_event_before_a_refused_one_is_delivered(open_source, read, error, index, reply_events):
    heard = Heard()
    with listening([heard]):
        async with ScriptedServer(events=EVENTS, poison={index: error}, reply_events=reply_events) as server:
            ids, _ = await read_to_the_error(open_source, read, server)
    assert ids == list(range(index))
    was_resumed = index % reply_events > 0  # else the refused event is the first one after resuming
    assert [type(notice) for notice in heard.notices] == [Resumed] * was_resumed


async def test_it_is_read_singly_only_up_to_the_end_of_the_refused_reply(open_source, read):
    """After a temporary error the stream resumes, and soon reads whole replies again."""
    script = [None, None, FAILING_STAGE]
    async with (
        ScriptedServer(events=EVENTS, script=script, reply_events=1000) as server,
        open_source(NAME, uri=server.uri, batch_size=5, **OLD) as source,
        read(source, NAME) as reading,
    ):
        events = await reading.events(25)
    sizes = [command["batchSize"] for command in server.commands if "getMore" in command]
    assert [event.full_document["_id"] for event in events] == list(range(25))
    assert sizes == [5, 5, *[1] * 5, *[5] * 3]


async def test_a_dropped_connection_meanwhile_changes_nothing(open_source, read):
    script = [None, None, None, None, None, Drop()]
    async with ScriptedServer(events=EVENTS, poison={13: TOO_LARGE}, script=script, reply_events=10) as server:
        ids, error = await read_to_the_error(open_source, read, server)
    assert ids == list(range(13))
    assert isinstance(error, EventTooLargeError)


@pytest.mark.parametrize(
    ("version", "splits"),
    [("8.0.4", True), ("6.0.9", True), ("", True), ("6.0.8", False), ("6.3.2", False), ("5.0.7", False)],
)
async def test_the_remedy_for_a_large_event_is_one_that_this_server_knows(open_source, read, version, splits):
    async with ScriptedServer(events=EVENTS, poison={1: TOO_LARGE}, version=version) as server:
        _, error = await read_to_the_error(open_source, read, server)
    assert isinstance(error, EventTooLargeError)
    assert not error.transient
    assert ("$changeStreamSplitLargeEvent" in error.remedy) is splits
    assert "$unset" in error.remedy
    assert (f"MongoDB {version} cannot split" in error.remedy) is not splits


async def test_a_missing_image_names_the_collection_that_lacks_it_on_a_database_stream_too(open_source, read):
    async with ScriptedServer(events=EVENTS, poison={1: NO_IMAGE}) as server:
        source = open_source("shop.*", uri=server.uri, full_document_before_change="required", **OLD)
        async with source, read(source, "shop.*") as reading:
            with pytest.raises(ImageMissingError, match=r"pre-image .* in nw\.noimg .*1796059862\.26") as caught:
                await reading.events(2)
    assert 'collMod: "noimg"' in caught.value.remedy
    assert "whenAvailable" in caught.value.remedy


@pytest.mark.parametrize("error", [TOO_LARGE, TOO_LARGE_5, NO_IMAGE], ids=lambda error: str(error.code))
async def test_neither_error_nor_notice_holds_a_resume_token(open_source, read, error):
    heard = Heard()
    with listening([heard]):
        async with ScriptedServer(events=EVENTS, poison={1: error}) as server:
            _, raised = await read_to_the_error(open_source, read, server)
    for text in (str(raised), raised.remedy, repr(raised), *map(str, heard.notices)):
        assert "826B0" not in text
        assert "_data" not in text


async def test_the_size_and_the_time_of_a_large_event_are_said(open_source, read):
    async with ScriptedServer(events=EVENTS, poison={1: TOO_LARGE}) as server:
        _, error = await read_to_the_error(open_source, read, server)
    assert "28,312,049 bytes" in str(error)
    assert "cluster time 1796059868.45" in str(error)
