"""A bound on the time that a component may take without making progress."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rigatoni_core.api.errors import PipelineTimeoutError

LOOKS = 10
"""How often progress is looked at within one limit: a stalled step ends at most a tenth of the limit too late."""


@asynccontextmanager
async def time_limit(seconds: float, who: str, progress: Callable[[], int] | None = None) -> AsyncIterator[None]:
    """Abandon the block after so many seconds, or after so many seconds without progress.

    Args:
        seconds: The limit.
        who: Whose work it is, as the subject of the error's sentence.
        progress: Returns a count that grows while the work makes headway. Without it the whole block is bounded.

    Raises:
        PipelineTimeoutError: The limit is over.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds) as limit:
            if progress is None:
                yield
                return
            seen, look = progress(), None

            def look_again() -> None:
                nonlocal seen, look
                if limit.expired():
                    return
                if (count := progress()) != seen:
                    seen = count
                    limit.reschedule(loop.time() + seconds)
                look = loop.call_later(seconds / LOOKS, look_again)

            look = loop.call_later(seconds / LOOKS, look_again)
            try:
                yield
            finally:
                look.cancel()
    except TimeoutError:
        failed = "did not respond within" if progress is None else "made no progress for"
        raise PipelineTimeoutError(
            f"{who} {failed} {seconds:g} s",
            remedy="Rigatoni retries. Raise write_timeout if the other side is only slow.",
        ) from None
