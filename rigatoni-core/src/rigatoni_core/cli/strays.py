"""Warnings about saved positions of other pipelines or of streams that are no longer watched."""

from collections.abc import Collection, Sequence

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import LeaseKeeper, StateStore, StreamLister
from rigatoni_core.api.errors import CorruptCheckpointError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.succession import ScopeReader


async def renaming_advice(configuration: PipelineConfiguration, others: Collection[str]) -> Sequence[str]:
    """Return a warning if the pipeline has no position, and another pipeline in the store may be its former name.

    The store must be entered, or be open for inspection. `others` are the names of this process's other pipelines.
    """
    state, name = configuration.state, configuration.name
    if not isinstance(state, StreamLister):
        return ()
    try:
        held = await state.streams()
    except CorruptCheckpointError:
        return ()  # its own stream reports it
    if any(stream.pipeline == name for stream in held):
        return ()
    watched = set(await configuration.source.streams())
    alone = not isinstance(state, LeaseKeeper)  # pipelines may share a lease keeper: only a common stream is a sign
    former = sorted(
        {stream.pipeline for stream in held if stream.pipeline not in others and (alone or stream.name in watched)}
    )
    if not former:
        return ()
    names = " and ".join(f'"{each}"' for each in former)
    return (
        f'the state store has no position of the pipeline "{name}", but positions of {names}. If the pipeline was '
        "renamed, stop it and run `rigatoni state rename FILE OLD NEW`; otherwise it starts fresh",
    )


async def unwatched_advice(configuration: PipelineConfiguration) -> Sequence[str]:
    """Return a warning if unwatched streams still have positions, and no watched stream continues them.

    The store must be entered, or be open for inspection.
    """
    watched, source = await configuration.source.streams(), configuration.source
    try:
        left = {stream.name for stream in await unwatched(configuration.state, configuration.name, watched)}
        if isinstance(source, ScopeReader) and left:
            left = left.difference(*(names for each in watched for names in source.shared(each, left)))
    except (CorruptCheckpointError, ValueError):
        return ()  # the affected stream reports it
    if not left:
        return ()
    names = ", ".join(sorted(left))
    return (
        f"{configuration.name} no longer watches {names}, but the state store still has a position. If another "
        "file uses the same pipeline name, give each file its own `name`. Otherwise add the stream to `watch` again, "
        "or remove the position with `rigatoni state clear FILE STREAM`",
    )


async def unwatched(state: StateStore, pipeline: str, watched: Collection[str]) -> Sequence[Stream]:
    """Return the streams of a pipeline that have a saved position but are no longer watched."""
    if not isinstance(state, StreamLister):
        return ()
    return [stream for stream in await state.streams(pipeline) if stream.name not in watched]
