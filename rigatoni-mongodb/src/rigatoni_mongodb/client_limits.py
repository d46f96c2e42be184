"""Checks the driver's client: enough connections, and timeouts longer than the server's wait for events.

A stream's getMore occupies a connection while the server waits for events, and the driver's pool is not fair: streams
beyond its size would starve. So the pool is sized by the streams, and streams take turns in a smaller pool.
"""

import asyncio
from types import TracebackType
from typing import Any

from rigatoni_mongodb.errors import MongoDBConfigurationError

MARGIN = 4
"""Connections for other requests: opening and closing cursors, listing collections, reading the operation time."""

DEFAULT_SIZE = 100
"""The driver's own maxPoolSize (MongoDB manual, "Connection String Options")."""


def size_for(streams: int) -> int:
    """Return the maxPoolSize for this many streams; at least the driver's default."""
    return max(DEFAULT_SIZE, streams + MARGIN)


def is_short(size: int, streams: int) -> bool:
    """Return whether the pool is too small for all streams to wait for events at once. Size 0 means no limit."""
    return 0 < size < streams + MARGIN


class Turns:
    """A context for each use of a connection: first in, first out if the pool is too small.

    `connections` is 0 if there are enough; then entering is free. One connection is reserved for the driver itself, or
    for the program that shares its client.
    """

    def __init__(self, connections: int = 0) -> None:
        self._semaphore = asyncio.Semaphore(max(1, connections - 1)) if connections else None

    async def __aenter__(self) -> None:
        if self._semaphore is not None:
            await self._semaphore.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._semaphore is not None:
            self._semaphore.release()


def time_to_reply(size: int, streams: int, max_await_time: float) -> float:
    """Return the seconds within which a healthy server replies to each stream, including turns."""
    rounds = -(-streams // max(1, size - 1)) if is_short(size, streams) else 1
    return rounds * max_await_time


def shortage(size: int, streams: int, max_await_time: float) -> str:
    """Describe the cost of a pool that is too small."""
    delay = time_to_reply(size, streams, max_await_time)
    return (
        f"maxPoolSize = {size} of the MongoDB client is too small for {streams} streams: they take turns, and events "
        f"arrive up to {delay:g} s late. Set maxPoolSize to at least {streams + MARGIN}, or remove it from the uri"
    )


def check_timeouts(options: Any, max_await_time: float) -> None:
    """Check that the client waits longer than the server does for events.

    Args:
        options: The `options` of PyMongo's client.
        max_await_time: Seconds that the server waits.

    Raises:
        MongoDBConfigurationError: The client would time out before each reply without events.
    """
    limits = {"socketTimeoutMS": options.pool_options.socket_timeout, "timeoutMS": options.timeout}
    for name, seconds in limits.items():
        if seconds and seconds <= max_await_time:
            raise MongoDBConfigurationError(
                f"{name} = {seconds * 1000:.0f} of the MongoDB client is not longer than max_await_time = "
                f"{max_await_time:g} s: the driver would time out before every reply without events",
                remedy=f"Remove {name} from the uri, set it to {max_await_time * 1000 + 10_000:.0f} or more, or lower "
                "max_await_time.",
            )


def check_load_balancer(options: Any, size: int, streams: int) -> None:
    """Check that a client behind a load balancer has a connection for each stream: such cursors do not share them.

    Raises:
        MongoDBConfigurationError: It has fewer connections.
    """
    if options.load_balanced and is_short(size, streams):
        raise MongoDBConfigurationError(
            f"maxPoolSize = {size} of the MongoDB client is too small for {streams} streams behind a load balancer",
            remedy=f"Set maxPoolSize to at least {streams + MARGIN}, or remove it from the uri.",
        )
