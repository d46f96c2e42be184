"""Every fault as a real server says it: what it is called, whether trying again helps, and no secret in its text."""

import re
import tomllib
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import exceptions as redis
from rigatoni_core.api.errors import StateStoreError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret, parse_duration
from rigatoni_core.api.settings import Settings
from rigatoni_core.config import InvalidConfigurationError, structure
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_redis_state.errors import (
    ACL,
    RedisConfigurationError,
    RedisCredentialsError,
    RedisMemoryError,
    RedisReadOnlyError,
    RedisReplicationError,
    RedisRightsError,
    RedisStateError,
    RedisUnavailableError,
    translated,
)
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import RedisServer
from rigatoni_testing.servers import free_port

STREAM = Stream("p", "shop.orders")
SECRET = "sentinel-secret"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with a password, and the ACL user that the documents recommend."""
    with RedisServer(tmp_path_factory.mktemp("guarded") / "data", requirepass=SECRET) as server:
        with server.client() as admin:
            admin.execute_command(*ACL.replace("PASSWORD", SECRET).split())
            poor = ACL.replace("PASSWORD", SECRET).replace("SETUSER rigatoni", "SETUSER poor").replace("+eval ", "")
            admin.execute_command(*poor.split())
        yield server


def url_of(server, user, password=SECRET):
    return f"redis://{user}:{password}@127.0.0.1:{server.port}/0"


async def enter(url, **options):
    store = RedisStateStore(url=Secret(url), **options)
    with pytest.raises(StateStoreError) as caught:
        async with store:
            pass
    said = "".join(traceback.format_exception(caught.value)) + repr(store) + caught.value.remedy
    assert SECRET not in said
    return caught.value


@pytest.mark.parametrize("database", [0, 3])
async def test_the_recommended_acl_user_can_do_everything(guarded, checkpoint, database):
    url = url_of(guarded, "rigatoni").removesuffix("0") + str(database)
    async with RedisStateStore(url=Secret(url)) as store:
        assert store.advice(Settings()) == ()
        lease = await store.acquire(STREAM, owner="one", ttl=30)
        lease = await store.renew(lease, ttl=30)
        await store.save_resume_token(STREAM, checkpoint(fencing_token=lease.fencing_token))
        assert await store.load_resume_token(STREAM) is not None
        await store.clear_resume_token(STREAM, fencing_token=lease.fencing_token)
        await store.release(lease)
        await store.request_handover(STREAM, ttl=30)
        assert await store.handover_requested(STREAM)
        assert await store.heartbeat("p", owner="one", ttl=30) == 1
    looker = RedisStateStore(url=Secret(url))
    async with looker.looking():
        assert await looker.holder(STREAM) is None


async def test_K3_a_percent_encoded_password_works_and_is_never_said_in_either_form(guarded):
    password = f"p@ss/w:rd#?%{SECRET}"
    with guarded.client() as admin:
        admin.execute_command(*ACL.replace("SETUSER rigatoni", "SETUSER odd").replace("PASSWORD", password).split())
    async with RedisStateStore(url=Secret(url_of(guarded, "odd", quote(password, safe="")))):
        pass
    error = await enter(url_of(guarded, "odd", quote(password + "wrong", safe="")))
    assert isinstance(error, RedisCredentialsError)


async def test_a_key_outside_the_users_pattern_is_a_missing_right(guarded):
    error = await enter(url_of(guarded, "rigatoni"), prefix="elsewhere:")
    assert isinstance(error, RedisRightsError)
    assert ACL in error.remedy


async def test_K3_K4_wrong_and_missing_credentials_name_the_host_and_never_the_secret(guarded):
    for url in (
        url_of(guarded, "rigatoni", f"wrong-{SECRET}"),
        url_of(guarded, "nobody"),
        f"redis://127.0.0.1:{guarded.port}",
    ):
        error = await enter(url)
        assert isinstance(error, RedisCredentialsError)
        assert not error.transient
        assert f"127.0.0.1:{guarded.port}" in str(error)


async def test_a_missing_right_is_said_at_start_with_the_command_that_grants_it(guarded):
    error = await enter(url_of(guarded, "poor"))
    assert isinstance(error, RedisRightsError)
    assert not error.transient
    assert "eval" in str(error)


async def test_nobody_listens_and_unknown_hosts_are_transient(tmp_path):
    for url in (f"redis://:{SECRET}@127.0.0.1:{free_port()}", f"redis://:{SECRET}@no-such-host.invalid"):
        error = await enter(url)
        assert isinstance(error, RedisUnavailableError)
        assert error.transient


async def test_a_server_that_is_no_cluster_and_a_cluster_that_is_not_said_to_be_one(tmp_path):
    with RedisServer(tmp_path / "alone") as alone:
        error = await enter(alone.url, cluster=True)
        assert isinstance(error, RedisConfigurationError)
        assert "cluster" in error.remedy
    with RedisServer(tmp_path / "node", cluster_enabled="yes", cluster_port=str(free_port())) as node:
        assert isinstance(await enter(node.url), RedisUnavailableError)  # no slot is served yet: CLUSTERDOWN
        assert isinstance(await enter(node.url, cluster=True), RedisUnavailableError)


@pytest.mark.parametrize(
    ("policy", "options", "said"),
    [
        ("allkeys-lru", {}, "allkeys-lru"),
        ("noeviction", {"appendonly": "no"}, "memory only"),
        ("volatile-lru", {"appendonly": "no", "save": "3600 1"}, None),
    ],
)
async def test_a_server_that_may_drop_checkpoints_is_warned_of(tmp_path, policy, options, said):
    with RedisServer(tmp_path / "data", maxmemory_policy=policy, **options) as server:
        async with RedisStateStore(url=Secret(server.url)) as store:
            warnings = store.advice(Settings())
            assert len(warnings) == (1 if said else 0)
            assert all(said in warning for warning in warnings)
            server.client().execute_command(
                *ACL.replace("PASSWORD", "p").replace(" +info", "").replace(" +config|get", "").split()
            )
        async with RedisStateStore(url=Secret(f"redis://rigatoni:p@127.0.0.1:{server.port}")) as store:
            (warning,) = store.advice(Settings())
            assert "cannot check" in warning


@pytest.mark.parametrize(
    ("error", "kind", "transient"),
    [
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), RedisUnavailableError, True),
        (redis.MaxConnectionsError("Too many connections"), RedisUnavailableError, True),
        (redis.TimeoutError("Timeout reading from 10.0.0.1:6379"), RedisUnavailableError, True),
        (redis.ReadOnlyError("You can't write against a read only replica."), RedisReadOnlyError, True),
        (redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), RedisMemoryError, True),
        (redis.ClusterDownError("The cluster is down"), RedisUnavailableError, True),
        (redis.MasterDownError("Link with MASTER is down"), RedisUnavailableError, True),
        (redis.TryAgainError("Multiple keys request during rehashing of slot"), RedisUnavailableError, True),
        (redis.SlotNotCoveredError('Slot "1" is not covered by the cluster.'), RedisUnavailableError, True),
        (redis.MovedError("1 127.0.0.1:6381"), RedisConfigurationError, False),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), RedisUnavailableError, True),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), RedisReplicationError, True),
        (redis.ResponseError("BUSY Redis is busy running a script."), RedisUnavailableError, True),
        (redis.ResponseError("ERR MISCONF in the middle is no code"), RedisStateError, False),
        (redis.AuthorizationError("not yours"), RedisCredentialsError, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_faults_that_no_server_shows_on_demand_by_their_types(error, kind, transient):
    """A fake on purpose: the exceptions are redis-py's own, as its parser makes them."""
    with pytest.raises(RedisStateError) as caught, translated("save", "10.0.0.1:6379"):
        raise error
    assert type(caught.value) is kind
    assert caught.value.transient is transient
    assert "cannot save in Redis at 10.0.0.1:6379" in str(caught.value)
    assert caught.value.remedy or not transient


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": f"http://u:{SECRET}@h"}, "begins with http://"),
        ({"url": "localhost:6379"}, "has no scheme"),
        ({"url": f"redis://u:{SECRET}#x@h"}, "percent-encode"),
        ({"url": f"redis://u:{SECRET}/x@h"}, "percent-encode"),
        ({"url": f"redis://u:{SECRET}@h/orders"}, "not a number"),
        ({"url": f"redis://u:{SECRET}?x@h"}, "percent-encode"),
        ({"url": f"redis://u:{SECRET}@h:port"}, "port is not a number"),
        ({"url": f"redis://u:{SECRET}@h?socket_timeout=soon"}, "socket_timeout"),
        ({"url": f"redis://u:{SECRET}@h?sokket=1"}, "sokket"),
        ({"url": f"redis://h?ssl_cert_reqs=none&password={SECRET}"}, "ssl_cert_reqs"),
        ({"url": f"redis://u:{SECRET}@a,b"}, "cluster = true"),
        ({"url": f"redis://u:{SECRET}@a,b/2", "cluster": True}, "database 0"),
        ({"url": f"redis://u:{SECRET}@a", "cluster": True, "sentinels": "redis://b"}, "exclude each other"),
        ({"url": f"redis://u:{SECRET}@a", "cluster": True, "wait_replicas": 1}, "min-replicas-to-write"),
        ({"url": f"redis://u:{SECRET}@a", "sentinels": "b:26379"}, "sentinels has no scheme"),
        ({"url": "redis://h", "prefix": "a{b"}, "braces"),
        ({"url": "redis://h", "wait_replicas": -1}, "negative"),
    ],
)
def test_K1_K3_wrong_options_are_found_in_the_file_and_never_quoted(options, said):
    document = {
        "pipeline": {
            "name": "p",
            "source": {"type": "mongodb", "uri": "mongodb://h", "watch": ["a.b"]},
            "destination": {"type": "stdout", "serializer": {"type": "json"}},
            "state": {"type": "redis", **options},
        }
    }
    with pytest.raises(InvalidConfigurationError) as caught:
        structure(document, Catalog.discover())
    text = "".join(traceback.format_exception(caught.value))
    (fault,) = caught.value.details
    assert re.search(re.escape(said), fault.message)
    assert SECRET not in text


def test_the_page_about_redis_has_the_rights_the_options_and_the_defaults_that_are_true(monkeypatch):
    page = (Path(__file__).parent.parent.parent / "docs" / "state-redis.md").read_text(encoding="utf-8")
    assert f"\n{ACL}\n" in page
    monkeypatch.setenv("REDIS_URL", "redis://rigatoni:password@mymaster/0")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        document = tomllib.loads(example)
        document["pipeline"] |= {
            "name": "p",
            "source": {"type": "mongodb", "uri": "mongodb://h", "watch": ["a.b"]},
            "destination": {"type": "stdout", "serializer": {"type": "json"}},
        }
        assert isinstance(structure(document, Catalog.discover()).state, RedisStateStore)
    for name in ("lease_ttl", "lease_renew_interval", "lease_retry_interval"):
        (default,) = re.findall(rf'^\| `{name}` \| `"(.+)"` \|', page, re.MULTILINE)
        assert parse_duration(default) == getattr(Settings(), name)
