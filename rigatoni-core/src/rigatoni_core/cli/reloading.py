"""A changed configuration while pipelines run (SIGHUP): opened and checked beside them, then it takes over."""

import asyncio
from collections.abc import Callable, Sequence

import attrs

from rigatoni_core.api.components import fields_of
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.errors import ConfigurationError, PipelineTimeoutError
from rigatoni_core.engine.pipeline import Pipeline

PREPARE_TIMEOUT = 60.0
"""Seconds that the components of one pipeline get to open, and its streams to be read from where they stand."""


@attrs.frozen
class Member:
    """One pipeline of this process and the configuration that it was made from."""

    configuration: PipelineConfiguration
    pipeline: Pipeline

    @property
    def name(self) -> str:
        """Return the name of the pipeline."""
        return self.configuration.name


async def successors(
    running: Sequence[Member],
    wanted: Sequence[PipelineConfiguration],
    make: Callable[[PipelineConfiguration], Member],
) -> Sequence[Member]:
    """Return pipelines that can take over as soon as those that run have ended.

    Their sources and destinations are open, and every stream was tried. State stores, and listeners with the same
    options, are handed over: their locks and ports are exclusive.

    Raises:
        RigatoniError: The running pipelines had better stay. Nothing is left open then.
    """
    if reason := _refusal(running, wanted):
        raise ConfigurationError(reason)
    known = {each.name: each for each in running}
    made: list[Member] = []
    try:
        for configuration in wanted:
            old = known.get(configuration.name)
            new = make(_inheriting(configuration, old) if old else configuration)
            made.append(new)
            try:
                async with asyncio.timeout(PREPARE_TIMEOUT):
                    await new.pipeline.prepare(old.pipeline if old else None)
            except TimeoutError:
                raise PipelineTimeoutError(
                    f"{new.name} could not be opened and checked within {PREPARE_TIMEOUT:g} s"
                ) from None
    except BaseException:
        for each in running:
            each.pipeline.keep()
        for each in made:
            await each.pipeline.close()
        raise
    return made


def _refusal(running: Sequence[Member], wanted: Sequence[PipelineConfiguration]) -> str:
    """Why the pipelines cannot be replaced by what is wanted; empty where they can.

    They resume from their checkpoints, whatever else has changed: so these must be found again.
    """
    known = {each.name: each for each in running}
    for new in wanted:
        old = known.get(new.name)
        if old is None:
            continue
        if not old.configuration.state.durable and not old.pipeline.holds(old.configuration.state):
            return f"{old.name}: it has ended, and its state store forgot every position"
        if not _same(old.configuration.state, new.state):
            return (
                f"{old.name}: its state store has changed, and the positions would stay behind: stop it, move them "
                "with `rigatoni state export` and `import`, and start it again"
            )
    if not known.keys() & {new.name for new in wanted}:
        return f"none of the running pipelines ({', '.join(known)}) is in it: stop this process and start another one"
    return ""


def _inheriting(configuration: PipelineConfiguration, old: Member) -> PipelineConfiguration:
    """The configuration with those components of the running pipeline that it is going to take over."""
    held = [each for each in old.configuration.listeners if old.pipeline.holds(each)]
    listeners = []
    for new in configuration.listeners:
        same = next((each for each in held if _same(each, new)), new)
        held = [each for each in held if each is not same]
        listeners.append(same)
    state = old.configuration.state if old.pipeline.holds(old.configuration.state) else configuration.state
    return attrs.evolve(configuration, state=state, listeners=tuple(listeners))


def _same(one: object, other: object) -> bool:
    """Whether two components have the same class and the same options, secrets included."""
    return type(one) is type(other) and all(
        getattr(one, field.name) == getattr(other, field.name) for field in fields_of(type(one))
    )
