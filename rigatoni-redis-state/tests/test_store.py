"""Checkpoints in a real Redis: round trips, damage, fencing, restarts."""

import asyncio
import json

import pytest
from redis.asyncio import Redis
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret
from rigatoni_redis_state.errors import (
    RedisForeignKeyError,
    RedisMemoryError,
    RedisReadOnlyError,
    RedisReplicationError,
    RedisStateError,
    RedisUnavailableError,
)
from rigatoni_redis_state.scripts import Keys
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import RedisServer

STREAM = Stream("p", "shop.orders")


@pytest.fixture
async def client(url):
    async with Redis.from_url(url, protocol=2) as client:
        yield client


def keys(store, stream=STREAM):
    return Keys.of(store.prefix, stream)


async def test_I1_round_trip_with_a_large_token_and_unicode_names(make_store, checkpoint):
    names = ("shop.orders", "shop.ü name", "x/../y", "shop.{a}", "shop.}{", "shop." + "n" * 250)
    async with make_store() as store:
        for name in names:
            stream = Stream("pïpe", name)
            assert await store.load_resume_token(stream) is None
            saved = checkpoint("ü" * 100_000 + name)
            await store.save_resume_token(stream, saved)
            assert await store.load_resume_token(stream) == saved
    async with make_store() as store:
        for name in names:
            found = await store.load_resume_token(Stream("pïpe", name))
            assert found.position.resume_token.endswith(name)


async def test_I1_the_record_is_readable_json_under_a_readable_key(store, checkpoint, client):
    await store.save_resume_token(STREAM, checkpoint())
    record = json.loads(await client.get(f"{store.prefix}{{p/shop.orders}}:checkpoint"))
    assert record["position"]["utc"] == "2023-11-14T22:13:20+00:00"


async def test_I1_concurrent_savers_leave_a_whole_record(store, checkpoint):
    streams = [Stream("p", f"s.{number}") for number in range(8)]
    saves = [(streams[number % 8], number) for number in range(400)]
    await asyncio.gather(
        *(store.save_resume_token(stream, checkpoint("x" * 5_000, events=number)) for stream, number in saves)
    )
    for index, stream in enumerate(streams):
        assert (await store.load_resume_token(stream)).events % 8 == index


async def test_I1_clear_forgets_and_keeps_the_fence(store, checkpoint):
    await store.clear_resume_token(STREAM, fencing_token=3)
    await store.save_resume_token(STREAM, checkpoint(fencing_token=3))
    await store.clear_resume_token(STREAM, fencing_token=3)
    assert await store.load_resume_token(STREAM) is None
    with pytest.raises(LeaseLostError):
        await store.save_resume_token(STREAM, checkpoint(fencing_token=2))


async def test_Z8_a_save_after_a_later_grant_is_refused_before_the_new_owner_saved_anything(store, checkpoint):
    first = await store.acquire(STREAM, owner="one", ttl=30)
    await store.save_resume_token(STREAM, checkpoint("first", fencing_token=first.fencing_token))
    await store.release(first)
    second = await store.acquire(STREAM, owner="two", ttl=30)
    with pytest.raises(LeaseLostError, match="another owner"):
        await store.save_resume_token(STREAM, checkpoint("late", fencing_token=first.fencing_token))
    with pytest.raises(LeaseLostError):
        await store.clear_resume_token(STREAM, fencing_token=first.fencing_token)
    with pytest.raises(LeaseLostError):
        await store.clear_resume_token(STREAM)
    assert (await store.load_resume_token(STREAM)).position.resume_token == "first"
    await store.save_resume_token(STREAM, checkpoint("second", fencing_token=second.fencing_token))
    assert (await store.load_resume_token(STREAM)).position.resume_token == "second"


async def test_I3_racing_owners_leave_the_record_of_the_last_grant(store, checkpoint):
    async def save(token):
        try:
            await store.save_resume_token(STREAM, checkpoint(f"by {token}", fencing_token=token))
        except LeaseLostError:
            return

    for _ in range(10):
        tokens = [(await store.acquire(STREAM, owner="one", ttl=30)).fencing_token for _ in range(20)]
        await asyncio.gather(*(save(token) for token in reversed(tokens)))
        assert (await store.load_resume_token(STREAM)).fencing_token == tokens[-1]


async def test_Z20_nothing_expires_but_the_lease(store, checkpoint, client):
    lease = await store.acquire(STREAM, owner="one", ttl=30)
    await store.save_resume_token(STREAM, checkpoint(fencing_token=lease.fencing_token))
    await client.rpush(keys(store).corrupt, "kept")
    found = {key async for key in client.scan_iter(f"{store.prefix}*")}
    assert len(found) == 4
    lasting = {key async for key in client.scan_iter(f"{store.prefix}*") if await client.ttl(key) == -1}
    assert found - lasting == {keys(store).lease.encode()}
    assert 0 < await client.pttl(keys(store).lease) <= 30_000


@pytest.mark.parametrize("content", [b"\xff garbage", b"{}", b'{"format": 1, "checksum": "sha256:0"}'])
async def test_F4_garbage_is_refused_untouched_and_kept_aside_when_it_is_replaced_or_cleared(
    store, checkpoint, client, content
):
    key = keys(store).checkpoint
    await client.set(key, content)
    with pytest.raises(CorruptCheckpointError) as caught:
        await store.load_resume_token(STREAM)
    assert key in str(caught.value)
    assert await client.get(key) == content
    await store.save_resume_token(STREAM, checkpoint())
    assert await store.load_resume_token(STREAM) == checkpoint()
    await store.save_resume_token(STREAM, checkpoint("next"))
    await client.set(key, content + b"2")
    await store.clear_resume_token(STREAM)
    assert await store.load_resume_token(STREAM) is None
    assert await client.lrange(keys(store).corrupt, 0, -1) == [content, content + b"2"]


async def test_something_foreign_under_the_key_is_named_and_left_alone(store, checkpoint, client):
    await client.hset(keys(store).checkpoint, "field", "value")
    with pytest.raises(RedisForeignKeyError) as caught:
        await store.load_resume_token(STREAM)
    assert not caught.value.transient
    assert caught.value.remedy
    assert await client.hgetall(keys(store).checkpoint) == {b"field": b"value"}


async def test_I5_a_restart_is_a_transient_error_and_nothing_is_lost(tmp_path, checkpoint):
    with RedisServer(tmp_path / "data") as server:
        async with RedisStateStore(url=Secret(server.url)) as store:
            lease = await store.acquire(STREAM, owner="one", ttl=300)
            await store.save_resume_token(STREAM, checkpoint("before", fencing_token=lease.fencing_token))
            server.kill()
            for call in (
                store.load_resume_token(STREAM),
                store.save_resume_token(STREAM, checkpoint("lost", fencing_token=lease.fencing_token)),
                store.acquire(STREAM, owner="one", ttl=300),
                store.renew(lease, ttl=300),
                store.release(lease),
            ):
                with pytest.raises(RedisUnavailableError) as caught:
                    await call
                assert caught.value.transient
                assert f"127.0.0.1:{server.port}" in str(caught.value)
            server.start()
            assert (await store.load_resume_token(STREAM)).position.resume_token == "before"
            renewed = await store.renew(lease, ttl=300)
            assert await store.acquire(STREAM, owner="two", ttl=300) is None
            await store.release(renewed)
            later = await store.acquire(STREAM, owner="two", ttl=300)
            assert later.fencing_token > lease.fencing_token


async def test_I5_a_hung_server_times_out_and_its_late_response_is_never_confused_with_another(tmp_path, checkpoint):
    with RedisServer(tmp_path / "data") as server:
        async with RedisStateStore(url=Secret(f"{server.url}?socket_timeout=0.3")) as store:
            other = Stream("p", "other")
            await store.save_resume_token(STREAM, checkpoint("mine"))
            await store.save_resume_token(other, checkpoint("other"))
            server.pause()
            with pytest.raises(RedisUnavailableError):
                await store.load_resume_token(other)
            asking = asyncio.create_task(store.load_resume_token(other))
            await asyncio.sleep(0.1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            server.resume()
            for _ in range(5):
                assert (await store.load_resume_token(STREAM)).position.resume_token == "mine"


async def test_a_full_server_keeps_the_old_record_and_may_be_tried_again(tmp_path, checkpoint):
    with RedisServer(tmp_path / "data") as server, server.client() as admin:
        async with RedisStateStore(url=Secret(server.url)) as store:
            await store.save_resume_token(STREAM, checkpoint("old"))
            admin.config_set("maxmemory", "1")
            with pytest.raises(RedisMemoryError) as caught:
                await store.save_resume_token(STREAM, checkpoint("new"))
            assert caught.value.transient
            assert (await store.load_resume_token(STREAM)).position.resume_token == "old"
            admin.config_set("maxmemory", "0")
            await store.save_resume_token(STREAM, checkpoint("new"))
            assert (await store.load_resume_token(STREAM)).position.resume_token == "new"


async def test_a_replica_is_refused_at_start_and_too_few_replicas_are_said(tmp_path, checkpoint):
    with (
        RedisServer(tmp_path / "master") as master,
        RedisServer(tmp_path / "replica", replicaof=f"127.0.0.1 {master.port}") as replica,
    ):
        with pytest.raises(RedisReadOnlyError) as caught:
            async with RedisStateStore(url=Secret(replica.url)):
                pass
        assert "replica" in caught.value.remedy
        with master.client() as admin:
            while admin.info("replication").get("slave0", {}).get("state") != "online":
                await asyncio.sleep(0.05)
        async with RedisStateStore(url=Secret(master.url), wait_replicas=1) as store:
            lease = await store.acquire(STREAM, owner="one", ttl=30)
            await store.save_resume_token(STREAM, checkpoint("both", fencing_token=lease.fencing_token))
            with replica.client() as reader:
                assert "both" in reader.get(keys(store).checkpoint)
            with master.client() as admin:
                admin.config_set("maxmemory", "1")
                with pytest.raises(RedisMemoryError) as caught:
                    await store.save_resume_token(STREAM, checkpoint("full", fencing_token=lease.fencing_token))
                assert "redis.call" not in str(caught.value)
                admin.config_set("maxmemory", "0")
            replica.kill()
            with pytest.raises(RedisReplicationError, match="0 of 1 replicas") as caught:
                await store.save_resume_token(STREAM, checkpoint("one", fencing_token=lease.fencing_token))
            assert caught.value.transient


async def test_more_commands_at_once_than_connections_wait_for_their_turn(url, make_store, checkpoint):
    async with make_store(url=Secret(f"{url}?max_connections=2")) as store:
        streams = [Stream("p", f"s.{number}") for number in range(50)]
        leases = await asyncio.gather(*(store.acquire(stream, owner="one", ttl=30) for stream in streams))
        assert None not in leases
        saved = [checkpoint(fencing_token=lease.fencing_token) for lease in leases]
        await asyncio.gather(*map(store.save_resume_token, streams, saved))


async def test_a_store_that_is_not_entered_raises_a_clear_error(make_store, checkpoint):
    with pytest.raises(RedisStateError, match="not entered"):
        await make_store().save_resume_token(STREAM, checkpoint())
