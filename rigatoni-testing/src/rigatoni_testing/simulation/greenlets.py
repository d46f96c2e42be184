"""Blocking code on an event loop without threads: each call is a greenlet that the loop resumes.

A destination's chain blocks; in production it runs on threads. Here it must be deterministic and fast: switching
between greenlets takes less than a microsecond.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar, cast

from greenlet import getcurrent, greenlet
from rigatoni_core.api.events import Stream

T = TypeVar("T")


async def in_greenlet(call: Callable[[], T]) -> T:
    """Return the result of a call that blocks with `wait_for`."""
    current = greenlet(call)
    current.gr_context = contextvars.copy_context()
    result = current.switch()
    while not current.dead:
        try:
            value = await cast("Awaitable[object]", result)
        except BaseException as error:
            result = current.throw(error)
        else:
            result = current.switch(value)
    return cast("T", result)


def wait_for(awaitable: Awaitable[T]) -> T:
    """Return the awaitable's result; blocks the call that `in_greenlet` runs."""
    parent = getcurrent().parent
    assert parent is not None, "called outside of in_greenlet"
    return cast("T", parent.switch(awaitable))


class Greenlets:
    """A `rigatoni_objects.threads.Runner` without threads."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}

    async def run(self, stream: Stream, call: Callable[[], T]) -> T:
        """See `Runner`. As with threads, cancelling does not end a running call."""
        turn = self._turns.setdefault(stream.key, asyncio.Lock())

        async def in_turn() -> T:
            async with turn:
                return await in_greenlet(call)

        return await asyncio.shield(asyncio.ensure_future(in_turn()))

    def each(self, stream: Stream, calls: Sequence[Callable[[], T]]) -> Sequence[T]:
        """See `Runner`."""
        if len(calls) < 2:
            return [call() for call in calls]
        results = wait_for(asyncio.gather(*map(in_greenlet, calls), return_exceptions=True))
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise min(errors, key=lambda error: bool(getattr(error, "transient", False)))
        return cast("Sequence[T]", results)

    def close(self) -> None:
        """See `Runner`."""


class AtOnce:
    """An executor that finishes each call before `begin` returns."""

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """The call's result."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Do nothing: there are no threads."""
