"""Retries of one stream: how often, after which delays, and until when."""

import asyncio

import pytest
from rigatoni_core.api.bus import listening
from rigatoni_core.api.errors import DestinationError, ShutdownError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import RetrySettings
from rigatoni_core.engine.retry import Retry, delay_before
from rigatoni_core.engine.shutdown import Shutdown
from rigatoni_testing.clock import run_virtual

STREAM = Stream("p", "a.b")


class DownError(DestinationError, Transient):
    pass


class Action:
    """Raises these errors, one for each call, then returns what it is given."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = []

    async def __call__(self, *args, **kwargs):
        self.calls.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return args, kwargs


class Heard(list):
    def notify(self, notice):
        self.append(notice)


def retry(**settings):
    shutdown = Shutdown(STREAM)
    return Retry(STREAM, RetrySettings(**settings), shutdown), shutdown


def test_an_action_that_succeeds_is_called_once_with_its_arguments():
    async def main():
        action = Action()
        assert await retry()[0](action, 1, key=2) == ((1,), {"key": 2})
        assert len(action.calls) == 1

    run_virtual(main())


def test_transient_errors_are_retried_with_growing_delays_and_reported():
    async def main():
        heard = Heard()
        action = Action(DownError("1"), DownError("2"), DownError("3"))
        with listening([heard]):
            await retry(retry_delay=1.0)[0](action)
        assert [(str(notice.error), notice.attempt) for notice in heard] == [("1", 1), ("2", 2), ("3", 3)]
        waits = [later - earlier for earlier, later in zip(action.calls, action.calls[1:], strict=False)]
        assert waits == pytest.approx([notice.delay for notice in heard])
        assert [0.8 * 2**n <= wait <= 1.2 * 2**n for n, wait in enumerate(waits)] == [True] * 3

    run_virtual(main())


@pytest.mark.parametrize("max_retries", [0, 1, 5])
def test_after_max_retries_the_last_error_is_raised(max_retries):
    async def main():
        action = Action(*(DownError(str(number)) for number in range(100)))
        with pytest.raises(DownError, match=f"^{max_retries}$"):
            await retry(max_retries=max_retries)[0](action)
        assert len(action.calls) == max_retries + 1

    run_virtual(main())


def test_any_other_error_is_raised_at_once():
    async def main():
        for error in (DestinationError("no"), ZeroDivisionError()):
            action = Action(error)
            with pytest.raises(type(error)):
                await retry()[0](action)
            assert len(action.calls) == 1

    run_virtual(main())


def test_a_stop_ends_the_wait_at_once_and_no_attempt_follows():
    async def main():
        calls, (again, shutdown) = Action(*[DownError("down")] * 10), retry(retry_delay=1000.0, max_retry_delay=1000.0)
        asyncio.get_running_loop().call_later(5, shutdown.request)
        with pytest.raises(ShutdownError, match=r"p/a\.b stops"):
            await again(calls)
        assert asyncio.get_running_loop().time() < 6
        with pytest.raises(ShutdownError):
            await again(calls)
        assert len(calls.calls) == 2, "an action is still attempted once: the last batch is written after a stop"

    run_virtual(main())


def test_a_servers_hint_applies_beyond_the_longest_delay():
    settings = RetrySettings(retry_delay=1.0, max_retry_delay=30.0)
    assert delay_before(50, settings, DownError("down")) == 30.0
    assert delay_before(2, settings, DownError("down", retry_after=90.0)) == 90.0
    assert delay_before(10, settings, DownError("down", retry_after=1.0)) == 30.0
