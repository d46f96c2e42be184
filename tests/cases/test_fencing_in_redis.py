"""Fencing tokens never go back, whatever Redis forgets: a stale save is refused, the rightful owner's is accepted."""

import asyncio
import random

import pytest
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_testing.scripted import Bucket, BucketDestination, Log, ScriptedSource


def checkpoint(number: int, token: int = 0) -> Checkpoint:
    position = Position(ResumeToken(f'{{"_data":"{number}"}}'), "fp", Timestamp(1_700_000_000, number), 1)
    return Checkpoint(position, number, token)


@pytest.fixture
def server(redis):
    """An empty Redis."""
    with redis.client() as client:
        client.flushall()
    return redis


@pytest.fixture
async def stores(server):
    """Two instances' stores."""
    url = Secret(server.url)
    async with RedisStateStore(url=url) as one, RedisStateStore(url=url) as other:
        yield one, other


def forget(server, stream: Stream, *which: str) -> None:
    """Lose these of a stream's keys (all of them, where none is named), as eviction or a failover does."""
    with server.client() as client:
        keys = [key for key in client.keys("*") if stream.key in key]
        lost = [key for key in keys if not which or key.rpartition(":")[2] in which]
        assert lost
        client.delete(*lost)


@pytest.mark.parametrize("lost", [(), ("fence",), ("lease", "fence"), ("lease", "fence", "checkpoint")])
async def test_a_stale_save_is_refused_after_redis_forgot(server, stores, lost):
    """c30: the fence is evicted while A holds the lease, and B is granted it."""
    a, b = stores
    stream = Stream("ev", f"shop.{len(lost)}")
    for _ in range(5):
        first = await a.acquire(stream, owner="A", ttl=30)
    await a.save_resume_token(stream, checkpoint(50, first.fencing_token))
    forget(server, stream, *lost)
    if "lease" not in lost and lost:
        await a.release(first)
    await asyncio.sleep(0.02)  # an emptied Redis has its clock only, in milliseconds
    second = await b.acquire(stream, owner="B", ttl=30)
    assert second.fencing_token > first.fencing_token
    await b.save_resume_token(stream, checkpoint(90, second.fencing_token))
    with pytest.raises(LeaseLostError):
        await a.save_resume_token(stream, checkpoint(51, first.fencing_token))
    assert (await b.load_resume_token(stream)).events == 90
    await b.save_resume_token(stream, checkpoint(91, second.fencing_token))


async def test_a_grant_that_a_failover_lost_is_worth_nothing(server, stores):
    """c11: two owners with one fencing token."""
    a, b = stores
    stream = Stream("attack", "shop.orders")
    lease = await b.acquire(stream, owner="B", ttl=30)
    await b.save_resume_token(stream, checkpoint(5, lease.fencing_token))
    await b.release(lease)
    with server.client() as client:
        binary = client.connection_pool.connection_kwargs | {"decode_responses": False}
    import redis as driver

    with driver.Redis(**{name: binary[name] for name in ("host", "port", "decode_responses")}, protocol=2) as client:
        replica = {key: client.dump(key) for key in client.keys("*")}
        stale = await a.acquire(stream, owner="A", ttl=30)
        client.flushall()
        for key, value in replica.items():
            client.restore(key, 0, value)
    rightful = await b.acquire(stream, owner="B", ttl=30)
    assert rightful.fencing_token != stale.fencing_token
    await b.save_resume_token(stream, checkpoint(100, rightful.fencing_token))
    with pytest.raises(LeaseLostError):
        await a.save_resume_token(stream, checkpoint(6, stale.fencing_token))
    assert (await b.load_resume_token(stream)).events == 100


@pytest.mark.parametrize("lost", [False, True])
async def test_a_position_that_a_person_set_is_where_the_next_run_begins(server, stores, lost):
    """c35: the same person's repair, beside a Redis that came back empty."""
    _, operator = stores
    log = Log()
    log.grow(40)
    stream = Stream("p", "shop.orders")
    source = ScriptedSource(logs={stream.name: log}, await_time=0.05, start=0)

    async def run(store):
        lake = Delivered(bucket=Bucket())
        pipeline = Pipeline(
            name="p", source=source, destination=lake, state=store, settings=Settings(batch_timeout=0.1), owner="A"
        )
        assert (await pipeline.run(once=True)).ok
        return lake.bucket.tokens(stream)

    class Delivered(BucketDestination):
        """A destination of its own for each run: it holds no position of an earlier one."""

    async with asyncio.timeout(20):
        assert len(await run(RedisStateStore(url=Secret(server.url)))) == 40
        if lost:
            forget(server, stream)
        lease = await operator.acquire(stream, owner="operator", ttl=30)
        twenty = Position(log.tokens[19], "fingerprint", log.times[19], 1)
        await operator.save_resume_token(stream, Checkpoint(twenty, 0, lease.fencing_token))
        await operator.release(lease)
        assert await run(RedisStateStore(url=Secret(server.url))) == log.tokens[20:]


NAMES = ["a]] redis.call('FLUSHALL') --", "x}{y", "\n\r$5", "é" * 300, "..", "*"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
async def test_no_name_means_anything_to_the_server(stores, name):
    """c30: names of streams, pipelines and owners."""
    store, _ = stores
    stream = Stream("p'\"{", name)
    lease = await store.acquire(stream, owner="o]] return 1 --\n", ttl=5)
    await store.save_resume_token(stream, checkpoint(1, lease.fencing_token))
    assert (await store.load_resume_token(stream)).events == 1
    await store.release(await store.renew(lease, ttl=5))


async def test_a_cancelled_question_leaves_its_answer_to_nobody_else(server):
    """c30: pooled connections."""
    chance = random.Random(30)
    async with RedisStateStore(url=Secret(f"{server.url}?max_connections=3")) as store:
        streams = [Stream("cx", f"s{number}") for number in range(6)]
        for number, stream in enumerate(streams):
            await store.save_resume_token(stream, checkpoint(number + 1))

        async def ask(number: int) -> None:
            try:
                async with asyncio.timeout(chance.choice([0.0005, 0.001, 0.002, 5])):
                    loaded = await store.load_resume_token(streams[number])
            except TimeoutError:
                return
            assert loaded is not None
            assert loaded.events == number + 1

        for _ in range(60):
            await asyncio.gather(*map(ask, range(6)))
