"""More than one server: Sentinels, a cluster, TLS. The same store, real failovers."""

import asyncio
import ssl
from contextlib import ExitStack, asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory

import pytest
import trustme
from redis.crc import key_slot
from rigatoni_core.api.errors import LeaseLostError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_redis_state.errors import RedisConfigurationError, RedisUnavailableError
from rigatoni_redis_state.scripts import Keys
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import RedisServer
from rigatoni_testing.servers import free_port

STREAM = Stream("p", "shop.orders")


async def until(condition, seconds=60):
    """Wait for what the servers do among themselves."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.1)


async def persistently(action, *arguments, **options):
    """The result of an action, tried again while it fails with a transient error, as core's retry does."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await action(*arguments, **options)
            except Exception as error:
                if not isinstance(error, Transient):
                    raise
                await asyncio.sleep(0.2)


@contextmanager
def watched_by_sentinels(folder):
    """A master, a replica, and three Sentinels that call their service `mymaster`."""
    with ExitStack() as stack:
        secrets = {"requirepass": "p", "masterauth": "p"}
        master = stack.enter_context(RedisServer(folder / "master", **secrets))
        replica = stack.enter_context(RedisServer(folder / "replica", replicaof=f"127.0.0.1 {master.port}", **secrets))
        with master.client() as admin:
            while admin.info("replication").get("slave0", {}).get("state") != "online":
                pass
        sentinels = [
            stack.enter_context(
                RedisServer(
                    folder / f"sentinel{number}",
                    "--sentinel",
                    f"sentinel monitor mymaster 127.0.0.1 {master.port} 2",
                    "sentinel auth-pass mymaster p",
                    "sentinel down-after-milliseconds mymaster 500",
                    "sentinel failover-timeout mymaster 3000",
                )
            )
            for number in range(3)
        ]
        with sentinels[0].client() as admin:
            while (state := admin.sentinel_masters()["mymaster"])["num-other-sentinels"] < 2 or not state["num-slaves"]:
                pass
        yield master, replica, sentinels


async def test_I5_sentinels_name_another_master_and_nothing_saved_is_lost(tmp_path, checkpoint):
    with watched_by_sentinels(tmp_path) as (master, replica, sentinels):
        options = {
            "url": Secret("redis://:p@mymaster/0"),
            "sentinels": Secret("redis://" + ",".join(f"127.0.0.1:{one.port}" for one in sentinels)),
            "wait_replicas": 1,
        }
        async with RedisStateStore(**options) as store:
            many = [Stream("p", f"many.{number}") for number in range(100)]
            assert None not in await asyncio.gather(*(store.acquire(one, owner="one", ttl=300) for one in many))
            lease = await store.acquire(STREAM, owner="one", ttl=300)
            await store.save_resume_token(STREAM, checkpoint("before", fencing_token=lease.fencing_token))
            master.kill()
            sentinels[0].kill()
            store.wait_replicas = 0
            found = await persistently(store.load_resume_token, STREAM)
            assert found.position.resume_token == "before"
            lease = await persistently(store.renew, lease, ttl=300)
            assert await persistently(store.acquire, STREAM, owner="two", ttl=300) is None
            await persistently(store.save_resume_token, STREAM, checkpoint("after", fencing_token=lease.fencing_token))
            with replica.client() as reader:
                assert reader.info("replication")["role"] == "master"
                assert "after" in reader.get(f"{store.prefix}{{p/shop.orders}}:checkpoint")


async def test_a_service_that_sentinels_do_not_know_is_said_without_secrets(tmp_path):
    with RedisServer(tmp_path / "sentinel", "--sentinel", "sentinel resolve-hostnames no") as sentinel:
        store = RedisStateStore(
            url=Secret("redis://:sentinel-secret@othermaster/0"), sentinels=Secret(f"redis://127.0.0.1:{sentinel.port}")
        )
        with pytest.raises(RedisUnavailableError) as caught:
            async with store:
                pass
        assert "othermaster" in str(caught.value)
        assert f"127.0.0.1:{sentinel.port}" in str(caught.value)
        assert "service name" in caught.value.remedy
        assert "sentinel-secret" not in str(caught.value) + caught.value.remedy


@contextmanager
def cluster_of(folder):
    """Three masters, and a replica of the first."""
    with ExitStack() as stack:
        options = {"cluster_enabled": "yes", "cluster_node_timeout": "1000"}
        buses = [free_port() for _ in range(4)]
        nodes = [
            stack.enter_context(RedisServer(folder / f"node{number}", cluster_port=str(bus), **options))
            for number, bus in enumerate(buses)
        ]
        admins = [stack.enter_context(node.client()) for node in nodes]
        for number, admin in enumerate(admins):
            if number < 3:
                first = number * 5461
                admin.execute_command("CLUSTER ADDSLOTS", *range(first, 16384 if number == 2 else first + 5461))
            admin.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port, buses[0])
        identity = admins[0].execute_command("CLUSTER MYID")
        while "cluster_state:ok" not in str(state(admins[3])) or identity not in str(admins[3].cluster("nodes")):
            pass
        admins[3].execute_command("CLUSTER REPLICATE", identity)
        while "online" not in str(admins[0].info("replication").get("slave0")):
            pass
        yield nodes, admins


def state(admin):
    return {key: f"{key}:{value}" for key, value in admin.cluster("info").items()}


async def test_I5_a_cluster_keeps_each_stream_on_one_node_and_survives_a_failover_and_a_move(tmp_path, checkpoint):
    with cluster_of(tmp_path) as (nodes, admins):
        url = Secret("redis://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes[:2]))
        streams = [Stream("p", f"shop.{number}") for number in range(12)]
        async with RedisStateStore(url=url, cluster=True) as store:
            assert store.advice(Settings()) == ()
            leases = {}
            for stream in streams:
                leases[stream] = await store.acquire(stream, owner="one", ttl=300)
                token = leases[stream].fencing_token
                await store.save_resume_token(stream, checkpoint(stream.name, fencing_token=token))
            assert all(admin.dbsize() for admin in admins[:3])
            assert await store.streams() == sorted(streams)
            assert None not in await asyncio.gather(
                *(store.acquire(Stream("p", f"many.{number}"), owner="one", ttl=300) for number in range(100))
            )
            assert await store.heartbeat("p", owner="one", ttl=30) == 1
            with admins[0] as first:
                while first.wait(1, 1000) < 1:
                    pass
            nodes[0].kill()
            for stream in streams:
                found = await persistently(store.load_resume_token, stream)
                assert found.position.resume_token == stream.name
                leases[stream] = await persistently(store.renew, leases[stream], ttl=300)
                assert await persistently(store.acquire, stream, owner="two", ttl=300) is None
                token = leases[stream].fencing_token
                await persistently(store.save_resume_token, stream, checkpoint("after", fencing_token=token))
                with pytest.raises(LeaseLostError):
                    await persistently(store.save_resume_token, stream, checkpoint("late", fencing_token=token - 1))
            slots = {stream: key_slot(Keys.of(store.prefix, stream).lease.encode()) for stream in streams}
            stream = next(stream for stream, slot in slots.items() if 5461 <= slot < 10922)
            move(admins[1], admins[2], Keys.of(store.prefix, stream))
            renewed = await store.renew(leases[stream], ttl=300)
            assert renewed.fencing_token == leases[stream].fencing_token
            assert (await store.load_resume_token(stream)).position.resume_token == "after"


def move(holder, other, keys):
    """Move the slot of these keys from one master to another, while the client still has the old map."""
    slot = key_slot(keys.lease.encode())
    there, here = other.execute_command("CLUSTER MYID"), holder.execute_command("CLUSTER MYID")
    other.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", here)
    holder.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", there)
    port = other.connection_pool.connection_kwargs["port"]
    for key in holder.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        holder.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 5000)
    for node in (other, holder):
        node.execute_command("CLUSTER SETSLOT", slot, "NODE", there)


@asynccontextmanager
async def encrypted(server, authority, clients=None):
    """A real TLS end point in front of a server: the packaged redis-server has no TLS of its own.

    With `clients`, only clients with a certificate of this authority are let in.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
    pumps = set()

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        for one in (pump(reader, back), pump(there, writer)):
            pumps.add(asyncio.create_task(one))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def test_tls_by_a_trusted_authority_and_never_by_another(tmp_path, checkpoint):
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    with RedisServer(tmp_path / "data") as server:
        async with encrypted(server, authority) as port:
            url = f"rediss://localhost:{port}/0"
            async with RedisStateStore(url=Secret(f"{url}?ssl_ca_certs={tmp_path}/ca.pem")) as store:
                await store.save_resume_token(STREAM, checkpoint("encrypted"))
                assert (await store.load_resume_token(STREAM)).position.resume_token == "encrypted"
            for options in (f"?ssl_ca_certs={tmp_path}/stranger.pem", ""):
                with pytest.raises(RedisConfigurationError, match="not trusted") as caught:
                    async with RedisStateStore(url=Secret(url + options)):
                        pass
                assert not caught.value.transient
                assert "ssl_ca_certs" in caught.value.remedy
            with pytest.raises(RedisUnavailableError):
                async with RedisStateStore(url=Secret(f"redis://localhost:{port}/0?socket_timeout=1")):
                    pass
        with pytest.raises(RedisUnavailableError):
            async with RedisStateStore(url=Secret(f"rediss://127.0.0.1:{server.port}/0")):
                pass


async def test_tls_with_client_certificates_and_to_sentinels(tmp_path, checkpoint):
    authority = trustme.CA()
    certificate = authority.issue_cert("rigatoni@localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "client.key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    options = f"?ssl_ca_certs={tmp_path}/ca.pem&ssl_certfile={tmp_path}/client.pem&ssl_keyfile={tmp_path}/client.key"
    with (
        RedisServer(tmp_path / "data") as server,
        RedisServer(
            tmp_path / "sentinel", "--sentinel", f"sentinel monitor mymaster 127.0.0.1 {server.port} 1"
        ) as sentinel,
    ):
        async with encrypted(server, authority, authority) as port:
            async with RedisStateStore(url=Secret(f"rediss://localhost:{port}/0{options}")) as store:
                await store.save_resume_token(STREAM, checkpoint("certified"))
            with pytest.raises(RedisUnavailableError):
                async with RedisStateStore(url=Secret(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path}/ca.pem")):
                    pass
        async with encrypted(sentinel, authority, authority) as port:
            sentinels = Secret(f"rediss://localhost:{port}{options}")
            async with RedisStateStore(url=Secret("redis://mymaster/0"), sentinels=sentinels) as store:
                assert (await store.load_resume_token(STREAM)).position.resume_token == "certified"


async def test_a_unix_socket(tmp_path, checkpoint):
    with TemporaryDirectory() as short:  # a socket's path has hundred characters at most
        with RedisServer(tmp_path / "data", unixsocket=f"{short}/redis.sock"):
            async with RedisStateStore(url=Secret(f"unix://{short}/redis.sock")) as store:
                await store.save_resume_token(STREAM, checkpoint("by socket"))
                assert (await store.load_resume_token(STREAM)).position.resume_token == "by socket"
        with pytest.raises(RedisUnavailableError, match=r"redis\.sock"):
            async with RedisStateStore(url=Secret(f"unix://{short}/redis.sock")):
                pass
