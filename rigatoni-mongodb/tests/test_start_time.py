"""Start times: out of range or in the future is one clear error, and no time blocks a stream."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import Timestamp as BsonTimestamp
from bson import encode
from rigatoni_core.api.events import Stream, Timestamp
from rigatoni_mongodb.testing.wire import ScriptedServer
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
STREAM = Stream("p", NAME)
EVENTS = [encode(event_document(number)) for number in range(3)]
NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yesterday", 'is not a time.*or "now"'),
        ("", "is not a time"),
        ("2200-01-01T00:00:00Z", "out of range"),
        ("1969-12-31", "out of range"),
        ("0001-01-01", "out of range"),
        pytest.param((datetime.now(UTC) + timedelta(hours=1)).isoformat(), "in the future", id="in an hour"),
    ],
)
def test_a_start_that_is_no_past_time_is_refused_when_the_configuration_is_read(open_source, text, words):
    with pytest.raises(ValueError, match=f"start_at: .*{words}"):
        open_source(NAME, uri="mongodb://h/", start_at=text)


@pytest.mark.parametrize("sends_tokens", [True, False])
async def test_a_start_after_an_idle_deployments_time_saves_a_position_that_can_be_resumed(
    open_source, read, sends_tokens
):
    """An idle deployment's time does not advance, so a past start time may be later."""
    server = ScriptedServer(events=EVENTS, sends_tokens=sends_tokens, operation_time=BsonTimestamp(NOW, 5))
    start = datetime.fromtimestamp(NOW + 60, UTC).isoformat()
    async with server, open_source(NAME, uri=server.uri, start_at=start) as source:
        async with read(source, NAME) as reading:
            anchor = reading.anchor
        assert anchor.cluster_time <= Timestamp(NOW, 6)
        async with read(source, NAME, anchor) as reading:
            assert len(await reading.events(3)) == 3
    opened = [command["pipeline"][0]["$changeStream"] for command in server.commands if "aggregate" in command]
    assert opened[0] == {"startAtOperationTime": BsonTimestamp(NOW + 60, 0)}
    if not sends_tokens:
        assert opened[1] == opened[0]


async def test_a_position_that_people_set_can_be_resumed_while_the_deployment_is_idle(open_source, read):
    server = ScriptedServer(events=EVENTS, operation_time=BsonTimestamp(NOW, 5))
    async with server, open_source(NAME, uri=server.uri) as source:
        for seconds in (NOW - 60, NOW + 60):
            position = source.position_at(STREAM, Timestamp(seconds, 0))
            assert position.cluster_time == min(Timestamp(seconds, 0), Timestamp(NOW, 6))
            async with read(source, NAME, position) as reading:
                assert len(await reading.events(3)) == 3
            assert server.commands[-2]["pipeline"][0]["$changeStream"] == {
                "startAtOperationTime": BsonTimestamp(seconds, 0)
            }
