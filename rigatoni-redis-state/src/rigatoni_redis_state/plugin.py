"""The hook that registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_redis() -> type[Any]:
    """Return the class, imported on first use."""
    from rigatoni_redis_state.store import RedisStateStore

    return RedisStateStore


@hookimpl
def rigatoni_states() -> Iterator[Component]:
    """Register the state store `redis`."""
    yield Component("redis", load_redis, summary="Checkpoints and leases in Redis or Valkey, for several instances")
