"""A pipeline's components, opened as far as a repair needs them."""

import getpass
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import LeaseKeeper, StateInspector, StateStore
from rigatoni_core.api.errors import ConfigurationError, CorruptCheckpointError, StateStoreError
from rigatoni_core.api.events import Stream


def looking(state: StateStore) -> AbstractAsyncContextManager[object]:
    """To be entered before `load_resume_token` is called; where the store can, without disturbing its user."""
    return state.looking() if isinstance(state, StateInspector) else state


async def streams_of(
    configuration: PipelineConfiguration, stream: str | None, *, recorded: bool = False
) -> Sequence[Stream]:
    """Return the one stream that was named, or all that the source watches.

    The source need not be connected. With `recorded`, for which the state store has been entered, a stream may also be
    one that is not watched any more but has a record.

    Raises:
        ConfigurationError: The stream that was named is not watched.
    """
    names = await configuration.source.streams()
    if stream is None:
        return [Stream(configuration.name, name) for name in names]
    named = Stream(configuration.name, stream)
    if stream in names or (recorded and await _has_record(configuration.state, named)):
        return [named]
    raise not_watched(configuration.name, [stream], names)


def not_watched(pipeline: str, names: Sequence[str], watched: Sequence[str]) -> ConfigurationError:
    """The error for streams that were named and are not watched."""
    from rigatoni_core.config.faults import nearest

    return ConfigurationError(
        f"{pipeline} does not watch {', '.join(names)}{nearest(names[0], watched)}",
        remedy=f"Name a stream that it watches: {', '.join(watched)}.",
    )


async def _has_record(state: StateStore, stream: Stream) -> bool:
    try:
        return await state.load_resume_token(stream) is not None
    except CorruptCheckpointError:
        return True


@asynccontextmanager
async def holding(configuration: PipelineConfiguration, stream: Stream) -> AsyncIterator[int]:
    """The fencing token to save the stream's checkpoint with; nobody runs the stream meanwhile.

    The state store has been entered. Raises `StateStoreError` where a running pipeline holds the stream.
    """
    state = configuration.state
    if not isinstance(state, LeaseKeeper):
        yield await _stored_fencing_token(state, stream)
        return
    lease = await state.acquire(stream, owner=whoami(), ttl=configuration.settings.lease_ttl)
    if lease is None:
        holder = await state.holder(stream) if isinstance(state, StateInspector) else None
        raise StateStoreError(
            f"{stream} is run by {holder or 'another instance'}: nothing was changed",
            remedy="Stop that instance first; its lease ends by itself at the latest after lease_ttl seconds.",
        )
    try:
        yield lease.fencing_token
    finally:
        await state.release(lease)


async def _stored_fencing_token(state: StateStore, stream: Stream) -> int:
    """The token to save with if the store grants none: that of the stored record."""
    try:
        if (stored := await state.load_resume_token(stream)) is not None:
            return stored.fencing_token
    except CorruptCheckpointError:
        return 0  # a record that nobody can read fences nothing off
    return await state.cleared_under(stream) or 0


def whoami() -> str:
    """Who calls the command, for leases and for the history: user, host and process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}:{os.getpid()}"
