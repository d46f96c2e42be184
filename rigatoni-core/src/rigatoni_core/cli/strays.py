"""Positions that a state store holds under another name than it is asked for."""

from collections.abc import Collection, Sequence

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import LeaseKeeper, StateStore, StreamLister
from rigatoni_core.api.errors import CorruptCheckpointError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.succession import ScopeReader


async def renaming_advice(configuration: PipelineConfiguration, others: Collection[str]) -> Sequence[str]:
    """Return a warning if the pipeline has no position yet and another name in the store looks like its former one.

    The store has been entered, or can be looked at. `others` are the names of this process's other pipelines.
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
    alone = not isinstance(state, LeaseKeeper)  # else many pipelines share it, and only a common stream is a sign
    former = sorted(
        {stream.pipeline for stream in held if stream.pipeline not in others and (alone or stream.name in watched)}
    )
    if not former:
        return ()
    names = " and ".join(f'"{each}"' for each in former)
    return (
        f'no position of the pipeline "{name}" is saved, but the state store holds positions of {names}: if this is '
        "that pipeline under a new name, stop it and run `rigatoni state rename FILE OLD NEW`; else it starts fresh",
    )


async def unwatched_advice(configuration: PipelineConfiguration) -> Sequence[str]:
    """Return a warning if streams have a position that are no longer watched, and that no stream continues.

    The store has been entered, or can be looked at.
    """
    watched, source = await configuration.source.streams(), configuration.source
    try:
        left = {stream.name for stream in await unwatched(configuration.state, configuration.name, watched)}
        if isinstance(source, ScopeReader) and left:
            left = left.difference(*(names for each in watched for names in source.shared(each, left)))
    except (CorruptCheckpointError, ValueError):
        return ()  # the stream concerned reports it
    if not left:
        return ()
    names = ", ".join(sorted(left))
    return (
        f"no stream of {configuration.name} captures the changes of {names} any more, although the state store holds a "
        "position of it: add it to `watch` again, or forget it with `rigatoni state clear FILE STREAM`",
    )


async def unwatched(state: StateStore, pipeline: str, watched: Collection[str]) -> Sequence[Stream]:
    """Return the streams of a pipeline with a saved position that it does not watch any more."""
    if not isinstance(state, StreamLister):
        return ()
    return [stream for stream in await state.streams(pipeline) if stream.name not in watched]
