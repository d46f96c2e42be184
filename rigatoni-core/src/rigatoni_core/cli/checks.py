"""Checks that need connections: whether components work, streams can be read, and their positions."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import attrs

from rigatoni_core.api.components import component_name
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import HealthCheck, StateInspector
from rigatoni_core.api.errors import PipelineTimeoutError, RigatoniError
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.advice import advice_of
from rigatoni_core.cli.guarantee import guarantee, rejections
from rigatoni_core.cli.output import succession_in_words
from rigatoni_core.cli.strays import renaming_advice, unwatched_advice
from rigatoni_core.engine.preflight import try_reading
from rigatoni_core.engine.snapshots.requests import check_requests, row_guarantee
from rigatoni_core.engine.succession import preview
from rigatoni_core.engine.transforming import check_scopes, transforms_of

T = TypeVar("T")


@attrs.define
class Findings:
    """The results of the checks.

    `errors` is by place (`source`, `stream shop.orders`); `hanging`: a check timed out. `transforms` lists those of
    each stream, in order. `advice` contains the components' warnings, including those that need a connection.
    """

    streams: dict[str, str] = attrs.field(factory=dict)
    transforms: dict[str, list[str]] = attrs.field(factory=dict)
    destination: str = ""
    guarantee: str = ""
    conditions: tuple[str, ...] = ()
    rejected_events: str = ""
    snapshot: str = ""
    notes: list[str] = attrs.field(factory=list)
    advice: list[str] = attrs.field(factory=list)
    errors: dict[str, list[RigatoniError]] = attrs.field(factory=dict)

    @property
    def hanging(self) -> bool:
        """Whether a check exceeded its time limit."""
        return any(isinstance(error, PipelineTimeoutError) for errors in self.errors.values() for error in errors)


class Checks:
    """Checks everything that `run` would use, one by one, so that no failure hides another.

    In two steps, so that several pipelines can be open at once, like in `run`, which reveals conflicts.
    """

    def __init__(self, configuration: PipelineConfiguration, timeout: float, others: Collection[str]) -> None:
        self._configuration = configuration
        self._others = others
        self._timeout = timeout
        self._found = Findings()
        self._streams: list[Stream] = []
        self._holder: str | None = None

    async def open(self, stack: AsyncExitStack) -> None:
        """Connect to all but the state store, and find its user; connections stay open on the stack."""
        configuration, found = self._configuration, self._found
        if await self._try("source", stack.enter_async_context(configuration.source)) is not None:
            self._streams = [
                Stream(configuration.name, name)
                for name in await self._try("source", configuration.source.streams()) or ()
            ]
        self._transforms()
        self._snapshot()
        if await self._try("destination", stack.enter_async_context(configuration.destination)) is not None:
            found.destination = configuration.destination.metadata().description
        if configuration.dead_letters is not None:
            await self._try("dead_letters", stack.enter_async_context(configuration.dead_letters))
        if "dead_letters" not in found.errors:
            found.rejected_events = rejections(configuration)
        if isinstance(configuration.state, StateInspector):
            self._holder = await self._try("state", self._who_holds(configuration.state))

    async def offline(self) -> Findings:
        """Check what needs no connection: which transforms each stream has."""
        names = await self._try("source", self._configuration.source.streams()) or ()
        self._streams = [Stream(self._configuration.name, name) for name in names]
        self._transforms()
        self._found.advice = advice_of(self._configuration)
        return self._found

    def _transforms(self) -> None:
        """Say what changes the events of each stream."""
        configuration, streams = self._configuration, self._streams
        if not streams:
            return
        try:
            check_scopes(configuration.transforms, configuration.name, [stream.name for stream in streams])
        except RigatoniError as error:
            self._note("transforms", error)
        for stream in streams:
            applied = transforms_of(configuration.transforms, stream)
            if applied:
                self._found.transforms[stream.name] = [component_name(type(each)) for each in applied]

    def _snapshot(self) -> None:
        """Say what a new stream reads first, and how often its rows are written."""
        configuration, names = self._configuration, [stream.name for stream in self._streams]
        settings = configuration.settings
        if not names or not settings.takes_snapshots:
            return
        try:
            check_requests(settings, configuration.source, configuration.destination, configuration.name, names)
        except RigatoniError as error:
            self._note("snapshot", error)
        mode, rows = settings.snapshot.mode, row_guarantee(configuration.destination)
        new_only = "; streams that ran before begin none by themselves" if mode in ("initial", "only") else ""
        self._found.snapshot = f"{mode}{new_only}; {rows}"

    async def look(self, stack: AsyncExitStack) -> Findings:
        """Open the state store (read-only if a running pipeline holds it), then each stream at its position.

        Changes nothing at the source and writes no event anywhere.
        """
        state = self._configuration.state
        if self._holder and isinstance(state, StateInspector):
            self._found.notes.append(f"the state store is in use by {self._holder}: it was read, not opened")
            await stack.enter_async_context(state.looking())
        elif "state" not in self._found.errors:
            await self._try("state", stack.enter_async_context(state))
        self._found.advice = advice_of(self._configuration)
        if "state" not in self._found.errors:
            advice = await self._try("state", renaming_advice(self._configuration, self._others))
            self._found.advice += advice or ()
            self._found.advice += await self._try("state", unwatched_advice(self._configuration)) or ()
        for stream in self._streams:
            await self._stream(stream)
        return self._found

    async def _who_holds(self, state: StateInspector) -> str | None:
        async with state.looking():
            return await state.holder(self._streams[0] if self._streams else Stream(self._configuration.name, "*"))

    async def _stream(self, stream: Stream) -> None:
        found, place = self._found, f"stream {stream.name}"
        checkpoint = None
        if "state" not in found.errors:
            checkpoint = await self._try(place, self._configuration.state.load_resume_token(stream))
        destination = self._configuration.destination if "destination" not in found.errors else None
        plan = None
        if destination is not None and "state" not in found.errors:
            watched = [each.name for each in self._streams]
            source, state = self._configuration.source, self._configuration.state
            plan = await self._try(place, preview(stream, watched, source, state, destination))
        if plan is not None:
            found.streams[stream.name] = succession_in_words(plan.former, plan.position)
            checkpoint = plan.checkpoint(checkpoint)
        else:
            found.streams[stream.name] = self._where(stream, checkpoint.position if checkpoint else None)
        await self._try(place, try_reading(self._configuration.source, stream, checkpoint, destination))
        if "destination" not in found.errors:
            level, conditions = guarantee(stream, self._configuration.source, self._configuration.destination)
            if stream.name in found.transforms:
                conditions = (*conditions, "its transforms make the same of an event each time")
            found.guarantee, found.conditions = level, conditions
        for kind in ("source", "destination"):
            component = getattr(self._configuration, kind)
            if isinstance(component, HealthCheck) and kind not in found.errors:
                found.errors.setdefault(place, []).extend(await self._try(place, component.examine(stream)) or ())

    def _where(self, stream: Stream, position: Position | None) -> str:
        if position is None:
            return "no position yet"
        time = time_in_words(position.cluster_time)
        if position.fingerprint == self._configuration.source.definition(stream).fingerprint:
            return f"resumes from {time}"
        return f"resumes from {time}, by time: the stream's definition has changed since"

    async def _try(self, place: str, action: Awaitable[T]) -> T | None:
        """Return the action's result; None if it failed, which is recorded."""
        try:
            async with asyncio.timeout(self._timeout):
                return await action
        except RigatoniError as error:
            self._note(place, error)
        except TimeoutError:
            self._note(
                place,
                PipelineTimeoutError(
                    f"it did not respond within {self._timeout:g} s",
                    remedy="Check that it is running, or raise --timeout.",
                ),
            )
        return None

    def _note(self, place: str, error: RigatoniError) -> None:
        self._found.errors.setdefault(place, []).append(error)


def as_records(errors: Mapping[str, list[RigatoniError]]) -> dict[str, Any]:
    """Return the errors by place as plain JSON values."""
    from rigatoni_core.cli.output import error_record

    return {place: [error_record(error) for error in found] for place, found in errors.items() if found}
