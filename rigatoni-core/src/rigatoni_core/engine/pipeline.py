"""The pipeline: runs the workers of all streams, isolated from each other, with a bounded shutdown."""

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, Self, TypeVar

import attrs

from rigatoni_core.api.bus import listening, publish
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import AsyncResource, Destination, HealthCheck, Listener, Source, StateStore, Transform
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.formats import check_formats
from rigatoni_core.api.notices import WorkerFailed, WorkerFailing, WorkerStarting, WorkerStopped
from rigatoni_core.api.protection import check_order
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.assignment import Share
from rigatoni_core.engine.component_stack import ComponentStack
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_core.engine.preflight import try_reading
from rigatoni_core.engine.retry import delay_before
from rigatoni_core.engine.snapshots.requests import check_requests
from rigatoni_core.engine.succession import preview
from rigatoni_core.engine.transforming import check_scopes, transforms_of
from rigatoni_core.engine.worker import Worker
from rigatoni_core.observe.incidents import Incidents
from rigatoni_core.observe.statistics import Statistics

T = TypeVar("T")

CLOSE_TIMEOUT = 5.0
"""Seconds to wait for cancelled tasks, and for all components together, to close."""

CHECKED_AT_ONCE = 8
"""Streams of a prepared pipeline that are checked at once. Each needs a connection of its own."""


@attrs.frozen
class WorkerOutcome:
    """The end of one worker.

    Attributes:
        position: The position of its checkpoint.
        error: The error that ended it; None after a requested end.
        abandoned: Whether it was cancelled, because it did not end in time.
    """

    position: Position | None
    error: BaseException | None = None
    abandoned: bool = False


@attrs.frozen
class PipelineReport:
    """The end of a run.

    Attributes:
        workers: The outcomes by stream name.
        hanging: Whether a component could not be closed in `CLOSE_TIMEOUT` seconds.
    """

    workers: Mapping[str, WorkerOutcome]
    hanging: bool = False

    @property
    def ok(self) -> bool:
        """Whether every worker ended without an error, and none was abandoned."""
        return not self.abandoned and all(outcome.error is None for outcome in self.workers.values())

    @property
    def abandoned(self) -> bool:
        """Whether something was cancelled at the shutdown limit or by a second signal. Nothing is lost by that."""
        return self.hanging or any(outcome.abandoned for outcome in self.workers.values())


class Pipeline:
    """Runs every stream of a source, or only some of them, into a destination. A pipeline runs once.

    `statistics` may be read at any time.

    Args:
        name: The pipeline's name, which positions and objects are stored under.
        source: The source.
        destination: The destination.
        state: The state store.
        transforms: Events pass through those that apply to their stream, in order.
        dead_letters: The destination of rejected events, if any.
        settings: The settings. Default: the defaults, with the destination's recommended limits.
        listeners: Receive every notice. A listener that is `AsyncResource` is entered first and closed last.
        owner: The name of this instance in leases. Default: host, process id and a random part.
        redact: Removes secrets from the descriptions of rejected events.
        only: The streams to run; all of them if empty.

    Raises:
        ConfigurationError: The settings exceed the destination's limits, or the formats of the components do not match.
    """

    def __init__(
        self,
        *,
        name: str,
        source: Source,
        destination: Destination,
        state: StateStore,
        transforms: Sequence[Transform] = (),
        dead_letters: Destination | None = None,
        settings: Settings | None = None,
        listeners: Sequence[Listener] = (),
        owner: str | None = None,
        redact: Callable[[str], str] = str,
        only: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.source = source
        self.destination = destination
        self.state = state
        self.dead_letters = dead_letters
        self.settings = settings or Settings.suiting(destination.limits)
        self.settings.check_maximums(destination.maximums)
        self.transforms = tuple(transforms)
        check_order(self.transforms)
        check_formats(source, {"transforms": self.transforms, "destination": destination, "dead_letters": dead_letters})
        self.statistics = Statistics()
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._redact = redact
        self._budget = MemoryBudget(max(self.settings.max_total_buffered_bytes, self.settings.max_buffered_bytes))
        self._only = only
        self._listeners = tuple(listeners)
        # Listeners first, so that they receive every notice and are closed last. The source last, so that nothing is
        # read before it can be stored.
        managed = [listener for listener in listeners if isinstance(listener, AsyncResource)]
        stores = (state, destination, *((dead_letters,) if dead_letters else ()))
        self._components = ComponentStack((*managed, *stores, source))
        self._entered = asyncio.Event()
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()

    @classmethod
    def of(
        cls, configuration: PipelineConfiguration, *, listeners: Sequence[Listener] = (), only: Sequence[str] = ()
    ) -> Self:
        """Return the pipeline of a file (`rigatoni_core.config.load`).

        Args:
            configuration: The pipeline as it was read.
            listeners: Further listeners, which are notified before the file's own.
            only: The streams to run; all of them if empty.
        """
        return cls(
            name=configuration.name,
            source=configuration.source,
            destination=configuration.destination,
            state=configuration.state,
            transforms=configuration.transforms,
            dead_letters=configuration.dead_letters,
            settings=configuration.settings,
            redact=configuration.redaction,
            listeners=(*listeners, *configuration.listeners),
            only=only,
        )

    def stop(self) -> None:
        """Request a graceful end; a second call ends the run immediately. Call it on the event loop only."""
        if self._stopping.is_set():
            self._aborting.set()
        self._stopping.set()

    async def run(self, *, once: bool = False, handle_signals: bool = False) -> PipelineReport:
        """Run until stopped, or with `once` until every stream has caught up with the server's time at start.

        A worker that fails does not affect the others. If a component cannot be opened for a transient cause, it is
        opened again after the delays of `settings.retry`, as often as `on_failure` allows.

        Args:
            once: Whether to end when every stream has caught up.
            handle_signals: Whether SIGTERM and SIGINT call `stop`.

        Returns:
            The outcome of each worker. Errors of workers are in it, not raised.

        Raises:
            RigatoniError: A component cannot be opened.
        """
        listeners = (self.statistics, *self._listeners, Incidents())
        with listening(listeners), signals(self.stop) if handle_signals else nullcontext():
            try:
                names = await self._unless_stopped(self._open(once)) or ()
                self._entered.set()
                share = Share(self.name, len(names), self.state, self.owner, self.settings)
                watched = await self.source.streams()
                outcomes = await self._supervise([self._worker(name, share, once, watched) for name in names])
                if not self._aborting.is_set():
                    await share.leave()
            finally:
                hanging = not await self.close()
            return PipelineReport(outcomes, hanging)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[PipelineReport]"]:
        """Run in the background of this block, and stop gracefully at its end.

        The block starts when every component is entered.

        Yields:
            The task of `run`, which ends early if the pipeline does.

        Raises:
            RigatoniError: A component cannot be opened.
        """
        run, entered = asyncio.create_task(self.run()), asyncio.create_task(self._entered.wait())
        try:
            await asyncio.wait([run, entered], return_when=asyncio.FIRST_COMPLETED)
            if not run.done() or run.result():
                yield run
        finally:
            entered.cancel()
            self._stopping.set()
            await run

    def _worker(self, name: str, share: Share, once: bool, watched: Sequence[str]) -> Worker:
        return Worker(
            Stream(self.name, name),
            source=self.source,
            destination=self.destination,
            state=self.state,
            settings=self.settings,
            owner=self.owner,
            share=share,
            transforms=transforms_of(self.transforms, Stream(self.name, name)),
            dead_letters=self.dead_letters,
            redact=self._redact,
            once=once,
            watched=watched,
            budget=self._budget,
        )

    async def prepare(self, running: "Pipeline | None" = None) -> None:
        """Open and check everything before `run`, while the pipeline that this one replaces still runs.

        Open components that both pipelines share are handed over when `running` ends, because a lock or a port cannot
        be acquired twice. Its statistics are handed over as well, so counters continue. Nothing is retried or written.
        Call `close` if `run` does not follow.

        Args:
            running: The pipeline to replace, if any.

        Raises:
            RigatoniError: A component cannot be opened, or a stream cannot be read from its position.
        """
        if running is None:
            await self._components.open()
        else:
            await self._components.open_beside(running._components)
            self.statistics = running.statistics
        free = asyncio.Semaphore(CHECKED_AT_ONCE)
        await asyncio.gather(*(self._check(Stream(self.name, name), free) for name in await self._names()))

    def holds(self, component: object) -> bool:
        """Return whether this pipeline has opened `component` (the same object)."""
        return component in self._components

    def keep(self) -> None:
        """Keep all components: the pipeline that was prepared to replace this one is discarded."""
        self._components.keep()

    async def _check(self, stream: Stream, free: asyncio.Semaphore) -> None:
        """Raise the error that would stop the stream's worker, if any."""
        async with free:
            checkpoint = await self.state.load_resume_token(stream)
            watched = await self.source.streams()
            if plan := await preview(stream, watched, self.source, self.state, self.destination):
                checkpoint = plan.checkpoint(checkpoint)
            await try_reading(self.source, stream, checkpoint, self.destination)
            for component in (self.source, self.destination):
                for error in await component.examine(stream) if isinstance(component, HealthCheck) else ():
                    raise error

    async def _open(self, once: bool) -> Sequence[str]:
        """Open all components, with retries after transient errors, and return the names of the streams to run."""
        names, attempt = await self._names(), 1
        while True:
            try:
                await self._components.open()
                return names
            except RigatoniError as error:
                used_up = attempt > self.settings.retry.max_retries
                if not error.transient or (used_up and self.settings.failure_policy(once=once) == "stop"):
                    raise
                attempt += 1
                delay = delay_before(attempt, self.settings.retry, error)
                for name in names:
                    publish(WorkerFailing(stream=Stream(self.name, name), error=error, delay=delay))
                await asyncio.sleep(delay)

    async def _names(self) -> Sequence[str]:
        names = await self.source.streams()
        check_scopes(self.transforms, self.name, names)
        check_requests(self.settings, self.source, self.destination, self.name, names)
        return [name for name in names if not self._only or name in self._only]

    async def _unless_stopped(self, opening: Coroutine[Any, Any, T]) -> T | None:
        """Return the result, or None if a stop is requested first."""
        task, stopping = asyncio.create_task(opening), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await _cancel([task, stopping])

    async def _supervise(self, workers: Sequence[Worker]) -> dict[str, WorkerOutcome]:
        """Run all workers concurrently. When a stop is requested, stop them within the time limit."""
        for worker in workers:
            publish(WorkerStarting(stream=worker.stream))
        tasks = {asyncio.create_task(self._guard(worker)): worker for worker in workers}
        stopping = asyncio.create_task(self._stopping.wait())
        aborting = asyncio.create_task(self._aborting.wait())
        try:
            await _all_or(tasks, stopping)
            if not all(task.done() for task in tasks):
                for worker in workers:
                    worker.stop()
                await _all_or(tasks, aborting, timeout=self.settings.shutdown_timeout)
        finally:
            await _cancel([stopping, aborting, *tasks])
        return {
            worker.stream.name: task.result()
            if task.done() and not task.cancelled()
            else WorkerOutcome(worker.checkpoint.position, abandoned=True)
            for task, worker in tasks.items()
        }

    async def _guard(self, worker: Worker) -> WorkerOutcome:
        """Run one worker. Its error does not affect the others."""
        error = None
        try:
            await worker.run()
            publish(WorkerStopped(stream=worker.stream, position=worker.checkpoint.position))
        except Exception as failure:
            error = failure
            publish(WorkerFailed(stream=worker.stream, error=error))
        return WorkerOutcome(worker.checkpoint.position, error)

    async def close(self) -> bool:
        """Close all components. `run` calls this at its end.

        Returns:
            Whether they closed in `CLOSE_TIMEOUT` seconds.
        """
        closing = asyncio.create_task(self._components.close())
        done, _ = await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
        if not done:
            closing.cancel()
            return False
        await closing
        return True


@contextmanager
def signals(stop: Callable[[], None], *numbers: signal.Signals) -> Iterator[None]:
    """Call `stop` on these signals in this block.

    Args:
        stop: Called on the event loop.
        numbers: The signals; SIGINT and SIGTERM if there are none.
    """
    loop = asyncio.get_running_loop()
    numbers = numbers or (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _all_or(tasks: Iterable[asyncio.Task[Any]], event: asyncio.Task[Any], timeout: float | None = None) -> None:
    """Wait for the end of all tasks, for the event, or for the timeout in seconds. It cancels no task."""
    if not (running := list(tasks)):
        return
    everyone = asyncio.create_task(asyncio.wait(running))
    await asyncio.wait([everyone, event], return_when=asyncio.FIRST_COMPLETED, timeout=timeout)
    everyone.cancel()


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, and wait up to `CLOSE_TIMEOUT` seconds for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
