"""The hook: what this distribution contributes."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_redis() -> type[Any]:
    from rigatoni_redis_state.store import RedisStateStore

    return RedisStateStore


@hookimpl
def rigatoni_states() -> Iterator[Component]:
    yield Component(
        "redis", load_redis, summary="Redis or Valkey; keeps leases, so several instances share the streams"
    )
