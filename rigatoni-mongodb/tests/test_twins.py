"""An update that two shards report while a chunk moves between them (MongoDB before 5.3) is delivered once."""

import pytest
from bson import encode
from hypothesis import given
from hypothesis import strategies as st
from rigatoni_bson.elements import chunk_of
from rigatoni_core.api.bus import listening
from rigatoni_core.api.events import ResumeToken
from rigatoni_core.api.notices import DuplicatesDropped
from rigatoni_mongodb.decoding import token_text
from rigatoni_mongodb.features import parse_version
from rigatoni_mongodb.testing.wire import ScriptedServer
from rigatoni_mongodb.twins import may_send_twice, without_twins
from rigatoni_testing.batches import event_document

NAME = "shop.orders"
EVENTS = [encode(event_document(number)) for number in range(12)]
OLD = {"start_at": "2020-01-01T00:00:00Z"}


class Heard:
    def __init__(self):
        self.dropped = 0

    def notify(self, notice):
        if isinstance(notice, DuplicatesDropped):
            self.dropped += notice.events


@given(st.lists(st.integers(1, 3), min_size=1, max_size=12), st.integers(1, 5))
def test_neighbours_with_the_same_bytes_are_kept_once_wherever_replies_end(times, size):
    reported = [raw for raw, count in zip(EVENTS, times, strict=False) for _ in range(count)]
    kept, last = [], ResumeToken("")
    for start in range(0, len(reported), size):
        distinct = without_twins(chunk_of(b"".join(reported[start : start + size])), last).copies()
        kept += distinct
        if distinct:
            last = token_text(event_document(EVENTS.index(distinct[-1]))["_id"])
    assert kept == EVENTS[: len(times)]


def test_the_same_token_with_another_content_is_no_twin_within_a_reply():
    other = encode(event_document(0) | {"operationType": "replace"})
    segment = chunk_of(EVENTS[0] + other)
    assert without_twins(segment, ResumeToken("")) is segment


@pytest.mark.parametrize(
    ("sharded", "version", "tells"),
    [(True, "5.0.7", True), (True, "4.4.29", True), (True, "5.3.0", False), (True, "7.1.0-alpha0", False),
     (True, "", False), (False, "5.0.7", False)],
)  # fmt: skip
def test_only_old_sharded_clusters_pay_for_the_comparison(sharded, version, tells):
    assert may_send_twice(sharded=sharded, version=parse_version(version)) is tells


@pytest.mark.parametrize(("version", "copies"), [("5.0.7", 1), ("8.0.4", 2)])
async def test_a_twin_is_dropped_and_counted_and_the_stream_resumes_behind_it(open_source, read, version, copies):
    reported = [raw for raw in EVENTS for _ in range(2)]
    heard = Heard()
    async with ScriptedServer(events=reported, reply_events=3, role="mongos", version=version) as server:
        uri = f"mongodb://{server.address}/"
        with listening([heard]):
            async with open_source(NAME, uri=uri, **OLD) as source, read(source, NAME) as reading:
                events = await reading.events(len(EVENTS) * copies)
    assert [event.full_document["_id"] for event in events] == [n for n in range(12) for _ in range(copies)]
    assert heard.dropped == (12 if copies == 1 else 0)
