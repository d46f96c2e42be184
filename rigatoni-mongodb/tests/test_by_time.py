"""Resuming by time if the server refuses the saved token, on a scripted server and a real one."""

import asyncio
import itertools
from datetime import UTC, datetime

import attrs
import pytest
from bson import encode
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.errors import PositionLostError, TokenRefusedError
from rigatoni_core.api.events import Gap, ResumeToken, Stream
from rigatoni_core.api.notices import GapRecorded, PositionTakenByTime
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_mongodb.by_time import after_event
from rigatoni_mongodb.testing.wire import Fail, ScriptedServer
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.scripted import FlakyStateStore, RecordingDestination

NAME = "shop.orders"
STREAM = Stream("p", NAME)
EVENTS = [encode(event_document(number)) for number in range(25)]


async def position_after(open_source, server, read, count):
    async with (
        open_source(NAME, uri=server.uri, start_at="2020-01-01T00:00:00Z") as source,
        read(source, NAME) as reading,
    ):
        await reading.events(count)
        return reading.position


def read_by_time(source, position, delivered):
    return source.read_by_time(STREAM, position=position, delivered=delivered)


async def ids(items, count):
    found = []
    async with asyncio.timeout(20):
        while len(found) < count:
            item = await anext(items)
            found += [event.full_document["_id"] for event in item] if len(item) else []
    await items.aclose()
    return found


async def test_F1_by_time_the_stream_resumes_after_the_delivered_event(open_source, read):
    async with ScriptedServer(events=EVENTS, reply_events=5) as server:
        delivered = await position_after(open_source, server, read, 10)
        reached = attrs.evolve(delivered, resume_token=ResumeToken('{"_data":"idle"}'), ordinal=0)
        async with open_source(NAME, uri=server.uri) as source:
            items = read_by_time(source, reached, delivered)
            assert (await anext(items)).end == reached
            assert await ids(items, 15) == list(range(10, 25))
    opened = [command["pipeline"][0]["$changeStream"] for command in server.commands if "aggregate" in command]
    assert list(opened[-1]) == ["startAtOperationTime"]


@pytest.mark.parametrize("events", [EVENTS[:9], EVENTS[:9] + EVENTS[10:], []])
async def test_F1_without_that_very_event_the_position_is_lost(open_source, read, events):
    async with ScriptedServer(events=EVENTS, reply_events=5) as server:
        delivered = await position_after(open_source, server, read, 10)
    async with ScriptedServer(events=events, reply_events=5) as server, open_source(NAME, uri=server.uri) as source:
        with pytest.raises(PositionLostError, match="lacks the last delivered event"):
            await ids(read_by_time(source, delivered, delivered), 1)


async def test_F1_history_that_does_not_reach_back_is_lost_by_time_too(open_source, read):
    async with ScriptedServer(events=EVENTS) as server:
        delivered = await position_after(open_source, server, read, 10)
        server.script.append(Fail(286))
        async with open_source(NAME, uri=server.uri) as source:
            with pytest.raises(PositionLostError) as caught:
                await ids(read_by_time(source, delivered, delivered), 1)
        assert not isinstance(caught.value, TokenRefusedError)


@pytest.mark.parametrize(("code", "kind"), [(280, True), (260, True), (50811, True), (286, False)])
async def test_F1_only_lost_history_is_lost_at_once(open_source, read, code, kind):
    async with ScriptedServer(events=EVENTS) as server:
        position = await position_after(open_source, server, read, 10)
        server.script.append(Fail(code))
        async with open_source(NAME, uri=server.uri) as source:
            with pytest.raises(PositionLostError) as caught:
                async with read(source, NAME, position):
                    pass
    assert isinstance(caught.value, TokenRefusedError) is kind


async def test_F1_a_loss_that_is_noticed_before_the_delivered_event_was_found_is_reported():
    gap = Gap("renamed", None, START)
    batch = batch_of([event_document(number) for number in range(3)])
    delivered = batch[:2].end

    async def items():
        yield Heartbeat(START, gaps=(gap,))
        yield batch

    found = [item async for item in after_event_of(items(), delivered)]
    assert [len(item) if isinstance(item, EventBatch) else item.gaps for item in found] == [(gap,), 1]


async def test_F1_a_busy_stream_is_not_read_for_ever_to_find_an_event_that_does_not_come():
    numbers = itertools.count(3)

    async def items():
        for number in numbers:
            yield batch_of([event_document(number)])

    delivered = attrs.evolve(batch_of([event_document(3)]).end, resume_token=ResumeToken("another"))
    with pytest.raises(PositionLostError):
        async with asyncio.timeout(5):
            await anext(after_event(items(), delivered, delivered))
    assert next(numbers) == 5


async def after_event_of(items, delivered):
    try:
        async for item in after_event(items, delivered, delivered):
            yield item
    except PositionLostError:
        return  # `items` ends, which a server's never does


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)

    def of(self, kind):
        return [notice for notice in self.notices if isinstance(notice, kind)]


async def run(source, state, **settings):
    """Run until the stream has caught up; return the `fullDocument._id`s of its events, and its notices."""
    heard, destination = Heard(), Keeping()
    running = Pipeline(
        name="p",
        source=source,
        destination=destination,
        state=state,
        settings=Settings(batch_timeout=0.3, **settings),
        listeners=[heard],
    )
    async with asyncio.timeout(60):
        report = await running.run(once=True)
    (outcome,) = report.workers.values()
    assert outcome.error is None
    return destination.ids, heard


class Keeping(RecordingDestination):
    def __init__(self):
        super().__init__()
        self.ids = []

    async def write_batch(self, events):
        self.ids += [event.document_key["_id"] for event in events]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("idle", [False, True])
async def test_F1_error_280_at_opening_loses_and_repeats_nothing(open_source, client, database, times, idle):
    """Case b07: the first refusal is retried, the second leads to resuming by time."""
    name, state = f"{database.name}.c", FlakyStateStore()
    assert (await run(open_source(name), state))[0] == []
    database.c.insert_many([{"_id": number} for number in range(3)])
    assert (await run(open_source(name), state))[0] == [0, 1, 2]
    (key,) = state._checkpoints
    saved = state._checkpoints[key]
    if not idle:
        saved = state._checkpoints[key] = attrs.evolve(saved, position=saved.delivered)
    database.c.insert_many([{"_id": number} for number in range(3, 6)])
    data = {"failCommands": ["aggregate"], "errorCode": 280}
    client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})
    delivered, heard = await run(open_source(name), state, on_lost_position="restart_from_now")
    assert delivered == [3, 4, 5]
    assert len(heard.of(PositionTakenByTime)) == (times == 2)
    assert not heard.of(GapRecorded)


async def test_F1_restart_from_now_with_start_at_resumes_now_and_records_one_gap(open_source, client, database):
    """Case c09."""
    name, state = f"{database.name}.c", FlakyStateStore()
    database.c.insert_one({"_id": "earlier"})
    await asyncio.sleep(1.1)
    start_at = datetime.now(UTC).isoformat(timespec="seconds")
    await asyncio.sleep(1.1)
    database.c.insert_many([{"_id": number} for number in range(3)])
    assert (await run(open_source(name, start_at=start_at), state))[0] == [0, 1, 2]
    (key,) = state._checkpoints
    lost = state._checkpoints[key].position
    database.c.insert_many([{"_id": number} for number in range(3, 6)])
    data = {"failCommands": ["aggregate"], "errorCode": 286}
    client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data})
    delivered, heard = await run(open_source(name, start_at=start_at), state, on_lost_position="restart_from_now")
    assert delivered == []
    (notice,) = heard.of(GapRecorded)
    assert notice.gap.lost == lost
    assert notice.gap.resumed.order > lost.order
    database.c.insert_one({"_id": 6})
    assert (await run(open_source(name, start_at=start_at), state))[0] == [6]
