"""When a snapshot may read and write: in turn with the stream's batches, which always have priority."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a batch of the stream waits for chunks that are being read. Then their reading is abandoned."""


class Turns:
    """Lets chunks be read and written only while no batch of the stream is being delivered.

    So in the order of arrival, too, a row comes after all events up to its time and before all later ones, as long as
    one instance alone writes. Replay by time needs no turns.
    """

    def __init__(self) -> None:
        self._closed = True
        self._active = 0
        self._reading: set[asyncio.Task[object]] = set()
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Let chunks be read and written."""
        self._closed = False
        self._changed.set()

    async def close(self, patience: float = PATIENCE) -> None:
        """Let no chunk begin, and wait for those that have begun.

        Args:
            patience: Seconds after which the reading of chunks is abandoned.
        """
        self._closed = True
        try:
            async with asyncio.timeout(patience):
                await self.until(lambda: not self._active)
        except TimeoutError:
            for task in self._reading:
                task.cancel()
            await self.until(lambda: not self._active)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until chunks may be read and written; `close` waits for the end of this block."""
        await self.until(lambda: not self._closed)
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            self._changed.set()

    async def reading(self, read: Awaitable[T]) -> T | None:
        """Return what was read inside a `turn`; None if a batch could wait no longer, and reading was abandoned."""
        task = asyncio.ensure_future(read)
        self._reading.add(task)
        try:
            await asyncio.wait([task])
            return None if task.cancelled() else task.result()
        finally:
            task.cancel()
            self._reading.discard(task)

    def notify(self) -> None:
        """Let every `until` look again."""
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds; looks whenever something changed."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()
