"""Leases in a real Redis: exclusive, expiring, fenced; time is the server's."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Stream
from rigatoni_redis_state.scripts import Keys

STREAM = Stream("p", "shop.orders")


@pytest.fixture
async def client(url):
    async with Redis.from_url(url, protocol=2) as client:
        yield client


async def expire(client, store):
    """Let the lease run out now, as its time would."""
    await client.pexpire(Keys.of(store.prefix, STREAM).lease, 1)
    while await client.exists(Keys.of(store.prefix, STREAM).lease):
        await asyncio.sleep(0.005)


async def test_I2_a_lease_is_exclusive_and_no_stranger_renews_or_releases_it(store):
    first = await store.acquire(STREAM, owner="one", ttl=30)
    assert await store.acquire(STREAM, owner="two", ttl=30) is None
    for stranger in (
        first.__class__(STREAM, "two", first.fencing_token, 0),
        first.__class__(STREAM, "one", first.fencing_token + 1, 0),
    ):
        with pytest.raises(LeaseLostError):
            await store.renew(stranger, ttl=30)
        await store.release(stranger)
    assert await store.acquire(STREAM, owner="two", ttl=30) is None
    await store.release(first)
    second = await store.acquire(STREAM, owner="two", ttl=30)
    assert second.fencing_token > first.fencing_token


async def test_I2_a_lease_lasts_as_long_as_it_was_last_renewed_for_by_the_servers_clock(store, client):
    key = Keys.of(store.prefix, STREAM).lease
    before = asyncio.get_running_loop().time()
    lease = await store.acquire(STREAM, owner="one", ttl=0.5)
    assert 0 < await client.pttl(key) <= 500
    assert lease.deadline <= asyncio.get_running_loop().time() + 0.5
    assert lease.deadline >= before + 0.5
    renewed = await store.renew(lease, ttl=60)
    assert 59_000 < await client.pttl(key) <= 60_000
    assert renewed.fencing_token == lease.fencing_token
    assert renewed.deadline > lease.deadline + 59
    short = await store.renew(renewed, ttl=0.05)
    while await client.exists(key):
        await asyncio.sleep(0.01)
    with pytest.raises(LeaseLostError):
        await store.renew(short, ttl=60)
    assert (await store.acquire(STREAM, owner="two", ttl=30)).fencing_token > lease.fencing_token


async def test_I2_each_grant_has_a_higher_fencing_token_than_any_before(store, client, checkpoint):
    tokens = []
    for owner in ("one", "two", "one"):
        lease = await store.acquire(STREAM, owner=owner, ttl=30)
        tokens.append(lease.fencing_token)
        await store.release(lease)
        tokens.append((await store.acquire(STREAM, owner=owner, ttl=30)).fencing_token)
        await expire(client, store)
    tokens.append((await store.acquire(STREAM, owner="one", ttl=30)).fencing_token)
    tokens.append((await store.acquire(STREAM, owner="one", ttl=30)).fencing_token)
    await store.clear_resume_token(STREAM, fencing_token=tokens[-1])
    await expire(client, store)
    tokens.append((await store.acquire(STREAM, owner="two", ttl=30)).fencing_token)
    assert tokens == sorted(set(tokens))


async def test_I2_the_streams_of_two_pipelines_do_not_share_a_lease(store):
    assert await store.acquire(Stream("p", "q/r"), owner="one", ttl=30)
    assert await store.acquire(Stream("p/q", "r"), owner="two", ttl=30)


def test_the_keys_of_a_stream_share_one_hash_slot_whatever_its_name():
    for pipeline, name in (("p", "a.b"), ("{p}", "{a}.b"), ("}", "{"), ("ü", "x" * 500)):
        keys = Keys.of("rigatoni:", Stream(pipeline, name))
        assert len({key_slot(key.encode()) for key in (keys.checkpoint, keys.fence, keys.lease, keys.corrupt)}) == 1


async def test_an_inspection_shows_the_owner_and_the_record_and_changes_nothing(make_store, client, checkpoint):
    async with make_store() as store:
        lease = await store.acquire(STREAM, owner="host:1 of 2", ttl=30)
        await store.save_resume_token(STREAM, checkpoint(fencing_token=lease.fencing_token))
        looker = make_store()
        before = sorted([key async for key in client.scan_iter(f"{looker.prefix}*")])
        async with looker.looking():
            assert await looker.holder(STREAM) == "host:1 of 2"
            assert await looker.holder(Stream("p", "other")) is None
            assert (await looker.load_resume_token(STREAM)).fencing_token == lease.fencing_token
        assert sorted([key async for key in client.scan_iter(f"{looker.prefix}*")]) == before


async def test_instances_are_counted_until_they_leave_or_their_time_is_over(make_store, client):
    async with make_store() as one, make_store() as two:
        assert await one.heartbeat("p", owner="one", ttl=30) == 1
        assert await one.heartbeat("p", owner="one", ttl=30) == 1
        assert await two.heartbeat("p", owner="two", ttl=0.3) == 2
        assert await two.heartbeat("q", owner="two", ttl=30) == 1
        while await one.heartbeat("p", owner="one", ttl=30) == 2:
            await asyncio.sleep(0.02)
        assert await two.heartbeat("p", owner="two", ttl=30) == 2
        assert await one.heartbeat("p", owner="one", ttl=0) == 1
        assert await two.heartbeat("p", owner="two", ttl=0) == 0
        assert not await client.exists(f"{one.prefix}{{p}}:instances")


async def test_a_stream_is_wanted_until_it_is_granted_or_the_time_is_over(store):
    assert not await store.handover_requested(STREAM)
    await store.request_handover(STREAM, ttl=30)
    assert await store.handover_requested(STREAM)
    await store.acquire(STREAM, owner="one", ttl=30)
    assert not await store.handover_requested(STREAM)
    await store.request_handover(STREAM, ttl=0.05)
    while await store.handover_requested(STREAM):
        await asyncio.sleep(0.01)
