"""Deviations that pass, until they are reported: each once."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from rigatoni_core.api.events import Stream

_MOST = 1000
_now: ContextVar[Stream | None] = ContextVar("stream", default=None)


class Drift:
    """What passed although it deviates, by stream. At most 1,000 deviations are remembered. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: set[str] = set()
        self._news: dict[Stream, list[str]] = {}

    @contextmanager
    def of(self, stream: Stream) -> Iterator[None]:
        """Within the block, what this thread adds belongs to the stream."""
        token = _now.set(stream)
        try:
            yield
        finally:
            _now.reset(token)

    def add(self, deviations: Iterable[str]) -> None:
        """Add deviations of an event."""
        stream = _now.get()
        if stream is None or self._known.issuperset(deviations):
            return
        with self._lock:
            for each in sorted(set(deviations) - self._known):
                if len(self._known) < _MOST:
                    self._known.add(each)
                    self._news.setdefault(stream, []).append(each)

    def news(self, stream: Stream) -> list[str]:
        """Return what was added for the stream since the last call."""
        with self._lock:
            return self._news.pop(stream, [])
