"""Fencing tokens never go back, whatever a real Redis loses: keys, a failover's last writes, everything."""

import asyncio
import json
from itertools import chain, combinations

import pytest
from redis.asyncio import Redis
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.records import dump_checkpoint, sealed, unseal
from rigatoni_redis_state.scripts import Keys
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import RedisServer

STREAM = Stream("p", "shop.orders")


@pytest.fixture
async def client(url):
    async with Redis.from_url(url, protocol=2) as client:
        yield client


@pytest.fixture
def keys(store):
    return Keys.of(store.prefix, STREAM)


def some_of(*names):
    """Every selection of these, none and all among them."""
    return list(chain.from_iterable(combinations(names, count) for count in range(len(names) + 1)))


async def the_clock_passes(client, token):
    """Wait until the server's clock is past a fencing token: grants in a row may run ahead of it."""
    while (time := await client.time())[0] * 1000 + time[1] // 1000 <= token:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("lost", some_of("fence", "checkpoint"), ids="+".join)
async def test_a_later_grant_fences_off_an_earlier_one_after_any_loss(store, client, keys, checkpoint, lost):
    for _ in range(5):
        old = await store.acquire(STREAM, owner="one", ttl=30)
    await store.save_resume_token(STREAM, checkpoint("old", fencing_token=old.fencing_token))
    await client.delete(keys.lease, *(getattr(keys, name) for name in lost))  # the lease is lost, or ran out
    await the_clock_passes(client, old.fencing_token)
    new = await store.acquire(STREAM, owner="two", ttl=30)
    assert new.fencing_token > old.fencing_token
    with pytest.raises(LeaseLostError):
        await store.save_resume_token(STREAM, checkpoint("late", fencing_token=old.fencing_token))
    await store.save_resume_token(STREAM, checkpoint("new", fencing_token=new.fencing_token))
    with pytest.raises(LeaseLostError):
        await store.clear_resume_token(STREAM, fencing_token=old.fencing_token)
    assert (await store.load_resume_token(STREAM)).position.resume_token == "new"


@pytest.mark.parametrize("lost", some_of("fence", "checkpoint", "lease"), ids="+".join)
async def test_the_owner_saves_again_what_the_server_has_lost_and_its_fence_too(store, client, keys, checkpoint, lost):
    lease = await store.acquire(STREAM, owner="one", ttl=30)
    token = lease.fencing_token
    await store.save_resume_token(STREAM, checkpoint("before", fencing_token=token))
    if lost:
        await client.delete(*(getattr(keys, name) for name in lost))
    await store.save_resume_token(STREAM, checkpoint("after", fencing_token=token))
    assert (await store.load_resume_token(STREAM)).position.resume_token == "after"
    assert int(await client.get(keys.fence)) == token
    for other in (token - 1, token + 1):
        with pytest.raises(LeaseLostError):
            await store.save_resume_token(STREAM, checkpoint("late", fencing_token=other))


async def test_an_owner_that_has_not_saved_yet_is_known_by_its_lease(store, client, keys, checkpoint):
    old = await store.acquire(STREAM, owner="one", ttl=30)
    await store.save_resume_token(STREAM, checkpoint("old", fencing_token=old.fencing_token))
    await store.release(old)
    new = await store.acquire(STREAM, owner="two", ttl=30)
    await client.delete(keys.fence)
    with pytest.raises(LeaseLostError):
        await store.save_resume_token(STREAM, checkpoint("late", fencing_token=old.fencing_token))
    await store.save_resume_token(STREAM, checkpoint("new", fencing_token=new.fencing_token))


async def test_a_record_alone_fences_off_earlier_owners(store, client, keys, checkpoint):
    old = await store.acquire(STREAM, owner="one", ttl=30)
    new = await store.acquire(STREAM, owner="one", ttl=30)
    await store.save_resume_token(STREAM, checkpoint("new", fencing_token=new.fencing_token))
    await client.delete(keys.fence, keys.lease)
    with pytest.raises(LeaseLostError):
        await store.save_resume_token(STREAM, checkpoint("late", fencing_token=old.fencing_token))
    await store.save_resume_token(STREAM, checkpoint("newer", fencing_token=new.fencing_token))


@pytest.mark.parametrize("found", [None, 3])
async def test_a_renewal_restores_a_fence_that_was_lost_or_put_back(store, client, keys, found):
    lease = await store.acquire(STREAM, owner="one", ttl=30)
    await (client.delete(keys.fence) if found is None else client.set(keys.fence, found))
    await store.renew(lease, ttl=30)
    assert int(await client.get(keys.fence)) == lease.fencing_token


async def test_I5_a_replica_that_takes_over_without_the_last_grant_gives_no_token_twice(tmp_path, checkpoint):
    with (
        RedisServer(tmp_path / "master") as master,
        RedisServer(tmp_path / "replica", replicaof=f"127.0.0.1 {master.port}") as replica,
        master.client() as first,
        replica.client() as second,
    ):
        while first.info("replication").get("slave0", {}).get("state") != "online":
            pass
        async with RedisStateStore(url=Secret(master.url)) as before, Redis(port=replica.port) as clock:
            lease = await before.acquire(STREAM, owner="two", ttl=300)
            await before.save_resume_token(STREAM, checkpoint("five", fencing_token=lease.fencing_token))
            await before.release(lease)
            first.wait(1, 5000)
            second.replicaof("no", "one")
            lost = await before.acquire(STREAM, owner="one", ttl=300)
            await the_clock_passes(clock, lost.fencing_token)
            async with RedisStateStore(url=Secret(replica.url)) as after:
                with pytest.raises(LeaseLostError):
                    await after.renew(lost, ttl=300)
                with pytest.raises(LeaseLostError):  # nobody was granted anything since, and yet: the grant is unknown
                    await after.save_resume_token(STREAM, checkpoint("six", fencing_token=lost.fencing_token))
                new = await after.acquire(STREAM, owner="two", ttl=300)
                assert new.fencing_token > lost.fencing_token
                await after.save_resume_token(STREAM, checkpoint("hundred", fencing_token=new.fencing_token))
                with pytest.raises(LeaseLostError):
                    await after.save_resume_token(STREAM, checkpoint("six", fencing_token=lost.fencing_token))
                assert (await after.load_resume_token(STREAM)).position.resume_token == "hundred"


async def test_small_tokens_and_records_of_an_older_version_are_continued(store, client, keys, checkpoint):
    record = json.loads(dump_checkpoint(STREAM, checkpoint("old", fencing_token=6)))
    assert unseal(record)
    position = record["position"] | {"deployment": record.pop("deployment")}
    await client.set(keys.checkpoint, json.dumps(sealed(record | {"format": 1, "position": position})))
    await client.set(keys.fence, 6)
    await client.set(keys.lease, "6 old")
    assert (await store.load_resume_token(STREAM)).fencing_token == 6
    assert await store.acquire(STREAM, owner="new", ttl=30) is None
    await client.delete(keys.lease)
    lease = await store.acquire(STREAM, owner="new", ttl=30)
    assert lease.fencing_token > 10**12
    with pytest.raises(LeaseLostError):
        await store.save_resume_token(STREAM, checkpoint("late", fencing_token=6))
    assert await client.incr(keys.fence) > lease.fencing_token  # how an older version grants


@pytest.mark.parametrize(
    "content", [b"\xff garbage", b"[]", b'{"fencing_token": 1e300}', b'{"fencing_token": "x"}', b"[" * 5000]
)
async def test_a_damaged_record_bears_no_witness(store, client, keys, checkpoint, content):
    await client.set(keys.checkpoint, content)
    lease = await store.acquire(STREAM, owner="one", ttl=30)
    await store.save_resume_token(STREAM, checkpoint("new", fencing_token=lease.fencing_token))
    assert (await store.load_resume_token(STREAM)).position.resume_token == "new"


async def test_the_streams_of_a_prefix_are_listed_whatever_it_is(make_store, client, checkpoint):
    prefix = make_store().prefix + "a[*]?\\:"
    async with make_store(prefix=prefix) as one, make_store(prefix=prefix + "b") as two:
        await one.save_resume_token(Stream("p*", "s"), checkpoint())
        await one.save_resume_token(Stream("pp", "s"), checkpoint())
        await two.save_resume_token(Stream("q", "s"), checkpoint())
        await client.set(Keys.of(one.prefix, Stream("r", "damaged")).checkpoint, b"garbage")
        assert await one.streams() == [Stream("p*", "s"), Stream("pp", "s"), Stream("r", "damaged")]
        assert await one.streams("p*") == [Stream("p*", "s")]
        assert await two.streams() == [Stream("q", "s")]
