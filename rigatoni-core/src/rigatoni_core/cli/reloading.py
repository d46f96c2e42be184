"""Reloads a changed configuration (SIGHUP): opens and checks the new pipelines while the old ones run."""

import asyncio
from collections.abc import Callable, Sequence

import attrs

from rigatoni_core.api.components import fields_of
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.errors import ConfigurationError, PipelineTimeoutError
from rigatoni_core.engine.pipeline import Pipeline

PREPARE_TIMEOUT = 60.0
"""Seconds to open the components of one pipeline, and to try to read its streams from their positions."""


@attrs.frozen
class Member:
    """One pipeline of this process, and its configuration."""

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
    """Return pipelines that can take over as soon as the running ones have ended.

    Their sources and destinations are open, and every stream was read once. State stores, and listeners with unchanged
    options, are handed over, because their locks and ports are exclusive.

    Args:
        running: The running pipelines.
        wanted: The new configuration.
        make: Creates a pipeline.

    Raises:
        RigatoniError: The running pipelines cannot be replaced. Everything that was opened is closed again.
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
    """Return why the pipelines cannot be replaced, or an empty text if they can.

    The new pipelines resume from the checkpoints, so they must find them.
    """
    known = {each.name: each for each in running}
    for new in wanted:
        old = known.get(new.name)
        if old is None:
            continue
        if not old.configuration.state.durable and not old.pipeline.holds(old.configuration.state):
            return f"{old.name}: it has ended, and its state store has not kept the positions"
        if not _same(old.configuration.state, new.state):
            return (
                f"{old.name}: its state store has changed, but its positions are in the old one: stop it, move them "
                "with `rigatoni state export` and `import`, and start it again"
            )
    if not known.keys() & {new.name for new in wanted}:
        return f"it contains none of the running pipelines ({', '.join(known)}): stop this process and start another"
    return ""


def _inheriting(configuration: PipelineConfiguration, old: Member) -> PipelineConfiguration:
    """Return the configuration with the components that it takes over from the running pipeline."""
    held = [each for each in old.configuration.listeners if old.pipeline.holds(each)]
    listeners = []
    for new in configuration.listeners:
        same = next((each for each in held if _same(each, new)), new)
        held = [each for each in held if each is not same]
        listeners.append(same)
    state = old.configuration.state if old.pipeline.holds(old.configuration.state) else configuration.state
    return attrs.evolve(configuration, state=state, listeners=tuple(listeners))


def _same(one: object, other: object) -> bool:
    """Return whether two components have the same class and the same options, including secrets."""
    return type(one) is type(other) and all(
        getattr(one, field.name) == getattr(other, field.name) for field in fields_of(type(one))
    )
