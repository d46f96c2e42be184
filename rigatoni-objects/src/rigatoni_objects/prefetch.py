"""Prefetches work on batches, such as serialization, while the previous batch is in flight."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Generic, Protocol, TypeVar

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.events import Stream
from rigatoni_core.api.executor import DaemonExecutor

T = TypeVar("T")


class Executor(Protocol):
    """Runs calls in the background."""

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Submit a call; return the future of its result."""

    def close(self) -> None:
        """Start no more calls. Does not wait for running ones."""


@attrs.frozen(eq=False)
class _Begun(Generic[T]):
    """A prefetched batch; `waiting` holds it until a thread starts its work."""

    events: EventBatch
    waiting: list[EventBatch]
    future: Future[T]

    def cancel(self) -> bool:
        """Return whether no thread had started; then none will, and the batch can be freed."""
        cancelled = self.future.cancel()
        if cancelled:
            self.waiting.clear()
        return cancelled


class PrefetchPool(Generic[T]):
    """Computes `work(batch)` ahead of time for the batches passed to `begin`. Use it on the event loop.

    Args:
        name: The name of the threads.
        work: Returns the same result for the same batch. Called on several threads at once.
        executor: Creates the executor; default: daemon threads, one per core.
    """

    def __init__(
        self, name: str, work: Callable[[EventBatch], T], executor: Callable[[], Executor] | None = None
    ) -> None:
        self._work = work
        self._executor = executor or (lambda: DaemonExecutor(name, _cores()))
        self._lane: Executor | None = None
        self._at_work: set[object] = set()  # one for each batch that a thread works on
        self._begun: dict[str, list[_Begun[T]]] = {}  # by stream

    def begin(self, events: EventBatch) -> None:
        """Start work on this batch unless all cores are busy. Its result is kept until it is used or discarded."""
        if len(self._at_work) >= max(_cores(), 2):
            return
        if self._lane is None:
            try:
                self._lane = self._executor()
            except RuntimeError:  # thread limit reached: `result` does the work instead
                return
        waiting = [events]
        future = self._lane.begin(lambda: self._do(waiting.pop()))
        self._begun.setdefault(events.stream.key, []).append(_Begun(events, waiting, future))

    def discard(self, stream: Stream) -> None:
        """Drop this stream's prefetched work; cancel tasks that have not started."""
        for begun in self._begun.pop(stream.key, []):
            begun.cancel()

    def result(self, events: EventBatch) -> Callable[[], T]:
        """Return a function for any thread: it waits for the prefetched result, or else does the work itself.

        The function raises what `work` raises.
        """
        all_begun = self._begun.get(events.stream.key, [])
        for begun in all_begun:
            if begun.events is events:
                all_begun.remove(begun)
                return partial(self._do, events) if begun.cancel() else begun.future.result
        return partial(self._do, events)

    def _do(self, events: EventBatch) -> T:
        turn = object()
        self._at_work.add(turn)
        try:
            return self._work(events)
        finally:
            self._at_work.discard(turn)

    def close(self) -> None:
        """Stop the threads. Does not wait."""
        if self._lane is not None:
            self._lane.close()
        self._lane = None
        self._begun.clear()


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
