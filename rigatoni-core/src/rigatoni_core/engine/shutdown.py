"""The request to stop, and the waits that it interrupts."""

import asyncio

from rigatoni_core.api.errors import ShutdownError
from rigatoni_core.api.events import Stream


class Shutdown:
    """Whether one worker should stop; once requested, it stays so.

    Args:
        stream: The stream of the worker.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._requested = asyncio.Event()

    @property
    def requested(self) -> bool:
        """Whether the worker should stop."""
        return self._requested.is_set()

    def request(self) -> None:
        """End every `pause` now, and let no retry begin."""
        self._requested.set()

    def check(self) -> None:
        """Raise `ShutdownError` if the worker should stop."""
        if self.requested:
            raise ShutdownError(f"{self._stream} stops")

    async def pause(self, seconds: float) -> None:
        """Wait for this many seconds.

        Raises:
            ShutdownError: A stop was requested before or meanwhile.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._requested.wait()
        except TimeoutError:
            return
        self.check()
