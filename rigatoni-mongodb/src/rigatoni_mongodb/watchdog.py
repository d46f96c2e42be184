"""Notices a stream that gets no reply, which would otherwise look like one without news."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
from rigatoni_core.api.errors import RigatoniError

T = TypeVar("T")

LEAST = 30.0
"""Seconds without a reply that are never too long: an election and a new connection take a few."""

FACTOR = 10
"""How many times longer than a healthy server a reply may take."""


@attrs.define
class Watchdog:
    """Limits the time without a reply; `error` makes the error to raise of that time in seconds.

    `time_to_reply` is how many seconds a healthy server takes at most: the await time, or several where streams take
    turns.

    A server that scans a long oplog for the first event replies late, and would start again if it were given up each
    time. So the limit doubles when it runs out, and returns to its beginning with the next reply: what is abandoned
    takes no longer than what succeeds.
    """

    time_to_reply: float
    error: Callable[[float], RigatoniError]
    _limit: float = attrs.field(default=0.0, init=False)

    async def __call__(self, reply: Awaitable[T]) -> T:
        """Returns what is awaited. Raises the error if it takes longer than the limit."""
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
