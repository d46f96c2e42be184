"""The engine with this destination: two pipelines without leases, state lost, configuration changed."""

import asyncio

from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_s3.testing.proxy import Response
from rigatoni_testing.batches import event_document
from rigatoni_testing.scripted import Log, ScriptedSource

HOUR = 1_700_049_600  # 2023-11-15 12:00:00 UTC
RETRY = RetrySettings(retry_delay=0.02, max_retry_delay=0.1, max_retries=30)


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


def pipeline(log, destination, *, batch_size, state=None, start=0):
    source = ScriptedSource(logs={"shop.*": log}, reply_events=7, await_time=0.01, start=start)
    settings = Settings(batch_size=batch_size, batch_timeout=0.01, retry=RETRY, on_failure="restart")
    state = state or MemoryStateStore()
    return Pipeline(name="lake", source=source, destination=destination, state=state, settings=settings)


async def test_J2_J5_H7_the_state_is_lost_and_the_layout_changes_between_runs(place, destination):
    log = Log(events(0, 20))

    async def run(*, batch_size, start, **options):
        report = await pipeline(log, destination(**options), batch_size=batch_size, start=start).run(once=True)
        assert report.ok, report

    await run(partition_by=("hour",), batch_size=4, start=0)
    log.append(*events(20, 30))
    await run(partition_by=("hour",), batch_size=5, start=25)  # "now" must not count
    log.append(*events(30, 41))
    await run(partition_by=("namespace", "day"), batch_size=100, start=35)
    log.append(*events(41, 50))
    await run(partition_by=("namespace", "day"), batch_size=2, start=45)

    objects = place.written()
    assert sorted(token for tokens in objects.values() for token in tokens) == sorted(log.tokens)
    found = {token: key for key, tokens in objects.items() for token in tokens}
    for number, token in enumerate(log.tokens):
        hours = (HOUR + number // 3 * 1200) // 3600 % 24
        folder = f"/date=2023-11-15/hour={hours:02}/" if number < 30 else f"/collection={'ab'[number % 2]}/date="
        assert folder in found[token]


async def test_H3_J12_two_pipelines_without_leases_make_one_linear_chain(place, destination, proxy):
    log = Log(events(0, 60))
    for partition_by in ((), ("namespace",)):
        proxy.on("PUT", ".txt", Response(503, "SlowDown"), times=3)
        proxy.on("PUT", ".txt", "lose response", times=3)
        options = {"partition_by": partition_by, "prefix": f"n{len(partition_by)}", "endpoint_url": proxy.endpoint_url}
        both = [pipeline(log, destination(**options), batch_size=size) for size in (3, 5)]
        reports = await asyncio.gather(*(one.run(once=True) for one in both))
        assert all(report.ok for report in reports), reports
        objects = place.written(f"n{len(partition_by)}/")
        assert sorted(token for tokens in objects.values() for token in tokens) == sorted(log.tokens)
        if not partition_by:
            assert [token for tokens in objects.values() for token in tokens] == log.tokens
