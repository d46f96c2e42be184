"""Opens the components of a pipeline that a repair needs."""

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
    """Return the context in which `load_resume_token` works: without disturbing a running pipeline if possible."""
    return state.looking() if isinstance(state, StateInspector) else state


async def streams_of(
    configuration: PipelineConfiguration, stream: str | None, *, recorded: bool = False
) -> Sequence[Stream]:
    """Return the named stream, or all streams that the source watches.

    The source need not be connected.

    Args:
        configuration: The pipeline.
        stream: The name of the stream, or None for all.
        recorded: Whether the stream may also be one that is no longer watched but has a record. The state store must
            be entered.

    Raises:
        ConfigurationError: The named stream is not watched.
    """
    names = await configuration.source.streams()
    if stream is None:
        return [Stream(configuration.name, name) for name in names]
    named = Stream(configuration.name, stream)
    if stream in names or (recorded and await _has_record(configuration.state, named)):
        return [named]
    raise not_watched(configuration.name, [stream], names)


def not_watched(pipeline: str, names: Sequence[str], watched: Sequence[str]) -> ConfigurationError:
    """Return the error for named streams that are not watched."""
    from rigatoni_core.config.faults import nearest

    return ConfigurationError(
        f"{pipeline} does not watch {', '.join(names)}{nearest(names[0], watched)}",
        remedy=f"Name a watched stream: {', '.join(watched)}.",
    )


async def _has_record(state: StateStore, stream: Stream) -> bool:
    try:
        return await state.load_resume_token(stream) is not None
    except CorruptCheckpointError:
        return True


@asynccontextmanager
async def holding(configuration: PipelineConfiguration, stream: Stream) -> AsyncIterator[int]:
    """Hold the stream's lease in this block, and yield the fencing token for its checkpoint.

    The state store must be entered.

    Raises:
        StateStoreError: A running pipeline holds the lease.
    """
    state = configuration.state
    if not isinstance(state, LeaseKeeper):
        yield await _stored_fencing_token(state, stream)
        return
    lease = await state.acquire(stream, owner=whoami(), ttl=configuration.settings.lease_ttl)
    if lease is None:
        holder = await state.holder(stream) if isinstance(state, StateInspector) else None
        raise StateStoreError(
            f"{holder or 'another instance'} holds the lease of {stream}: nothing was changed",
            remedy="Stop that instance first. If it has died, its lease expires after at most lease_ttl seconds.",
        )
    try:
        yield lease.fencing_token
    finally:
        await state.release(lease)


async def _stored_fencing_token(state: StateStore, stream: Stream) -> int:
    """Return the fencing token of the stored record, for a store without leases."""
    try:
        if (stored := await state.load_resume_token(stream)) is not None:
            return stored.fencing_token
    except CorruptCheckpointError:
        return 0  # an unreadable record has no fence
    return await state.cleared_under(stream) or 0


def whoami() -> str:
    """Return the user, host and process that call the command, for leases and for the history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}:{os.getpid()}"
