"""Faults injected by the scripted server (a fake), with the real PyMongo client."""

import attrs
import pytest
from bson import decode, encode
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.bus import listening
from rigatoni_core.api.errors import PositionLostError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Invalidated, RepeatsPossible, Resumed
from rigatoni_mongodb.errors import (
    IllegalPipelineError,
    ImageMissingError,
    MongoDBError,
    MongoDBUnavailableError,
    PrivilegeError,
)
from rigatoni_mongodb.testing.wire import (
    Corrupt,
    Damage,
    Drip,
    Drop,
    Fail,
    Invalidate,
    Rewrite,
    ScriptedServer,
    together,
)
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
EVENTS = [encode(event_document(number)) for number in range(25)]


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)

    def kinds(self):
        return [type(notice) for notice in self.notices]


@pytest.fixture
def heard():
    heard = Heard()
    with listening([heard]):
        yield heard


async def read_all(open_source, server, *, read, count=25, after=None, **options):
    """Return the `fullDocument._id`s of the events, from the start of the scripted stream."""
    start = {} if after else {"start_at": "2020-01-01T00:00:00Z"}
    async with open_source(NAME, uri=server.uri, **start, **options) as source, read(source, NAME, after) as reading:
        ids = [event.full_document["_id"] for event in await reading.events(count)]
        return ids, reading.position


def impossible_sizes(reply):
    """Damage sizes: the cursor's is too large, its array's too small."""
    cursor, array = reply.index(b"cursor\0") + 7, reply.index(b"nextBatch\0") + 10
    return reply[:cursor] + b"\xff\xff\xff\x7f" + reply[cursor + 4 : array] + bytes(4) + reply[array + 4 :]


@pytest.mark.parametrize(
    "fault",
    [
        Drop(),
        Drop(sent=100),
        Corrupt(),
        Damage(b"nextBatch\0", b"oextBatch\0"),
        Damage(b"\x04nextBatch\0", b"\x03nextBatch\0"),
        Damage(b"cursor\0", b"bursor\0"),
        Damage(b"\x03_id\0", b"\x03_xd\0"),  # the first event's resume token
        Rewrite(impossible_sizes),
        Fail(43),
        Fail(10107, ("ResumableChangeStreamError",)),
        Fail(91, ("ResumableChangeStreamError",)),
    ],
    ids=lambda fault: "impossible sizes" if isinstance(fault, Rewrite) else str(fault),
)
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_A13_a_resumable_fault_is_resumed_once_without_loss(open_source, read, heard, fault, at):
    script = [None] * at + [fault]
    async with ScriptedServer(events=EVENTS, script=script, reply_events=10) as server:
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))
    assert heard.kinds().count(Resumed) == 1
    reopened = [command for command in server.commands if "aggregate" in command][1]
    assert {"startAfter", "startAtOperationTime"} & set(reopened["pipeline"][0]["$changeStream"])


async def test_A13_a_last_event_without_a_resume_token_is_read_again(open_source, read, heard):
    token = encode({"_id": event_document(9)["_id"]})[4:-1]
    damage = Damage(token, token.replace(b"_id", b"_xd"))
    async with ScriptedServer(events=EVENTS, script=[None, damage], reply_events=10) as server:
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))
    assert heard.kinds() == [Resumed]


@pytest.mark.parametrize(
    "fault",
    [
        Corrupt(),
        Damage(b"firstBatch\0", b"girstBatch\0"),
        Damage(b"\x03cursor\0", b"\x02cursor\0"),
        Damage(b"cursor\0", b"bursor\0"),
        Damage(b"\x02ns\0", b"\x08ns\0"),
        Damage(b"\x03postBatchResumeToken\0", b"\x02postBatchResumeToken\0"),
        Damage(b"\x11operationTime\0", b"\x12operationTime\0"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function AsyncCommandCursor.__del__")  # PyMongo before 4.17
async def test_F6_a_damaged_opening_reply_is_one_that_did_not_arrive(open_source, read, fault):
    async with ScriptedServer(events=EVENTS, script=[fault], reply_events=10) as server:
        with pytest.raises(MongoDBUnavailableError):
            await read_all(open_source, server, read=read)
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))


async def test_F6_a_cursor_whose_namespace_was_damaged_is_opened_again(open_source, read, heard):
    """PyMongo can neither read nor close such a cursor."""
    damage = Damage(b"shop.orders\0", b"shop\0orders\0")
    async with ScriptedServer(events=EVENTS, script=[damage], reply_events=10) as server:
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))
    assert heard.kinds() == [Resumed]


@pytest.mark.parametrize("code", [10107, 8, 136])
async def test_A14_an_error_without_label_is_raised_at_once(open_source, read, heard, code):
    async with ScriptedServer(events=EVENTS, script=[None, None, Fail(code)], reply_events=10) as server:
        with pytest.raises(MongoDBError):
            await read_all(open_source, server, read=read)
    assert heard.kinds() == []
    assert len([command for command in server.commands if "aggregate" in command]) == 1


async def test_A14_a_fault_that_repeats_without_progress_is_no_endless_loop(open_source, read, heard):
    script = [None, None, *[Drop()] * 50]
    async with ScriptedServer(events=EVENTS, script=script, reply_events=10) as server:
        with pytest.raises(MongoDBUnavailableError):
            await read_all(open_source, server, read=read)
    assert heard.kinds() == [], "it is resumed with the first reply, not when the connection is lost"


async def test_a_resumed_stream_says_how_long_nothing_was_read(open_source, read, heard):
    script = [None, None, Drop(), Drip(size=500, pause=0.05)]
    async with ScriptedServer(events=EVENTS, script=script, reply_events=10) as server:
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))
    (resumed,) = heard.notices
    assert resumed.seconds > 0.1  # the reply arrives in several pieces


@pytest.mark.parametrize("code", [286, 280, 260, 50811])
@pytest.mark.parametrize("at", [0, 1, 2], ids=["opening", "first-reply", "mid-stream"])
async def test_F1_a_lost_position_is_said_with_its_options(open_source, read, code, at):
    async with ScriptedServer(events=EVENTS, reply_events=10) as server:
        _, position = await read_all(open_source, server, read=read, count=10)
        server.script = [None] * at + [Fail(code, ("NonResumableChangeStreamError",))]
        with pytest.raises(PositionLostError) as caught:
            await read_all(open_source, server, read=read, count=15, after=position)
    assert str(code) in str(caught.value)
    assert "restart_from_now" in caught.value.remedy
    assert not caught.value.transient


async def test_F6_a_network_fault_while_opening_is_no_lost_position(open_source, read):
    async with ScriptedServer(events=EVENTS, reply_events=10) as server:
        _, position = await read_all(open_source, server, read=read, count=10)
        server.script = [Drop()] * 9
        with pytest.raises(MongoDBUnavailableError):
            await read_all(open_source, server, read=read, after=position)


async def test_a_server_that_does_not_know_start_after_is_asked_with_resume_after(open_source, read):
    async with ScriptedServer(events=EVENTS, reply_events=10, refused=("startAfter",)) as server:
        _, position = await read_all(open_source, server, read=read, count=10)
        ids, _ = await read_all(open_source, server, read=read, count=15, after=position)
    assert ids == list(range(10, 25))
    assert "resumeAfter" in server.commands[-3]["pipeline"][0]["$changeStream"] or any(
        "resumeAfter" in command["pipeline"][0]["$changeStream"] for command in server.commands if "pipeline" in command
    )


async def test_a_server_without_post_batch_resume_tokens_is_read_without_loss(open_source, read, heard):
    async with ScriptedServer(
        events=EVENTS, reply_events=10, sends_tokens=False, script=[None, None, Drop(), None, None, Drop()]
    ) as server:
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))
    assert heard.kinds() == [Resumed, Resumed]


async def test_Z16_a_cursor_that_ends_is_reported_and_the_stream_goes_on(open_source, read, heard):
    async with ScriptedServer(events=EVENTS, reply_events=10, script=[None, Invalidate()]) as server:
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))
    assert heard.kinds() == [Invalidated]


async def test_Z16_a_cursor_that_the_opening_reply_ends_is_not_one_that_has_caught_up(open_source, read, heard):
    ended = Damage(b"\x12id\0" + (1).to_bytes(8, "little"), b"\x12id\0" + bytes(8))
    count, caught_up = 0, False
    async with (
        ScriptedServer(events=EVENTS, script=[ended], reply_events=10) as server,
        open_source(NAME, uri=server.uri, start_at="2020-01-01T00:00:00Z") as source,
        read(source, NAME) as reading,
    ):
        while not caught_up:
            item = await reading.next()
            if isinstance(item, EventBatch):
                count += len(item)
            else:
                caught_up = item.caught_up
    assert count == 25
    assert heard.kinds() == [Invalidated]


async def test_C4_a_required_image_names_the_collection_and_the_command(open_source, read):
    async with ScriptedServer(events=EVENTS, poison={0: Fail(47, message="no post-image")}) as server:
        with pytest.raises(ImageMissingError) as caught:
            await read_all(open_source, server, read=read, full_document="required")
    assert 'collMod: "orders"' in caught.value.remedy


async def test_C4_a_required_image_of_a_database_stream_is_said_for_each_collection(open_source, read):
    async with ScriptedServer(events=EVENTS, poison={0: Fail(47, message="no post-image")}) as server:
        source = open_source("shop.*", uri=server.uri, full_document="required", start_at="2020-01-01T00:00:00Z")
        with pytest.raises(ImageMissingError) as caught:
            async with source, read(source, "shop.*") as reading:
                await reading.events(1)
    assert "each watched collection" in caught.value.remedy


async def test_A9_a_missing_privilege_is_named_with_the_resource(open_source, read):
    async with ScriptedServer(events=EVENTS, script=[Fail(13, message="not authorized")]) as server:
        with pytest.raises(PrivilegeError) as caught:
            await read_all(open_source, server, read=read)
    assert "changeStream" in caught.value.remedy
    assert 'db: "shop"' in caught.value.remedy


async def test_J5_a_changed_definition_whose_time_has_rolled_out_goes_on_by_its_token(open_source, read, heard):
    async with ScriptedServer(events=EVENTS, reply_events=10) as server:
        _, position = await read_all(open_source, server, read=read, count=10)
        for script in ([Fail(286)], [None, Fail(286)]):
            server.script = script
            old = attrs.evolve(position, fingerprint="another")
            ids, end = await read_all(open_source, server, read=read, count=15, after=old)
            assert ids == list(range(10, 25))
            assert end.fingerprint == position.fingerprint


async def test_J5_the_saved_event_is_hidden_inside_its_cluster_time_so_repeats_are_said(open_source, read, heard):
    time = event_document(0)["clusterTime"]
    events = [encode(event_document(n, clusterTime=time)) for n in range(5)] + EVENTS[5:]
    async with ScriptedServer(events=events, reply_events=3) as server:
        _, position = await read_all(open_source, server, read=read, count=3)
        assert position.ordinal == 3
        ids, _ = await read_all(
            open_source, server, read=read, count=22, after=attrs.evolve(position, fingerprint="another")
        )
        assert ids == list(range(3, 25))
        server.events = events[:2] + events[3:]
        ids, _ = await read_all(
            open_source, server, read=read, count=24, after=attrs.evolve(position, fingerprint="another")
        )
        assert ids == [0, 1, *range(3, 25)]
    assert heard.kinds() == [RepeatsPossible]


def test_the_stream_name_in_errors(open_source):
    source = open_source(NAME, uri="mongodb://user:sentinel@host:1/")
    error = source._translate(__import__("pymongo").errors.AutoReconnect("gone"), str(Stream("p", NAME)))
    assert "p/shop.orders" in str(error)
    assert "host:1" in str(error)
    assert "sentinel" not in str(error)


async def test_A13_a_reply_that_drips_is_waited_for(open_source, read, heard):
    async with ScriptedServer(events=EVENTS, script=[None, Drip(size=200, pause=0.005)], reply_events=25) as server:
        ids, _ = await read_all(open_source, server, read=read)
    assert ids == list(range(25))
    assert heard.kinds() == []


async def test_events_of_nearly_16_mb_pass_one_by_one(open_source, read):
    large = [encode(event_document(n) | {"fullDocument": {"_id": n, "text": "x" * 15_900_000}}) for n in range(3)]
    async with ScriptedServer(events=large, reply_events=1) as server:
        ids, _ = await read_all(open_source, server, read=read, count=3)
    assert ids == [0, 1, 2]


async def test_a_cursor_stays_with_the_mongos_that_opened_it(open_source, read):
    async with (
        ScriptedServer(events=EVENTS, reply_events=5, role="mongos") as one,
        ScriptedServer(events=EVENTS, reply_events=5, role="mongos") as other,
    ):
        uri = together(one, other)
        async with open_source(NAME, uri=uri, start_at="2020-01-01T00:00:00Z") as source:
            for _ in range(8):
                async with read(source, NAME) as reading:
                    assert [event.full_document["_id"] for event in await reading.events(25)] == list(range(25))
        opened = [sum("aggregate" in command for command in server.commands) for server in (one, other)]
        followed = [sum("getMore" in command for command in server.commands) for server in (one, other)]
    assert sum(opened) == 8
    assert followed == [5 * number for number in opened]


async def test_A13_a_failover_goes_on_at_the_other_member(open_source, read, heard):
    step_down = Fail(10107, ("ResumableChangeStreamError",))
    async with (
        ScriptedServer(events=EVENTS, reply_events=10) as old,
        ScriptedServer(events=EVENTS, reply_events=10, role="secondary") as new,
    ):
        uri = together(old, new)
        async with open_source(NAME, uri=uri, start_at="2020-01-01T00:00:00Z") as source, read(source, NAME) as reading:
            first = await reading.events(10)
            old.role, new.role = "secondary", "primary"
            old.script = [step_down]
            events = first + await reading.events(15)
    assert [event.full_document["_id"] for event in events] == list(range(25))
    assert heard.kinds() == [Resumed]
    (reopened,) = [command for command in new.commands if "aggregate" in command]
    assert reopened["pipeline"][0]["$changeStream"]["startAfter"] == decode(EVENTS[9])["_id"]


async def test_an_option_that_the_server_does_not_know_is_said(open_source, read):
    async with ScriptedServer(events=EVENTS, refused=("fullDocumentBeforeChange",)) as server:
        with pytest.raises(IllegalPipelineError, match="fullDocumentBeforeChange"):
            await read_all(open_source, server, read=read, full_document_before_change="whenAvailable")
