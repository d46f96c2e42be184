"""Retries: delays that double with jitter, the server's own hint, and an end as soon as the pipeline stops."""

import itertools
import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from rigatoni_core.api.bus import publish
from rigatoni_core.api.errors import RigatoniError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Retrying
from rigatoni_core.api.settings import RetrySettings
from rigatoni_core.engine.shutdown import Shutdown

P = ParamSpec("P")
T = TypeVar("T")


def delay_before(attempt: int, settings: RetrySettings, error: BaseException | None) -> float:
    """Return the seconds to wait before attempt `attempt` (2 is the first retry).

    The delay doubles with each attempt, up to `max_retry_delay`, plus or minus a fifth. A longer hint of the server
    (`retry_after`) applies in any case.
    """
    doubled = settings.retry_delay * 2.0 ** min(attempt - 2, 60)
    jittered = min(doubled * random.uniform(0.8, 1.2), settings.max_retry_delay)  # noqa: S311 (no secret)
    hint = error.retry_after if isinstance(error, RigatoniError) else None
    return max(jittered, hint or 0.0)


class Retry:
    """Runs actions of one stream, and repeats those that fail with a `Transient` error.

    Args:
        stream: The stream that notices name.
        settings: How often and after which delays an action is repeated.
        shutdown: Ends the wait for the next attempt.
    """

    def __init__(self, stream: Stream, settings: RetrySettings, shutdown: Shutdown) -> None:
        self._stream = stream
        self._settings = settings
        self._shutdown = shutdown

    async def __call__(self, action: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `action(*args, **kwargs)`.

        Raises:
            Exception: The action's last error after `max_retries`, or its first one that is not `Transient`.
            ShutdownError: The pipeline stops before the next attempt.
        """
        for attempt in itertools.count(1):
            try:
                return await action(*args, **kwargs)
            except Exception as error:
                if not isinstance(error, Transient) or attempt > self._settings.max_retries:
                    raise
                delay = delay_before(attempt + 1, self._settings, error)
                publish(Retrying(stream=self._stream, error=error, attempt=attempt, delay=delay))
            await self._shutdown.pause(delay)
        raise AssertionError("the loop above has no end")
