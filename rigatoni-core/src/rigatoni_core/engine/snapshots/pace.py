"""How fast a snapshot reads: as much at once as the server bears, and never more than configured."""

import asyncio
from collections.abc import Callable

LEAST = 64 * 1024
"""The smallest size of a chunk in bytes."""

SLOWER = 2.0
"""A chunk that takes this many times longer per byte than the best recent one means that the server is busy."""


class Pace:
    """Additive increase and multiplicative decrease of what is read at a time, and a ceiling in bytes per second.

    Args:
        concurrency: Ranges read at a time, at most.
        chunk: The size of a chunk in bytes, at most.
        max_rate: Bytes per second, at most; None for no ceiling.
        clock: Returns the time in seconds.
    """

    def __init__(self, concurrency: int, chunk: int, max_rate: int | None, clock: Callable[[], float]) -> None:
        self._most = concurrency
        self._width = float(concurrency)
        self._largest = chunk
        self._chunk = chunk
        self._max_rate = max_rate
        self._clock = clock
        self._free_at = float("-inf")
        self._best: float | None = None  # seconds per byte

    @property
    def width(self) -> int:
        """How many ranges may be read at a time now."""
        return max(1, int(self._width))

    @property
    def chunk(self) -> int:
        """The size of the next chunk in bytes."""
        return self._chunk

    def succeeded(self, nbytes: int, seconds: float) -> None:
        """Note a chunk that was read in this time."""
        each = seconds / max(nbytes, LEAST)
        if self._best is not None and each > SLOWER * self._best:
            self._width = max(1.0, self._width / 2)
            self._best *= 1.1  # an old record is forgotten
            return
        self._best = each if self._best is None else min(each, self._best * 1.01)
        self._width = min(self._most, self._width + 1 / self._width)
        self._chunk = min(self._largest, self._chunk + self._largest // 16)

    def failed(self) -> None:
        """Note an error of the server, or a stream that falls behind: half as much at once."""
        self._width = max(1.0, self._width / 2)

    def shrink(self) -> None:
        """Let chunks be half as large: one could not be read in time."""
        self._chunk = max(min(LEAST, self._largest), self._chunk // 2)

    async def wait(self) -> None:
        """Wait until `max_rate` allows more."""
        await asyncio.sleep(max(0.0, self._free_at - self._clock()))

    def read(self, nbytes: int) -> None:
        """Note bytes that were read, for `max_rate`."""
        if self._max_rate is not None:
            self._free_at = max(self._free_at, self._clock()) + nbytes / self._max_rate
