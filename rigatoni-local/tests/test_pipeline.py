"""The engine with this destination: state lost, configuration changed, batches split, events rejected."""

import threading

import attrs
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_local.destination import LocalDestination
from rigatoni_testing.batches import event_document
from rigatoni_testing.scripted import Log, ScriptedSource
from rigatoni_testing.serializers import TokenLines

HOUR = 1_700_049_600  # 2023-11-15 12:00:00 UTC


def events(start, stop):
    """Events every 20 minutes; three at a time share a cluster time."""
    return [
        event_document(
            number,
            clusterTime=BsonTimestamp(HOUR + number // 3 * 1200, 1),
            ns={"db": "shop", "coll": "ab"[number % 2]},
        )
        for number in range(start, stop)
    ]


async def test_J2_J5_H7_the_state_is_lost_and_the_layout_changes_between_runs_of_the_pipeline(
    tmp_path, serializer, written
):
    log = Log(events(0, 20))

    async def run(*, partition_by, batch_size, state, start):
        source = ScriptedSource(logs={"shop.*": log}, reply_events=7, await_time=0.01, start=start)
        report = await Pipeline(
            name="lake",
            source=source,
            destination=LocalDestination(path=tmp_path, serializer=serializer, partition_by=partition_by),
            state=state,
            settings=attrs.evolve(Settings(), batch_size=batch_size, batch_timeout=0.01),
        ).run(once=True)
        assert report.ok, report

    await run(partition_by=("hour",), batch_size=4, state=MemoryStateStore(), start=0)
    log.append(*events(20, 30))
    await run(partition_by=("hour",), batch_size=5, state=MemoryStateStore(), start=25)  # "now" must not count
    log.append(*events(30, 41))
    state = MemoryStateStore()
    await run(partition_by=("namespace", "day"), batch_size=100, state=state, start=35)
    log.append(*events(41, 50))
    await run(partition_by=("namespace", "day"), batch_size=2, state=state, start=45)

    files = written(tmp_path)
    delivered = [token for tokens in files.values() for token in tokens]
    assert sorted(delivered) == sorted(log.tokens)
    place = {token: path for path, tokens in files.items() for token in tokens}
    for number, token in enumerate(log.tokens):
        hours = (HOUR + number // 3 * 1200) // 3600 % 24
        if number < 30:
            assert f"/date=2023-11-15/hour={hours:02}/" in place[token]
        else:
            assert f"/database=shop/collection={'ab'[number % 2]}/date=2023-11-15/" in place[token]


class Meeting(TokenLines):
    """The first two batches wait for each other while they are serialized."""

    def __init__(self):
        super().__init__()
        self.meeting, self.met, self.threads = threading.Barrier(2, timeout=20), False, set()

    def serialize(self, events):
        if not self.met:
            self.meeting.wait()
            self.met = True
        self.threads.add(threading.current_thread().name)
        return super().serialize(events)


async def test_a_stream_has_several_batches_in_work_and_they_stay_in_order(tmp_path, written):
    log, serializer = Log([event_document(number) for number in range(60)]), Meeting()
    report = await Pipeline(
        name="lake",
        source=ScriptedSource(logs={"shop.*": log}, reply_events=20, await_time=0.01, start=0),
        destination=LocalDestination(path=tmp_path, serializer=serializer),
        state=MemoryStateStore(),
        settings=attrs.evolve(Settings(), batch_size=5, batch_timeout=0.01),
    ).run(once=True)
    assert report.ok, report
    assert serializer.threads == {"rigatoni-local lake/shop.*", "rigatoni-local prefetch"}
    assert [token for tokens in written(tmp_path).values() for token in tokens] == log.tokens
