"""Processes under one virtual clock: each may be paused, suspended or killed between any two of its steps."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVarTuple, Unpack

import attrs

from rigatoni_testing.clock import VirtualLoop

Ts = TypeVarTuple("Ts")

_CURRENT: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
_WORLD = contextvars.copy_context()
"""The context of code outside processes: the servers, the network, the operator."""
_ROUNDING = 1e-9
"""Seconds that keep a lagging clock from being slightly early when its timer is due."""


@attrs.define(eq=False)
class Process:
    """A process as an operating system sees it. While it is frozen, none of its code runs.

    `lag` is how many seconds its monotonic clock is behind the world's: a suspended machine's clock stands still.
    """

    name: str
    frozen: bool = False
    dead: bool = False
    buried: bool = False
    lag: float = 0.0
    frozen_seconds: float = 0.0
    died: asyncio.Event = attrs.field(factory=asyncio.Event)
    main: "asyncio.Task[Any] | None" = None  # keeps tasks that wait forever from being collected
    _waiting: list[Callable[[], object]] = attrs.field(factory=list)

    def defer(self, action: Callable[[], object]) -> None:
        """Defer a callback until the process resumes."""
        self._waiting.append(action)

    def kill(self) -> None:
        """SIGKILL: none of its code runs any more, and nothing is cleaned up."""
        self.dead = self.frozen = True
        self.died.set()

    def pause(self, seconds: float, *, suspended: bool = False) -> None:
        """SIGSTOP, and SIGCONT after this many seconds; with `suspended` its clock stands still."""
        if self.frozen:
            return
        self.frozen = True
        in_world(running_loop(), seconds, self._resume, seconds if suspended else 0.0)
        self.frozen_seconds += seconds

    def bury(self) -> None:
        """Unwind the tasks of a dead process; its requests no longer reach any server."""
        self.buried = True
        self._thaw()

    def _resume(self, lag: float) -> None:
        self.lag += lag
        if not self.dead:
            self._thaw()

    def _thaw(self) -> None:
        self.frozen = False
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()


class ProcessLoop(VirtualLoop):
    """A virtual loop that assigns each callback to a process, by its context."""

    def start(self, process: Process, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `main` and all that it starts as this process."""
        context = contextvars.copy_context()
        context.run(_CURRENT.set, process)
        return self.create_task(main, context=context)

    @property
    def now(self) -> float:
        """Returns the world's time in seconds since the run began."""
        return self._virtual.now

    def time(self) -> float:
        """Return the virtual time that the process sees."""
        process = _CURRENT.get()
        now = self._virtual.now
        return now if process is None or not process.lag else now - process.lag + _ROUNDING

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """See asyncio. The callback runs in the process that schedules it."""
        process = _CURRENT.get() if context is None else context.get(_CURRENT)
        if process is None or not process.frozen:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        within = context or contextvars.copy_context()
        process.defer(lambda: handle.cancelled() or self.call_soon(callback, *args, context=within))
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio. The callback runs in the process that schedules it."""
        process = _CURRENT.get() if context is None else context.get(_CURRENT)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        within = context or contextvars.copy_context()
        handles: list[asyncio.TimerHandle] = []

        def due() -> None:
            if handles[0].cancelled():
                return
            if process.frozen:
                process.defer(due)
            elif self.now < when + process.lag:  # its clock stands still from then on
                super(ProcessLoop, self).call_at(when + process.lag, due, context=_WORLD)
            else:
                within.run(callback, *args)

        handles.append(super().call_at(when + process.lag, due, context=_WORLD))
        return handles[0]


def in_world(loop: ProcessLoop, seconds: float, action: Callable[..., object], *args: Any) -> None:
    """Call a function outside any process after this many seconds of the world's time."""
    VirtualLoop.call_at(loop, loop.now + seconds, action, *args, context=_WORLD)


def running_loop() -> ProcessLoop:
    """Returns the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ProcessLoop)
    return loop
