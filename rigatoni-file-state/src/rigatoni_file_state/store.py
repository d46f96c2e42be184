"""The state store `file`: a folder with one JSON record per stream, `<path>/<pipeline>/<stream>.json`, and leases."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import attrs
from rigatoni_core.api.contracts import (
    ConfigLinter,
    Lease,
    LeaseKeeper,
    Membership,
    StateInspector,
    StateStore,
    StreamLister,
)
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_core.api.records import dump_checkpoint, dump_cleared
from rigatoni_core.api.settings import Settings

from rigatoni_file_state.errors import FileStateError, StateFolderHangsError
from rigatoni_file_state.folder import StateFolder


@attrs.define(kw_only=True, eq=False)
class FileStateStore(StateStore, StreamLister, LeaseKeeper, Membership, StateInspector, ConfigLinter):
    """Checkpoints and leases as files, for all processes of one host that use the folder.

    Loading needs no lock, because a record is always complete. Therefore the records of a running pipeline can be
    inspected. A corrupt record is copied (`.json.corrupt-1`, ...) before it is replaced or cleared.

    One thread makes all calls to the file system, in order. If the folder hangs, that thread waits for it, and further
    calls fail with a transient error.
    """

    path: Annotated[Path, "Folder of the records; created if it does not exist"]
    _folder: StateFolder = attrs.field(init=False, repr=False)
    _thread: SerialExecutor = attrs.field(init=False, repr=False)
    _network: str | None = attrs.field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        self._folder = StateFolder(self.path)
        self._thread = SerialExecutor("rigatoni-file-state", self._hangs)

    async def __aenter__(self) -> Self:
        """Create the folder and register this instance.

        Raises:
            StateFolderInUseError: A process with an older version uses the folder alone. The message names it.
        """
        try:
            await self._thread.run(self._folder.enter)
            self._network = await self._thread.run(self._folder.network_file_system)
        except BaseException:
            self._thread.begin(self._folder.leave)  # the thread may still enter after this
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = self._thread.begin(self._folder.leave)  # runs after every change that was submitted before
        await asyncio.shield(asyncio.wrap_future(left))

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Allow reading. Records are always complete, so this needs no lock. See `StateInspector`."""
        self._network = await self._thread.run(self._folder.network_file_system)
        yield

    async def holder(self, stream: Stream) -> str | None:
        """Return the process that holds the stream's lease. See `StateInspector`."""
        return await self._thread.run(lambda: self._folder.holder(stream))

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Warn about a network file system, once the store is entered. See `ConfigLinter`."""
        if self._network is None:
            return ()
        return (
            f"the state folder {self.path} is on a network file system ({self._network}). Only processes of one host "
            'may share it, and a network failure stops them: use a local disk, or type = "redis" for several hosts',
        )

    # --- checkpoints

    def record(self, stream: Stream) -> Path:
        """Return the path of the stream's record."""
        return self._folder.record(stream)

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """Replace the stream's record; durable on return. See `StateStore`."""
        record = dump_checkpoint(stream, checkpoint)
        await self._replace(stream, f"save the checkpoint of {stream}", record, checkpoint.fencing_token)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """Return the stream's checkpoint, also before the store is entered. See `StateStore`."""
        record = await self._thread.run(lambda: self._folder.load(stream))
        return record.checkpoint if record else None

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Replace the stream's record by one without a position. See `StateStore`."""
        record = dump_cleared(stream, fencing_token)
        await self._replace(stream, f"clear the checkpoint of {stream}", record, fencing_token)

    async def cleared_under(self, stream: Stream) -> int | None:
        """Return the fencing token of a record without a position. See `StateStore`."""
        record = await self._thread.run(lambda: self._folder.load(stream))
        return record.fencing_token if record and record.checkpoint is None else None

    async def streams(self, pipeline: str | None = None) -> Sequence[Stream]:
        """Return the streams of the folder's records. See `StreamLister`."""
        return await self._thread.run(lambda: self._folder.streams(pipeline))

    # --- leases

    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """Return the lease, or None while another owner holds it. See `LeaseKeeper`."""
        deadline = _now() + ttl
        token = await self._thread.run(lambda: self._folder.acquire(stream, owner, ttl))
        return Lease(stream, owner, token, deadline) if token else None

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Return the lease with a later deadline. See `LeaseKeeper`."""
        deadline = _now() + ttl
        await self._thread.run(lambda: self._folder.renew(lease, ttl))
        return attrs.evolve(lease, deadline=deadline)

    async def release(self, lease: Lease) -> None:
        """Release the lease. See `LeaseKeeper`."""
        await self._thread.run(lambda: self._folder.release(lease))

    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """Return the number of running instances of the pipeline. See `Membership`."""
        return await self._thread.run(lambda: self._folder.heartbeat(pipeline, owner, ttl))

    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """Record that an instance waits for the stream. See `Membership`."""
        await self._thread.run(lambda: self._folder.request_handover(stream, ttl))

    async def handover_requested(self, stream: Stream) -> bool:
        """Return whether an instance waits for the stream. See `Membership`."""
        return await self._thread.run(lambda: self._folder.handover_requested(stream))

    async def _replace(self, stream: Stream, what: str, content: bytes, fencing_token: int) -> None:
        """Replace the stream's record under its fencing token.

        Changes are made in order, so one that hangs cannot overwrite a later one, even if its caller has timed out. If
        a caller is cancelled while its change is still queued, the change is dropped.
        """
        await self._thread.run(lambda: self._folder.replace(stream, what, content, fencing_token))

    def _hangs(self, seconds: float) -> FileStateError:
        return StateFolderHangsError(f"the folder of checkpoints {self.path} has not responded for {seconds:.0f} s")


def _now() -> float:
    return asyncio.get_running_loop().time()
