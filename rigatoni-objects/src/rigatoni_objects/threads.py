"""Threads for the blocking work of a destination of objects. The process does not wait for them at exit."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Protocol, TypeVar

from rigatoni_core.api.events import Stream
from rigatoni_core.api.executor import DaemonExecutor

T = TypeVar("T")


class Runner(Protocol):
    """Runs the calls of a stream's chain; the simulator has its own."""

    async def run(self, stream: Stream, call: Callable[[], T]) -> T:
        """Return the call's result. Calls of one stream run one after another, in order."""

    def each(self, stream: Stream, calls: Sequence[Callable[[], T]]) -> Sequence[T]:
        """Return the results of all calls, which may run concurrently. Called from a call of that stream.

        If calls fail, one error is raised after all have ended, preferably one that retrying cannot fix.
        """

    def close(self) -> None:
        """Stop the threads. A thread that hangs is abandoned and does not keep the process alive."""


class Threads:
    """A `Runner` with one thread per stream, and `width` more for a stream whose batches have several objects.

    Streams do not share threads, so a store that hangs for one stream does not block another.
    """

    def __init__(self, name: str, width: int) -> None:
        self._name = name
        self._width = width
        self._lanes: dict[str, DaemonExecutor] = {}
        self._wide: dict[str, DaemonExecutor] = {}

    async def run(self, stream: Stream, call: Callable[[], T]) -> T:
        """Run a call on the thread of a stream and return its result."""
        if stream.key not in self._lanes:
            self._lanes[stream.key] = DaemonExecutor(f"{self._name} {stream}")
        return await self._lanes[stream.key].run(call)

    def each(self, stream: Stream, calls: Sequence[Callable[[], T]]) -> Sequence[T]:
        """Run calls on several threads of a stream and return their results in order. Blocks."""
        if len(calls) < 2:
            return [call() for call in calls]
        if stream.key not in self._wide:
            self._wide[stream.key] = DaemonExecutor(f"{self._name} objects of {stream}", self._width)
        futures = [self._wide[stream.key].begin(call) for call in calls]
        wait(futures)
        raise_most_severe(futures)
        return [future.result() for future in futures]

    def close(self) -> None:
        """Stop all threads; abandon calls that hang."""
        for executor in (*self._lanes.values(), *self._wide.values()):
            executor.close()
        self._lanes.clear()
        self._wide.clear()


def raise_most_severe(futures: Sequence[Future[T]]) -> None:
    """Raise an error of these completed futures, if any; preferably one that retrying cannot fix."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise min(errors, key=lambda error: bool(getattr(error, "transient", False)))
