"""What `rigatoni doctor` checks of Redis: memory, replicas, and what may not be asked."""

import asyncio

import pytest
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_redis_state.diagnosis import _findings
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import RedisServer


async def servers(store):
    return list(await store.checks(Settings(), {})["servers"]())


async def test_a_server_that_is_nearly_full_is_a_warning(tmp_path):
    with RedisServer(tmp_path / "data") as server, server.client() as admin:
        async with RedisStateStore(url=Secret(server.url)) as store:
            memory, replicas = await servers(store)
            assert (memory.severity, replicas.severity) == ("ok", "ok")
            assert replicas.figures == {"replicas": 0}
            admin.config_set("maxmemory", int(memory.figures["used_bytes"]))
            memory, _ = await servers(store)
    assert (memory.severity, "maxmemory" in memory.remedy) == ("warning", True)


async def test_replicas_that_are_missing_or_not_waited_for_are_reported(tmp_path):
    with (
        RedisServer(tmp_path / "master") as master,
        RedisServer(tmp_path / "replica", replicaof=f"127.0.0.1 {master.port}") as replica,
    ):
        with master.client() as admin:
            while admin.info("replication").get("slave0", {}).get("state") != "online":
                await asyncio.sleep(0.05)
        async with RedisStateStore(url=Secret(master.url)) as store:
            _, found = await servers(store)
            assert (found.severity, "failover" in found.seen) == ("ok", True)
        async with RedisStateStore(url=Secret(master.url), wait_replicas=1) as store:
            replica.kill()
            with master.client() as admin:
                while admin.info("replication")["connected_slaves"]:
                    await asyncio.sleep(0.05)
            _, found = await servers(store)
    assert (found.severity, "wait_replicas" in found.remedy) == ("error", True)


async def test_without_the_right_to_ask_nothing_is_checked(tmp_path):
    with RedisServer(tmp_path / "data") as server, server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "plain", "on", ">pw", "~*", "+@all", "-info")
        url = server.url.replace("redis://", "redis://plain:pw@")
        async with RedisStateStore(url=Secret(url)) as store:
            (found,) = await servers(store)
    assert (found.severity, "+info" in found.remedy) == ("not checked", True)


@pytest.mark.parametrize(
    "info",
    [{"redis_version": "6.0.16"}, {"rdb_last_bgsave_status": "err"}, {"aof_last_write_status": "err"}],
)
def test_old_servers_and_failing_disks_are_errors(info):
    found = list(_findings("the server", {"redis_version": "7.2.4", **info}, 0))
    assert [each.severity for each in found].count("error") == 1
