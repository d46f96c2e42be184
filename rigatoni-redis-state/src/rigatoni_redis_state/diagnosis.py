"""The checks of `rigatoni doctor` for Redis: what makes a later save fail or undoes it. They only read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError
from rigatoni_core.api.contracts import Finding
from rigatoni_core.api.words import size

from rigatoni_redis_state.connection import Client

OLDEST = (6, 2)
FULL = 0.9
"""The share of `maxmemory` above which doctor warns."""


async def look(client: Client, wait_replicas: int) -> Sequence[Finding]:
    """Report each master's version, memory, disk and replicas.

    Args:
        client: The connection.
        wait_replicas: The replicas that must confirm a save.
    """
    node = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(client, RedisCluster) else {}
    try:
        infos = await client.execute_command("INFO", **node)
    except ResponseError:
        return [Finding("not checked", "the ACL user has no right to INFO", "Grant it: ACL SETUSER <user> +info.")]
    by_node: Mapping[str, Mapping[str, Any]] = infos if node else {"the server": infos}
    return [finding for name, info in by_node.items() for finding in _findings(name, info, wait_replicas)]


def _findings(name: str, info: Mapping[str, Any], wait_replicas: int) -> Iterator[Finding]:
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < OLDEST:
        yield Finding("error", f"{name} is Redis {version}, older than 6.2", "Upgrade it: scripts need Redis 6.2.")
    yield from _memory(name, info)
    for field, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "append-only file")):
        if info.get(field, "ok") != "ok":
            remedy = "Free space on its disk, and check its log: checkpoints are lost when it restarts."
            yield Finding("error", f"{name} could not write its last {what} to disk", remedy)
    replicas = int(info.get("connected_slaves", 0))
    figures = {"replicas": float(replicas)}
    if replicas < wait_replicas:
        seen = f"{name} has {replicas} connected replicas, but wait_replicas is {wait_replicas}: saves fail"
        yield Finding("error", seen, "Repair the replicas, or lower wait_replicas.", figures)
    elif replicas and not wait_replicas:
        seen = f"{name} has {replicas} replicas and does not wait for them: a failover may undo the last saves"
        yield Finding("ok", f"{seen}, and the events since are read again", figures=figures)
    else:
        yield Finding("ok", f"{name} is version {version}, with {replicas} replicas", figures=figures)


def _memory(name: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    used, most = float(info.get("used_memory", 0)), float(info.get("maxmemory", 0))
    figures = {"used_bytes": used, "maximum_bytes": most}
    if most and used > FULL * most:
        seen = f"{name} uses {size(used)} of its {size(most)} (maxmemory): at the limit it refuses saves"
        yield Finding("warning", seen, "Raise maxmemory, or move other data elsewhere.", figures)
    else:
        limit = f"of {size(most)}" if most else "without a limit"
        yield Finding("ok", f"{name} uses {size(used)} {limit}", figures=figures)
