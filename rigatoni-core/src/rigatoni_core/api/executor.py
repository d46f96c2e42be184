"""Blocking calls off the event loop, on threads that nobody has to wait for."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonExecutor:
    """Runs calls one after another on one thread of its own; `width` of them at once, where that is more.

    A call that hangs holds up this lane only: other lanes go on, and the process can exit, since the thread is a
    daemon. (The threads of `asyncio.to_thread` are few, shared by all, and waited for at exit.) A call whose caller
    gave up while it waited for its turn is not begun.
    """

    def __init__(self, name: str, width: int = 1) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._width = width
        try:
            for _ in range(width):
                Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system allows no more of them
            self.close()
            raise

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result. Cancelling does not end a call that has begun: it must be harmless if it ends late."""
        return await asyncio.wrap_future(self.begin(call))

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Where the call's result will be."""
        future: Future[T] = Future()
        context = contextvars.copy_context()
        self._calls.put((future, lambda: context.run(call)))
        return future

    def close(self) -> None:
        """End the threads after the calls they have; does not wait."""
        for _ in range(self._width):
            self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            del item, future, call  # a waiting thread keeps no batch alive


async def on_own_thread(name: str, call: Callable[[], T]) -> T:
    """The result of one call, from a thread that lives no longer than it; for what is seldom and may hang."""
    lane = DaemonExecutor(name)
    try:
        return await lane.run(call)
    finally:
        lane.close()
