"""A bound on the time that a component may take without making progress."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from rigatoni_core.api.errors import PipelineTimeoutError

LOOKS = 10
"""Progress checks per limit: a stalled step ends at most a tenth of the limit late."""


class time_limit:  # noqa: N801 (used like asyncio.timeout)
    """Abandons an `async with` block after this many seconds, or after this many seconds without progress.

    Args:
        seconds: The limit. who: The subject of the error's sentence. progress: Returns a count that changes while the
        work makes headway. Without it, the limit applies to the whole block.

    Raises:
        PipelineTimeoutError: The limit is over.
    """

    def __init__(self, seconds: float, who: str, progress: Callable[[], int] | None = None) -> None:
        self._seconds = seconds
        self._who = who
        self._progress = progress
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        if self._progress is not None:
            self._loop = asyncio.get_running_loop()
            self._seen = self._progress()
            self._timer = self._loop.call_later(self._seconds / LOOKS, self._look)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._timer.cancel()
        expired = isinstance(error, TimeoutError)
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError:
            expired = True
        if expired:
            failed = "did not respond within" if self._progress is None else "made no progress for"
            raise PipelineTimeoutError(
                f"{self._who} {failed} {self._seconds:g} s",
                remedy="Raise write_timeout if the other side is only slow. Rigatoni retries.",
            ) from None

    def _look(self) -> None:
        """Extend the limit if the count has changed since the last look."""
        if self._progress is None or self._limit.expired():
            return
        if (count := self._progress()) != self._seen:
            self._seen = count
            self._limit.reschedule(self._loop.time() + self._seconds)
        self._timer = self._loop.call_later(self._seconds / LOOKS, self._look)
