"""Creates a redis-py client from the options: for one server, for a master that Sentinels report, or for a cluster."""

from contextlib import AsyncExitStack
from typing import Any

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from rigatoni_core.api.options import Secret

from rigatoni_redis_state.address import Address
from rigatoni_redis_state.errors import translated

Client = Redis | RedisCluster


class Endpoint:
    """The servers that the options name. Does not connect.

    Args:
        url: One server, the nodes of a cluster, or the Sentinels' service name as host.
        sentinels: The Sentinels that report the master.
        cluster: Whether `url` names nodes of a Redis Cluster.

    Raises:
        ValueError: The options contradict each other.
    """

    def __init__(self, url: Secret, sentinels: Secret | None, cluster: bool) -> None:
        self._address = Address.parse(url.reveal(), "url")
        self._sentinels = Address.parse(sentinels.reveal(), "sentinels") if sentinels else None
        self.cluster = cluster
        if cluster and self._sentinels:
            raise ValueError("cluster and sentinels exclude each other: a cluster fails over by itself")
        if cluster and self._address.arguments.get("db"):
            raise ValueError("a Redis Cluster has only database 0: leave it out of the url")
        if not cluster and len(self._address.hosts) > 1:
            raise ValueError("url names several hosts, which only a cluster has: set cluster = true")

    @property
    def max_connections(self) -> int:
        """The number of commands that may run at once. redis-py rejects more than it has connections for."""
        return int(self._address.arguments["max_connections"])

    def __str__(self) -> str:
        return f"{self._address} (by sentinels {self._sentinels})" if self._sentinels else str(self._address)

    async def open(self, stack: AsyncExitStack) -> Client:
        """Return a client, which `stack` closes. It never retries, because core retries and reports it."""
        arguments = {**self._address.arguments, "retry": Retry(NoBackoff(), 0)}
        if self.cluster:
            return await self._open_cluster(stack, arguments)
        if self._sentinels:
            return await self._open_master(stack, self._sentinels, arguments)
        pool = ConnectionPool(**self._connection(), **arguments)
        stack.push_async_callback(pool.aclose)
        return Redis(connection_pool=pool)

    async def _open_cluster(self, stack: AsyncExitStack, arguments: dict[str, Any]) -> Client:
        nodes = [ClusterNode(host, port) for host, port in self._address.at(6379)]
        client = RedisCluster(startup_nodes=nodes, ssl=self._address.encrypted, **arguments)
        stack.push_async_callback(client.aclose)
        with translated("find the nodes of the cluster", str(self)):
            await client.initialize()
        return client

    async def _open_master(self, stack: AsyncExitStack, sentinels: Address, arguments: dict[str, Any]) -> Client:
        ((service, _),) = self._address.hosts
        for_sentinels = {**sentinels.arguments, "ssl": sentinels.encrypted, "retry": Retry(NoBackoff(), 0)}
        sentinel: Any = Sentinel(sentinels.at(26379), sentinel_kwargs=for_sentinels)  # type: ignore[no-untyped-call]
        stack.push_async_callback(sentinel.aclose)
        client: Redis = sentinel.master_for(service, ssl=self._address.encrypted, **arguments)
        stack.push_async_callback(client.aclose)
        return client

    def _connection(self) -> dict[str, Any]:
        """Return the connection class and address of a single server."""
        if "path" in self._address.arguments:
            return {"connection_class": UnixDomainSocketConnection}
        ((host, port),) = self._address.at(6379)
        return {
            "connection_class": SSLConnection if self._address.encrypted else Connection,
            "host": host,
            "port": port,
        }
