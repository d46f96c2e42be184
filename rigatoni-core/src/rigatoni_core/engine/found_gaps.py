"""Losses that a source notices while it reads, such as a collection renamed into the watched namespace."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.bus import publish
from rigatoni_core.api.events import Gap, Stream
from rigatoni_core.api.notices import GapRecorded
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.retry import Retry


class FoundGaps:
    """Takes the gaps from what a source yields, and records them before the checkpoint moves past them.

    The source yields a gap before the events that follow it. So every later save includes it, although events wait in a
    buffer in between. A gap recorded before a crash is recognized when it is found again.

    Args:
        stream: The stream.
        checkpoint: Where gaps are recorded.
        retry: Repeats a save that failed with a `Transient` error.
        before: Is called with each gap before it is recorded. It may be called twice for one gap.
    """

    def __init__(
        self, stream: Stream, checkpoint: CheckpointKeeper, retry: Retry, before: Callable[[Gap], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._checkpoint = checkpoint
        self._retry = retry
        self._before = before
        self._found: list[Gap] = []

    async def sifted(self, items: AsyncIterator[EventBatch | Heartbeat]) -> AsyncIterator[EventBatch | Heartbeat]:
        """Yield the items unchanged; their gaps are kept for `record`."""
        async with aclosing(cast("AsyncGenerator[EventBatch | Heartbeat]", items)) as reading:
            async for item in reading:
                if isinstance(item, Heartbeat):
                    self._found += item.gaps
                yield item

    async def record(self) -> None:
        """Record the gaps found since the last call."""
        while self._found:
            gap = self._found[0]
            known = gap in self._checkpoint.gaps
            if not known:
                await self._before(gap)
            await self._retry(self._checkpoint.note_gap, gap)
            self._found.pop(0)
            if not known:
                publish(GapRecorded(stream=self._stream, gap=gap))
