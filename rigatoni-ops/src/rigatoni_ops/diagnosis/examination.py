"""Opens the components of a pipeline and makes every check, so that no failure hides another."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any, TypeVar, cast

import attrs
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import (
    ConfigLinter,
    Diagnosable,
    Finding,
    HealthCheck,
    PositionKeeper,
    StateInspector,
    TransactionalKeeper,
)
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Checkpoint, Position, Stream
from rigatoni_core.api.words import time_in_words

from rigatoni_ops.diagnosis.disks import check_disks

T = TypeVar("T")

FIRST_REPLY = 3.0
"""Seconds to wait for a server's first reply to a stream that resumes: some check a position only with it."""


@attrs.frozen
class Found:
    """One finding, and where it was made.

    Attributes:
        pipeline: The pipeline.
        place: The component or stream, such as `source` or `stream shop.orders`.
        check: The name of the check.
        finding: The finding.
    """

    pipeline: str
    place: str
    check: str
    finding: Finding


async def examine(configuration: PipelineConfiguration, timeout: float) -> list[Found]:
    """Return everything that all checks of a pipeline find.

    Args:
        configuration: The pipeline, whose components are not entered.
        timeout: Seconds for each check.
    """
    examination = Examination(configuration, timeout)
    async with AsyncExitStack() as stack:
        await examination.run(stack)
    return examination.found


class Examination:
    """The checks of one pipeline.

    Attributes:
        found: The findings so far.
    """

    def __init__(self, configuration: PipelineConfiguration, timeout: float) -> None:
        self.found: list[Found] = []
        self._configuration = configuration
        self._timeout = timeout
        self._opened: dict[str, Any] = {}

    async def run(self, stack: AsyncExitStack) -> None:
        """Make every check. Opened components stay open on the stack."""
        configuration = self._configuration
        components = {"source": configuration.source, "destination": configuration.destination}
        if configuration.dead_letters is not None:
            components["dead_letters"] = configuration.dead_letters
        for place, component in components.items():
            await self._open(place, component, stack.enter_async_context(component))
        state = configuration.state
        inspected = state.looking() if isinstance(state, StateInspector) else state  # a pipeline may run meanwhile
        await self._open("state", state, stack.enter_async_context(inspected))
        self._linted()
        if not state.durable:
            seen, remedy = "checkpoints are lost when the process ends", "Use a state store of the type file or redis."
            self._note("state", "durability", [Finding("warning", seen, remedy)])
        positions = await self._positions()
        for stream, position in positions.items():
            await self._stream(stream, position)
        for place, component in {**components, "state": state}.items():
            if place in self._opened and isinstance(component, Diagnosable):
                for name, check in component.checks(configuration.settings, positions).items():
                    await self._check(place, name, check)
        await self._check("host", "disks", partial(check_disks, configuration.paths))

    async def _open(self, place: str, component: Any, entering: Awaitable[Any]) -> None:
        async def connect() -> Sequence[Finding]:
            await entering
            self._opened[place] = component
            return [Finding("ok", "it can be opened")]

        await self._check(place, "connection", connect, severity="error")

    def _linted(self) -> None:
        """Report what the components advise, once they know their servers' settings."""
        configuration = self._configuration
        parts: Mapping[str, Iterable[Any]] = {
            "source": (configuration.source,),
            "destination": (configuration.destination,),
            "dead_letters": (configuration.dead_letters,),
            "state": (configuration.state,),
            "transforms": configuration.transforms,
            "listeners": configuration.listeners,
        }
        texts = dict.fromkeys(("pipeline", text) for text in configuration.warnings)
        for place, components in parts.items():
            for each in components:
                if isinstance(each, ConfigLinter):
                    texts |= dict.fromkeys((place, text) for text in each.advice(configuration.settings))
        for place, text in texts:
            self._note(place, "settings", [Finding("warning", text, "Change the setting, unless you intend it.")])

    async def _positions(self) -> dict[Stream, Position | None]:
        """Return where each stream would resume, as far as that can be read."""
        configuration = self._configuration
        positions: dict[Stream, Position | None] = {}
        for name in await configuration.source.streams():
            stream = Stream(configuration.name, name)
            positions[stream] = None
            await self._check(f"stream {name}", "position", partial(self._position, stream, positions))
        return positions

    async def _position(self, stream: Stream, positions: dict[Stream, Position | None]) -> Sequence[Finding]:
        destination = self._configuration.destination
        if isinstance(destination, TransactionalKeeper):  # its position is in force
            if "destination" not in self._opened:
                return [Finding("not checked", "the destination, which holds the position, cannot be opened")]
            positions[stream] = await destination.last_committed(stream)
        elif "state" not in self._opened:
            return [Finding("not checked", "the state store cannot be opened")]
        else:
            checkpoint = await self._configuration.state.load_resume_token(stream)
            positions[stream] = checkpoint.position if checkpoint else None
            if checkpoint is not None and (missing := await self._missing(stream, checkpoint)):
                return missing
        seen = "it has a position" if positions[stream] else "it has no position yet: it will start fresh"
        return [Finding("ok", seen)]

    async def _missing(self, stream: Stream, checkpoint: Checkpoint) -> Sequence[Finding]:
        """Return a finding if the destination holds less than its checkpoint says was delivered to it."""
        destination, delivered = self._opened.get("destination"), checkpoint.delivered
        if not isinstance(destination, PositionKeeper) or not checkpoint.events or delivered is None:
            return []
        held = await destination.last_committed(stream)
        if held is not None and held.order >= delivered.order:
            return []
        holds = f"ends at {time_in_words(held.cluster_time)}" if held else "holds nothing of this stream"
        last = time_in_words(delivered.cluster_time)
        seen = f"{checkpoint.events:,} events were delivered, the last at {last}, but the destination {holds}"
        remedy = "Check that the destination's disk or bucket is the right one, and restore what was removed."
        return [Finding("error", seen, remedy)]

    async def _stream(self, stream: Stream, position: Position | None) -> None:
        """Read the stream from its position, and ask the components about it."""
        place = f"stream {stream.name}"
        if "source" not in self._opened:
            self._note(place, "reading", [Finding("not checked", "the source cannot be opened")])
            return
        await self._check(place, "reading", partial(self._read, stream, position), severity="error")
        for kind in ("source", "destination"):
            component = self._opened.get(kind)
            if isinstance(component, HealthCheck):
                await self._check(place, kind, partial(self._examined, component, stream))

    async def _read(self, stream: Stream, position: Position | None) -> Sequence[Finding]:
        reading = cast("Any", self._configuration.source.read(stream, after=position))
        async with aclosing(reading) as items:
            await anext(items)
            if position is not None:
                try:
                    async with asyncio.timeout(min(FIRST_REPLY, self._timeout / 2)):
                        await anext(items)
                except TimeoutError:
                    pass
        return [Finding("ok", "it can be read from its position" if position else "it can be read")]

    async def _examined(self, component: HealthCheck, stream: Stream) -> Sequence[Finding]:
        return [Finding("error", str(error), error.remedy) for error in await component.examine(stream)]

    async def _check(
        self,
        place: str,
        name: str,
        check: Callable[[], Awaitable[Sequence[Finding]]],
        *,
        severity: Any = "not checked",
    ) -> None:
        """Make one check, within the time limit. Its failure is a finding; `severity` is that of an expected error."""
        try:
            async with asyncio.timeout(self._timeout):
                findings = await check()
        except RigatoniError as error:
            findings = [Finding(severity, str(error), error.remedy)]
        except TimeoutError:
            seen = f"it did not respond within {self._timeout:g} s"
            findings = [Finding(severity, seen, "Check that it is running, or raise --timeout.")]
        except Exception as error:
            seen = f"the check failed by a bug ({type(error).__name__})"
            findings = [Finding("not checked", seen, "Please report it, with the output of `rigatoni plugins`.")]
        self._note(place, name, findings)

    def _note(self, place: str, check: str, findings: Sequence[Finding]) -> None:
        self.found += [Found(self._configuration.name, place, check, each) for each in findings]
