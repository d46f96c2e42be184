"""Detects a stream that gets no reply, which would otherwise look idle."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
from rigatoni_core.api.errors import RigatoniError

T = TypeVar("T")

LEAST = 30.0
"""The minimum limit in seconds: an election and a new connection take a few."""

FACTOR = 10
"""The limit as a multiple of a healthy server's time to reply."""


@attrs.define
class Watchdog:
    """Limits the time without a reply.

    A server that scans a long oplog for the first event replies late, and would restart the scan after each abandoned
    attempt. So the limit doubles each time it expires, and is reset by the next reply: all abandoned attempts together
    take no longer than the successful one.

    Attributes:
        time_to_reply: The seconds that a healthy server takes at most: the await time, or a multiple if streams take
            turns.
        error: Creates the error to raise from the seconds waited.
    """

    time_to_reply: float
    error: Callable[[float], RigatoniError]
    _limit: float = attrs.field(default=0.0, init=False)

    async def __call__(self, reply: Awaitable[T]) -> T:
        """Return the reply. Raises the error if it takes longer than the limit."""
        self._limit = self._limit or max(LEAST, FACTOR * self.time_to_reply)
        try:
            async with asyncio.timeout(self._limit) as timer:
                result = await reply
        except TimeoutError:
            if not timer.expired():
                raise
            waited, self._limit = self._limit, self._limit * 2
            raise self.error(waited) from None
        self._limit = 0.0
        return result
