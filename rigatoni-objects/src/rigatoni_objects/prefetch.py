"""Work on batches that is begun before their turn, while the batch before is being written."""

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
    """What runs calls in the background."""

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Where the call's result will be."""

    def close(self) -> None:
        """Begin no more calls; does not wait."""


@attrs.frozen(eq=False)
class _Begun(Generic[T]):
    """A batch that was begun; `waiting` holds it for the thread that will come to it."""

    events: EventBatch
    waiting: list[EventBatch]
    future: Future[T]

    def cancel(self) -> bool:
        """Whether no thread has come to it; none will, and none holds the batch."""
        cancelled = self.future.cancel()
        if cancelled:
            self.waiting.clear()
        return cancelled


class PrefetchPool(Generic[T]):
    """What `work` answers for batches, made early for those that `begin` names: as many at once as there are cores.

    `work` runs on several threads, and must give the same for the same batch. Use this on the event loop. `executor`
    makes what it runs on; default: daemon threads, as many as there are cores.
    """

    def __init__(
        self, name: str, work: Callable[[EventBatch], T], executor: Callable[[], Executor] | None = None
    ) -> None:
        self._work = work
        self._executor = executor or (lambda: DaemonExecutor(name, _cores()))
        self._lane: Executor | None = None
        self._at_work: set[object] = set()  # one for each batch that some thread is at
        self._begun: dict[str, list[_Begun[T]]] = {}  # by stream

    def begin(self, events: EventBatch) -> None:
        """Begin with this batch, unless all cores have work already. It is kept until it is asked for or discarded."""
        if len(self._at_work) >= max(_cores(), 2):
            return
        if self._lane is None:
            try:
                self._lane = self._executor()
            except RuntimeError:  # no more threads are allowed: all is done in its turn
                return
        waiting = [events]
        future = self._lane.begin(lambda: self._do(waiting.pop()))
        self._begun.setdefault(events.stream.key, []).append(_Begun(events, waiting, future))

    def discard(self, stream: Stream) -> None:
        """Nobody will ask for what was begun of this stream; what no thread has come to is not done."""
        for begun in self._begun.pop(stream.key, []):
            begun.cancel()

    def result(self, events: EventBatch) -> Callable[[], T]:
        """What answers the result, on whatever thread it is called: it waits for what was begun, or does it there.

        Raises what `work` raises.
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
        """End the threads; does not wait."""
        if self._lane is not None:
            self._lane.close()
        self._lane = None
        self._begun.clear()


def _cores() -> int:
    """Of those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
