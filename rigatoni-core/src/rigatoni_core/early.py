"""Work on batches that is begun before their turn, while the batch before is being written."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from rigatoni_core.batch import EventBatch
from rigatoni_core.events import Stream
from rigatoni_core.threads import Lane

T = TypeVar("T")


class EarlyWork(Generic[T]):
    """What `work` answers for batches, made early for those that `begin` names: as many at once as there are cores.

    `work` runs on several threads, and must give the same for the same batch. Use this on the event loop.
    """

    def __init__(self, name: str, work: Callable[[EventBatch], T]) -> None:
        self._name = name
        self._work = work
        self._lane: Lane | None = None
        self._begun: dict[str, list[tuple[EventBatch, Future[T]]]] = {}  # by stream

    def begin(self, events: EventBatch) -> None:
        """Begin with this batch as soon as a thread is free. It is kept until it is asked for or discarded."""
        self._lane = self._lane or Lane(self._name, _cores())
        future = self._lane.begin(partial(self._work, events))
        self._begun.setdefault(events.stream.key, []).append((events, future))

    def discard(self, stream: Stream) -> None:
        """Nobody will ask for what was begun of this stream; what no thread has come to is not done."""
        for _, future in self._begun.pop(stream.key, []):
            future.cancel()

    def result(self, events: EventBatch) -> Callable[[], T]:
        """What answers the result, on whatever thread it is called: it waits for what was begun, or does it there.

        Raises what `work` raises.
        """
        begun = self._begun.get(events.stream.key, [])
        for index, (batch, future) in enumerate(begun):
            if batch is events:
                del begun[index]
                if not future.cancel():  # else no thread was free for it
                    return future.result
                break
        return partial(self._work, events)

    def close(self) -> None:
        """End the threads; does not wait."""
        if self._lane is not None:
            self._lane.close()
        self._lane = None
        self._begun.clear()


def _cores() -> int:
    """Of those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
