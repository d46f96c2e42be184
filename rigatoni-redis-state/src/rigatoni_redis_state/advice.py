"""What a server's settings may do to checkpoints: eviction and missing persistence, as warnings in words."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from rigatoni_redis_state.connection import Client


async def advice(client: Client) -> tuple[str, ...]:
    """One warning per danger, over all masters; where the server does not let us look, a warning that says so."""
    try:
        servers = await _settings(client)
    except ResponseError as error:
        cause = "the ACL user has no right to INFO" if isinstance(error, NoPermissionError) else str(error)
        return (
            f"cannot see whether Redis evicts or forgets checkpoints ({cause}): make sure that maxmemory-policy is "
            "noeviction and that the server saves to disk",
        )
    warnings = [
        f"Redis may evict checkpoints (maxmemory-policy {policy}), and a stream that lost its checkpoint may skip "
        "changes: set it to noeviction, or use a Redis that is no cache"
        for policy in sorted({str(server["maxmemory_policy"]) for server in servers})
        if policy.startswith("allkeys")
    ]
    if not all(server["persistent"] for server in servers):
        warnings.append(
            'Redis keeps its data in memory only (appendonly no, save ""), and forgets every checkpoint when it '
            "restarts: set appendonly yes"
        )
    return tuple(warnings)


async def _settings(client: Client) -> list[dict[str, Any]]:
    """The policy of each master, and whether it saves to disk (taken to be so where CONFIG is not allowed)."""
    node = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(client, RedisCluster) else {}
    infos = await client.execute_command("INFO", **node)
    snapshots = await _snapshots(client, node)
    by_node = infos if node else {"": infos}
    return [
        {
            "maxmemory_policy": info.get("maxmemory_policy", ""),
            "persistent": bool(info.get("aof_enabled", 1)) or bool(snapshots.get(name, True)),
        }
        for name, info in by_node.items()
    ]


async def _snapshots(client: Client, node: Mapping[str, Any]) -> Mapping[str, str]:
    """When each master saves snapshots; nothing where we may not ask."""
    try:
        answers = await client.execute_command("CONFIG GET", "save", **node)
    except ResponseError:
        return {}
    return {name: answer.get("save", "") for name, answer in (answers if node else {"": answers}).items()}
