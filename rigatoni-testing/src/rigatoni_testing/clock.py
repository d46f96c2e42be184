"""An event loop whose clock is virtual: waiting costs no time, and what waits for ever is an error."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class EverythingWaitsError(Exception):
    """No task can run and no timer is set: in real life this would hang."""


class NothingAdvancesError(Exception):
    """Something runs again and again while no time goes by: in real life this would burn a processor."""


class _VirtualSelector(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, moves the clock there."""

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
                raise NothingAdvancesError(f"the virtual clock stands at {self.now} s")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code that awaits only timers and other tasks: no threads, no network."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual.now


def run_virtual(main: Coroutine[Any, Any, T], loop_factory: Callable[[], VirtualLoop] = VirtualLoop) -> T:
    """`asyncio.run` on a virtual clock that starts at 0."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)
