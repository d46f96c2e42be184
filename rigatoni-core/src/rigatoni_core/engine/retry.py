"""Trying again: delays that double with jitter, the server's own hint, and an end when the pipeline stops.

The only room that sleeps. The loop is tenacity's; ours are the delay and the wish to stop.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from rigatoni_core.api.bus import publish
from rigatoni_core.api.errors import PipelineTimeoutError, RigatoniError, ShutdownError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Retrying
from rigatoni_core.api.settings import RetrySettings

P = ParamSpec("P")
T = TypeVar("T")


def delay_before(attempt: int, settings: RetrySettings, error: BaseException | None) -> float:
    """Seconds to wait before attempt `attempt` (2 is the first retry): doubling, capped, plus or minus a fifth.

    A hint of the server (`retry_after`) that is longer is honoured whatever the cap.
    """
    doubled = settings.retry_delay * 2.0 ** min(attempt - 2, 60)
    jittered = min(doubled * random.uniform(0.8, 1.2), settings.max_retry_delay)  # noqa: S311 (no secret)
    hint = error.retry_after if isinstance(error, RigatoniError) else None
    return max(jittered, hint or 0.0)


async def sleep(seconds: float) -> None:
    """Wait, whatever happens."""
    await asyncio.sleep(seconds)


@asynccontextmanager
async def time_limit(seconds: float, who: str) -> AsyncIterator[None]:
    """Within this block, abandon what takes longer: `PipelineTimeoutError`. `who` should have answered."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise PipelineTimeoutError(
            f"{who} did not answer within {seconds} s",
            remedy="It is tried again. Raise write_timeout if it is only slow.",
        ) from None


class Retry:
    """Runs the actions of one stream, again and again while they fail with a `Transient` error."""

    def __init__(self, stream: Stream, settings: RetrySettings) -> None:
        self._stream = stream
        self._settings = settings
        self._stopping = asyncio.Event()
        self.rounds = 0
        """How often the worker was entered again since something was delivered."""

    def stop(self) -> None:
        """End every wait now, and let no further attempt begin after a failed one."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    async def __call__(self, action: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `action(*args)`. Its last error once `max_retries` are used up; any other error at once."""
        try:
            return await action(*args, **kwargs)  # nearly always all goes well, and the loop costs more than an attempt
        except Exception as error:
            if not isinstance(error, Transient):
                raise
            failures = [error]

        async def attempt() -> T:
            if failures:
                raise failures.pop()  # the attempt above is the loop's first
            return await action(*args, **kwargs)

        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, Transient)),
            stop=stop_after_attempt(self._settings.max_retries + 1),
            wait=self._delay,
            before_sleep=self._announce,
            sleep=self.pause,
            reraise=True,
        )
        return await attempts(attempt)

    async def pause(self, seconds: float) -> None:
        """Wait; raises `ShutdownError` as soon as the pipeline stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise ShutdownError(f"{self._stream} stops: what was to be tried again is abandoned")

    def next_round(self, error: RigatoniError) -> float:
        """Seconds until the whole worker should be entered again; grows with every round without progress."""
        self.rounds += 1
        return delay_before(self.rounds + 1, self._settings, error)

    def progress(self) -> None:
        """Something was delivered: the next trouble starts with a short delay again."""
        self.rounds = 0

    def _delay(self, state: RetryCallState) -> float:
        return delay_before(state.attempt_number + 1, self._settings, _error(state))

    def _announce(self, state: RetryCallState) -> None:
        error = _error(state)
        if error is not None and state.next_action is not None:
            publish(
                Retrying(stream=self._stream, error=error, attempt=state.attempt_number, delay=state.next_action.sleep)
            )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
