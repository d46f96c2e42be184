"""The state store `file`: a folder with one JSON record per stream, `<path>/<pipeline>/<stream>.json`."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self, TypeVar

import attrs
from filelock import FileLock, Timeout
from rigatoni_core.api.contracts import StateInspector, StateStore, StreamLister
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_core.api.records import StateRecord, dump_checkpoint, dump_cleared, listed_stream, load_record

from rigatoni_file_state import files
from rigatoni_file_state.errors import (
    FileStateError,
    StateFolderGoneError,
    StateFolderHangsError,
    StateFolderInUseError,
    translated,
)

T = TypeVar("T")


@attrs.define(kw_only=True, eq=False)
class FileStateStore(StateStore, StreamLister, StateInspector):
    """Checkpoints as files. One process at a time may enter the store of a folder.

    Loading needs no lock, because a record is always complete. Therefore the records of a running pipeline can be
    inspected. A corrupt record is copied (`.json.corrupt-1`, ...) before it is replaced or cleared.

    One thread makes all calls to the file system, in order. If the folder hangs, that thread waits for it, and further
    calls fail with a transient error.
    """

    path: Annotated[Path, "Folder of the records; created if it does not exist"]
    _entered: bool = attrs.field(init=False, default=False, repr=False)
    _lock: FileLock | None = attrs.field(init=False, default=None, repr=False)
    _thread: SerialExecutor = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._thread = SerialExecutor("rigatoni-file-state", self._hangs)

    async def __aenter__(self) -> Self:
        """Create the folder and lock it.

        Raises:
            StateFolderInUseError: Another process uses the folder. The message names it.
        """
        try:
            await self._thread.run(self._take_lock)
        except asyncio.CancelledError:
            self._thread.begin(self._unlock)  # the thread may still acquire the lock after this
            raise
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered = False
        unlocked = self._thread.begin(self._unlock)  # runs after every change that was submitted before
        await asyncio.shield(asyncio.wrap_future(unlocked))

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """Replace the stream's record; durable on return. See `StateStore`."""
        record = dump_checkpoint(stream, checkpoint)
        await self._replace(stream, f"save the checkpoint of {stream}", record, checkpoint.fencing_token)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """Return the stream's checkpoint, also before the store is entered. See `StateStore`."""
        record = await self._thread.run(lambda: self._load(stream))
        return record.checkpoint if record else None

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Replace the stream's record by one without a position. See `StateStore`."""
        record = dump_cleared(stream, fencing_token)
        await self._replace(stream, f"clear the checkpoint of {stream}", record, fencing_token)

    async def cleared_under(self, stream: Stream) -> int | None:
        """Return the fencing token of a record without a position. See `StateStore`."""
        record = await self._thread.run(lambda: self._load(stream))
        return record.fencing_token if record and record.checkpoint is None else None

    async def streams(self, pipeline: str | None = None) -> Sequence[Stream]:
        """Return the streams of the folder's records. See `StreamLister`."""
        return await self._thread.run(lambda: self._list(pipeline))

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Allow reading. Records are always complete, so this needs no lock. See `StateInspector`."""
        yield

    async def holder(self, stream: Stream) -> str | None:
        """Return the process that has entered the store, for any stream. See `StateInspector`."""
        return await self._thread.run(self._holder)

    async def _replace(self, stream: Stream, what: str, content: bytes, fencing_token: int) -> None:
        """Replace the stream's record under its fencing token.

        Changes are made in order, so one that hangs cannot overwrite a later one, even if its caller has timed out. If
        a caller is cancelled while its change is still queued, the change is dropped.
        """
        if not self._entered:
            raise FileStateError(f"cannot {what}: the store is not entered", remedy="Use it in an `async with` block.")

        def replace() -> None:
            with translated(what):
                self._require_folder()
                path = self.record(stream)
                self._prepare_replacement(stream, path, fencing_token)
                files.make_folder(path.parent)
                files.replace(path, content)

        await self._thread.run(replace)

    def _hangs(self, seconds: float) -> FileStateError:
        return StateFolderHangsError(f"the folder of checkpoints {self.path} has not responded for {seconds:.0f} s")

    # --- runs on the thread

    def _load(self, stream: Stream) -> StateRecord | None:
        path = self.record(stream)
        with translated(f"load the checkpoint of {stream}"):
            content = files.read(path)
        if content is not None:
            return load_record(stream, content, str(path))
        if self._entered:
            self._require_folder()  # without the folder the stream must not start fresh
        return None

    def _list(self, pipeline: str | None) -> list[Stream]:
        with translated("list the checkpoints"):
            if self._entered:
                self._require_folder()
            records = [(path, files.read(path)) for path in self.path.glob("*/*.json") if not path.name.startswith(".")]
        listed = [
            listed_stream(f"{path.parent.name}/{path.name.removesuffix('.json')}", content, str(path))
            for path, content in records
            if content is not None  # removed since the listing
        ]
        return sorted(stream for stream in listed if stream and pipeline in (None, stream.pipeline))

    def _prepare_replacement(self, stream: Stream, path: Path, fencing_token: int) -> None:
        """Check the fencing token of the stored record, or copy the record if it is corrupt."""
        if (content := files.read(path)) is None:
            return
        try:
            stored = load_record(stream, content, str(path)).fencing_token
        except CorruptCheckpointError:
            files.keep_aside(path, content)
            return
        if stored != fencing_token:
            raise LeaseLostError(f"{stream} has another owner: its fencing token is {stored}, ours is {fencing_token}")

    def record(self, stream: Stream) -> Path:
        """Return the path of the stream's record."""
        return self.path / f"{stream.key}.json"

    # --- one process at a time

    @property
    def _lock_file(self) -> Path:
        return self.path / ".lock"

    @property
    def _owner_file(self) -> Path:
        return self.path / ".lock-owner"

    def _take_lock(self) -> None:
        with translated("open the folder of checkpoints"):
            files.make_folder(self.path)
            lock = FileLock(self._lock_file, timeout=0, thread_local=False)
            try:
                lock.acquire()
            except Timeout:
                raise StateFolderInUseError(f"{self.path} is in use by {self._owner()}") from None
            try:
                files.replace(self._owner_file, f"{os.getpid()} {os.uname().nodename}\n".encode())
            except BaseException:
                lock.release()
                raise
            self._lock = lock

    def _holder(self) -> str | None:
        with translated("check the lock of the folder of checkpoints"):
            if not self._lock_file.exists():
                return None
            lock = FileLock(self._lock_file, timeout=0, thread_local=False)
            try:
                with lock:
                    return None
            except Timeout:
                return self._owner()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            with translated("unlock the folder of checkpoints"):
                self._owner_file.unlink(missing_ok=True)
        finally:
            lock.release()

    def _owner(self) -> str:
        match (files.read(self._owner_file) or b"").decode(errors="replace").split():
            case [pid, _] if pid == str(os.getpid()):
                return "another pipeline of this process"
            case [pid, host]:
                return f"process {pid} on {host}"
            case _:
                return "another process or pipeline"

    def _require_folder(self) -> None:
        if not self._owner_file.exists():
            raise StateFolderGoneError(f"the folder of checkpoints {self.path} vanished while it was in use")
