"""The network between a process and the servers: its latency and its faults."""

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import attrs
from rigatoni_core.api.errors import DestinationError, RigatoniError, SourceError, StateStoreError, Transient
from rigatoni_core.engine.time_limit import LOOKS

from rigatoni_testing.simulation.process import Process, ProcessLoop, in_world, running_loop
from rigatoni_testing.simulation.schedule import Fault, FaultKind, Server

T = TypeVar("T")
WRITE_TIMEOUT = 12.0
PATIENCE = WRITE_TIMEOUT * (1 + 1 / LOOKS) + 1.0
"""The longest time in seconds that a process may wait for a request."""
CLIENT_TIMEOUT = 25.0
"""Seconds after which the destination's own client, on an abandoned thread, gets an error."""
Tell = Callable[[str], None]


class SourceDroppedError(SourceError, Transient):
    """The connection to the source broke."""


class DestinationDownError(DestinationError, Transient):
    """The destination responded with an error, or not at all."""


class DestinationDeniedError(DestinationError):
    """The destination refused permanently."""


class SourceDeniedError(SourceError):
    """The source refused permanently."""


class StateDeniedError(StateStoreError):
    """The state store refused permanently."""


class StateDownError(StateStoreError, Transient):
    """The state store responded with an error, or not at all."""


_HANGS = (FaultKind.HANGS, FaultKind.ANSWER_HANGS)
_DOWN: dict[Server, type[RigatoniError]] = {
    Server.SOURCE: SourceDroppedError,
    Server.DESTINATION: DestinationDownError,
    Server.STATE: StateDownError,
}
_DENIED: dict[Server, type[RigatoniError]] = {
    Server.SOURCE: SourceDeniedError,
    Server.DESTINATION: DestinationDeniedError,
    Server.STATE: StateDeniedError,
}


@attrs.define(eq=False)
class Network:
    """One process's connections. Its faults come from the schedule; `complain` records broken guarantees."""

    process: Process
    chance: random.Random
    faults: Iterable[Fault]
    tell: Tell
    complain: Tell
    denied: list[RigatoniError] = attrs.field(factory=list, init=False)  # what was refused permanently
    hangs: bool = attrs.field(default=False, init=False)  # whether a request to the destination ever hangs
    struck: int = attrs.field(default=0, init=False)  # how many requests had a fault
    asked: bool = attrs.field(default=False, init=False)  # whether the process should end
    yielded: set[str] = attrs.field(factory=set, init=False)  # streams (their keys) that were left to other processes
    _counts: dict[Server, int] = attrs.field(factory=dict, init=False)
    _pending: dict[tuple[Server, int], Fault] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pending = {
            (fault.server, fault.number + repeat): fault for fault in self.faults for repeat in range(fault.times)
        }
        self.hangs = any(fault.server is Server.DESTINATION for fault in self.faults if fault.kind in _HANGS)

    async def request(self, server: Server, what: str, effect: Callable[[], T]) -> T:
        """Run `effect` on the server, atomically, before its response; its error is the response."""
        await self._alive()
        number = self._counts[server] = self._counts.get(server, 0) + 1
        fault = self._pending.get((server, number))
        loop = running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        there = max(0.0, self.chance.random() * 0.2 - 0.1)
        back = max(0.0, self.chance.random() * 0.2 - 0.1)
        if fault is None:
            if there:
                in_world(loop, there, self._serve, effect, answer, back)
            else:
                self._serve(effect, answer, back)
            return await answer
        self.tell(f"{what} ({server} request {number}) {fault.kind}")
        self.struck += 1
        match fault.kind:
            case FaultKind.REFUSED:
                in_world(loop, there, _settle, answer, None, _DOWN[server](f"{what} failed"))
            case FaultKind.FATAL:
                self.denied.append(_DENIED[server](f"{what} is not allowed"))
                in_world(loop, there, _settle, answer, None, self.denied[-1])
            case FaultKind.ANSWER_LOST:
                in_world(loop, there, _serve_quietly, effect)
                in_world(loop, there + back, _settle, answer, None, _DOWN[server](f"{what} failed"))
            case FaultKind.LATE:
                in_world(loop, there, _settle, answer, None, _DOWN[server](f"{what} failed"))
                in_world(loop, fault.seconds, _serve_quietly, effect)
            case FaultKind.TWICE:
                in_world(loop, there, self._serve, effect, answer, back)
                in_world(loop, there + fault.seconds, _serve_quietly, effect)
            case FaultKind.HANGS | FaultKind.ANSWER_HANGS:
                if fault.kind is FaultKind.ANSWER_HANGS:
                    in_world(loop, there, _serve_quietly, effect)
                if server is Server.DESTINATION:
                    in_world(loop, CLIENT_TIMEOUT, _settle, answer, None, _DOWN[server](f"{what} got no response"))
                else:
                    self.expect_abandoned(what, answer.done)
            case FaultKind.SLOW:
                in_world(loop, there, self._serve, effect, answer, fault.seconds)
            case FaultKind.KILLED_BEFORE:
                self.process.kill()
            case FaultKind.KILLED_AFTER:
                in_world(loop, there, _serve_quietly, effect)
                in_world(loop, there, self.process.kill)
            case FaultKind.PAUSED | FaultKind.SUSPENDED:
                self.process.pause(fault.seconds, suspended=fault.kind is FaultKind.SUSPENDED)
                await self._alive()
                in_world(loop, there, self._serve, effect, answer, back)
        return await answer

    async def _alive(self) -> None:
        """Returns when the process is not frozen; never if it is dead."""
        if self.process.buried:
            raise asyncio.CancelledError
        if self.process.frozen:
            await asyncio.sleep(0)
            await self._alive()

    def expect_abandoned(self, what: str, done: Callable[[], bool]) -> None:
        """Check that the process, while it runs, waits for nothing longer than the limit."""
        in_world(running_loop(), PATIENCE, self._expect_abandoned, what, done, self.process.frozen_seconds)

    def _expect_abandoned(self, what: str, done: Callable[[], bool], frozen_seconds: float) -> None:
        process = self.process
        if (late := process.frozen_seconds - frozen_seconds) > 0 and not process.dead:
            in_world(running_loop(), late, self._expect_abandoned, what, done, process.frozen_seconds)
        elif process.frozen and not process.dead:  # since this wait began
            self.expect_abandoned(what, done)
        elif not done() and not process.dead:
            self.complain(f"{process.name} waits for the {what} longer than {PATIENCE} s")

    @staticmethod
    def _serve(effect: Callable[[], T], answer: "asyncio.Future[T]", back: float) -> None:
        loop = running_loop()
        try:
            result = effect()
        except RigatoniError as error:
            _after(loop, back, answer, None, error)
        else:
            _after(loop, back, answer, result, None)


def _after(
    loop: ProcessLoop,
    back: float,
    answer: "asyncio.Future[Any]",
    result: Any,
    error: RigatoniError | None,
) -> None:
    """Half of the requests and responses arrive at once, which saves timers; the others are delayed."""
    if back:
        in_world(loop, back, _settle, answer, result, error)
    else:
        _settle(answer, result, error)


def _settle(answer: "asyncio.Future[Any]", result: Any, error: RigatoniError | None) -> None:
    if answer.done():
        return  # the caller no longer waits
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _serve_quietly(effect: Callable[[], object]) -> None:
    with suppress(RigatoniError):  # the response has no receiver
        effect()


def world_time() -> float:
    """Returns the world's time in any process."""
    return running_loop().now
