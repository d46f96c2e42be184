"""An event loop with a virtual clock: waiting takes no real time, and a deadlock is an error."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class EverythingWaitsError(Exception):
    """No task can run and no timer is set: with a real clock this would hang."""


class NothingAdvancesError(Exception):
    """A task runs repeatedly without time passing: with a real clock this would be a busy loop."""


class _VirtualSelector(selectors.DefaultSelector):
    """Moves the clock to the next timer instead of sleeping."""

    now = 0.0
    _rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            ready = super().select(0)
            if not ready:
                raise EverythingWaitsError("no task can run and no timer is set")
            return ready
        if timeout > 0:
            self.now += timeout
            self._rounds = 0
        else:
            self._rounds += 1
            if self._rounds > 100_000:
                raise NothingAdvancesError(f"the virtual clock is stuck at {self.now} s")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs code that awaits only timers and other tasks: no threads, no network."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual.now


def run_virtual(main: Coroutine[Any, Any, T], loop_factory: Callable[[], VirtualLoop] = VirtualLoop) -> T:
    """Runs a coroutine like `asyncio.run`, on a virtual clock that starts at 0."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)
