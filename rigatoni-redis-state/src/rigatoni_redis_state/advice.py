"""Warnings about server settings that put checkpoints at risk: eviction and missing persistence."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from rigatoni_redis_state.connection import Client


async def advice(client: Client) -> tuple[str, ...]:
    """Return one warning per risk, over all masters, or a warning that the settings cannot be read."""
    try:
        servers = await _settings(client)
    except ResponseError as error:
        cause = "the ACL user has no right to INFO" if isinstance(error, NoPermissionError) else str(error)
        return (
            f"cannot check whether Redis may evict or lose checkpoints ({cause}): make sure that maxmemory-policy is "
            "noeviction and that the server saves to disk",
        )
    warnings = [
        f"Redis may evict checkpoints (maxmemory-policy {policy}), and a stream without its checkpoint may skip "
        "changes: set maxmemory-policy to noeviction, or use a Redis that is not a cache"
        for policy in sorted({str(server["maxmemory_policy"]) for server in servers})
        if policy.startswith("allkeys")
    ]
    if not all(server["persistent"] for server in servers):
        warnings.append(
            'Redis keeps its data in memory only (appendonly no, save ""), and loses every checkpoint when it '
            "restarts: set appendonly yes"
        )
    return tuple(warnings)


async def _settings(client: Client) -> list[dict[str, Any]]:
    """Return each master's eviction policy, and whether it saves to disk (assumed if CONFIG is not permitted)."""
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
    """Return each master's `save` setting; nothing if CONFIG is not permitted."""
    try:
        replies = await client.execute_command("CONFIG GET", "save", **node)
    except ResponseError:
        return {}
    return {name: reply.get("save", "") for name, reply in (replies if node else {"": replies}).items()}
