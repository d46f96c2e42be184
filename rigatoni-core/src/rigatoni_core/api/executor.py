"""Blocking calls off the event loop, on threads that do not delay the exit."""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonExecutor:
    """Runs calls in order on its own daemon threads.

    A call that hangs blocks this executor only. Others continue, and the process can exit, because its threads are
    daemons. (The threads of `asyncio.to_thread` are few, shared, and joined at exit.) A call that was cancelled while
    it was queued is not started.

    Args:
        name: The name of the threads, for debuggers.
        width: The number of threads, and so of calls that run at once.

    Raises:
        RuntimeError: The system cannot start a thread.
    """

    def __init__(self, name: str, width: int = 1) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._width = width
        try:
            for _ in range(width):
                Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system allows no more threads
            self.close()
            raise

    async def run(self, call: Callable[[], T]) -> T:
        """Return the call's result. Cancelling does not end a running call, which must be harmless if it ends late.

        Args:
            call: A blocking function. It runs in the caller's context (`contextvars`).
        """
        return await asyncio.wrap_future(self.begin(call))

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call and return the future of its result.

        Args:
            call: A blocking function. It runs in the caller's context (`contextvars`).

        Returns:
            The future. Cancelling it drops a queued call.
        """
        future: Future[T] = Future()
        context = contextvars.copy_context()
        self._calls.put((future, lambda: context.run(call)))
        return future

    def close(self) -> None:
        """End the threads after the queued calls; does not wait."""
        for _ in range(self._width):
            self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            _make(future, call)
            del item, future, call  # a waiting thread keeps no batch alive


class SerialExecutor:
    """Runs calls one after another on one daemon thread, which exists only while there are calls.

    For calls that may hang, such as those to a network file system, and that callers retry. At most one thread hangs.
    A caller that is cancelled (by a timeout, for example) abandons its call. Once an abandoned call has lasted for
    `patience`, further calls fail at once. Before that they wait in order, so that a call that is only slow finishes
    first and never overtakes a later one. Nothing needs closing.

    Args:
        name: The thread's name.
        stuck: Returns the error of a call that fails at once, given the seconds since the call that hangs began.
            Its type should derive from `Transient`.
        patience: Seconds.
    """

    def __init__(self, name: str, stuck: Callable[[float], Exception], patience: float = 1.0) -> None:
        self._name = name
        self._stuck = stuck
        self._patience = patience
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._lock = Lock()
        self._busy = False
        self._began = 0.0  # when the thread started its current call
        self._abandoned: tuple[Future[Any], float] | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Return the call's result. Cancelling does not end a running call, and drops a queued one.

        Args:
            call: A blocking function. It runs in the caller's context (`contextvars`).
        """
        now, abandoned = time.monotonic(), self._abandoned
        if abandoned and not abandoned[0].done() and now - abandoned[1] > self._patience:
            raise self._stuck(now - self._began)
        future = self.begin(call)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if future.running():
                self._abandoned = future, time.monotonic()
            raise

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call after all others, even hanging ones, and return the future of its result.

        Args:
            call: A blocking function. It runs in the caller's context (`contextvars`).

        Returns:
            The future. Cancelling it drops a queued call.
        """
        future: Future[T] = Future()
        context = contextvars.copy_context()
        with self._lock:
            if not self._busy:
                Thread(target=self._run, name=self._name, daemon=True).start()
                self._busy = True
            self._calls.append((future, lambda: context.run(call)))
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._busy = False
                    return
                future, call = self._calls.popleft()
                self._began = time.monotonic()
            _make(future, call)
            if self._abandoned and self._abandoned[0] is future:
                self._abandoned = None
            del future, call


def _make(future: Future[Any], call: Callable[[], Any]) -> None:
    """Make the call unless it was cancelled, and set its result."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
