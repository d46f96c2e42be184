"""What reading needs of the driver's client: enough connections, and timeouts that let the server wait for events.

A stream's getMore occupies a connection while the server waits for events, and the driver's pool is not fair: streams
beyond its size would never be read. So the pool is sized by the streams, and streams take turns in a smaller one.
"""

import asyncio
from types import TracebackType
from typing import Any

from rigatoni_mongodb.errors import MongoDBConfigurationError

MARGIN = 4
"""Connections for what is not reading: opening and closing cursors, looking at collections, asking for the time."""

DEFAULT_SIZE = 100
"""The driver's own maxPoolSize (MongoDB manual, "Connection String Options")."""


def size_for(streams: int) -> int:
    """Returns the maxPoolSize that this many streams need; never less than the driver's default."""
    return max(DEFAULT_SIZE, streams + MARGIN)


def is_short(size: int, streams: int) -> bool:
    """Whether the pool is too small for all streams to wait for events at once. A size of 0 has no limit."""
    return 0 < size < streams + MARGIN


class Turns:
    """A context to enter for each use of a connection: first in, first out if the pool is too small.

    `connections` is 0 if there are enough, and then entering costs nothing. One connection is left for the driver's own
    upkeep, or for the program that shares its client.
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
    """Returns the seconds within which a healthy server replies to each stream, turns included."""
    rounds = -(-streams // max(1, size - 1)) if is_short(size, streams) else 1
    return rounds * max_await_time


def shortage(size: int, streams: int, max_await_time: float) -> str:
    """Says what a pool that is too small costs."""
    delay = time_to_reply(size, streams, max_await_time)
    return (
        f"maxPoolSize = {size} of the MongoDB client is too small for {streams} streams: they take turns, and events "
        f"arrive up to {delay:g} s late. Set maxPoolSize to at least {streams + MARGIN}, or leave it out of the uri"
    )


def check_timeouts(options: Any, max_await_time: float) -> None:
    """Checks that the client waits longer than the server does for events.

    Args:
        options: The `options` of PyMongo's client.
        max_await_time: Seconds that the server waits.

    Raises:
        MongoDBConfigurationError: The client gives every reply without events up before it comes.
    """
    limits = {"socketTimeoutMS": options.pool_options.socket_timeout, "timeoutMS": options.timeout}
    for name, seconds in limits.items():
        if seconds and seconds <= max_await_time:
            raise MongoDBConfigurationError(
                f"{name} = {seconds * 1000:.0f} of the MongoDB client is not longer than max_await_time = "
                f"{max_await_time:g} s: the driver would give up every reply that has no events",
                remedy=f"Remove {name} from the uri, set it to {max_await_time * 1000 + 10_000:.0f} or more, or lower "
                "max_await_time.",
            )


def check_load_balancer(options: Any, size: int, streams: int) -> None:
    """Checks that a client behind a load balancer has a connection for each stream: such cursors do not share them.

    Raises:
        MongoDBConfigurationError: It has fewer.
    """
    if options.load_balanced and is_short(size, streams):
        raise MongoDBConfigurationError(
            f"maxPoolSize = {size} of the MongoDB client is too small for {streams} streams behind a load balancer",
            remedy=f"Set maxPoolSize to at least {streams + MARGIN}, or leave it out of the uri.",
        )
