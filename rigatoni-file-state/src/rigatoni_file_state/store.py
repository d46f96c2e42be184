"""The state store `file`: a folder with one JSON record per stream, `<path>/<pipeline>/<stream>.json`."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import attrs
from filelock import FileLock, Timeout
from rigatoni_core.api.contracts import StateInspector, StateStore
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.executor import DaemonExecutor, on_own_thread
from rigatoni_core.api.records import dump_checkpoint, load_checkpoint

from rigatoni_file_state import files
from rigatoni_file_state.errors import FileStateError, StateFolderGoneError, StateFolderInUseError, translated


@attrs.define(kw_only=True, eq=False)
class FileStateStore(StateStore, StateInspector):
    """Checkpoints as files. While it is entered no other process may enter the same folder.

    Loading needs no lock, so that a running pipeline's records can be looked at: a record is always whole. Corrupt
    records are never lost: before one is replaced or cleared, a copy is put beside it (`.json.corrupt-1`, ...).
    """

    path: Annotated[Path, "The folder that holds the records; it is created"]
    _lock: FileLock | None = attrs.field(init=False, default=None, repr=False)
    _lanes: dict[str, DaemonExecutor] = attrs.field(init=False, factory=dict, repr=False)

    async def __aenter__(self) -> Self:
        """Create the folder and lock it. Raises `StateFolderInUseError` naming the process that uses it."""
        self._lock = await on_own_thread("rigatoni-file-state", self._locked)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lock, self._lock = self._lock, None
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()
        if lock is not None:
            await on_own_thread("rigatoni-file-state", lambda: self._unlock(lock))

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """Replace the stream's record; durable on return. See `StateStore`."""
        await self._change(stream, f"save the checkpoint of {stream}", lambda: self._save(stream, checkpoint))

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """The stream's record. Works before the store is entered, too. See `StateStore`."""
        return await on_own_thread(f"rigatoni-file-state {stream}", lambda: self._load(stream))

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Remove the stream's record. See `StateStore`."""
        await self._change(stream, f"clear the checkpoint of {stream}", lambda: self._clear(stream, fencing_token))

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Records are whole at any time, so nothing is needed. See `StateInspector`."""
        yield

    async def holder(self, stream: Stream) -> str | None:
        """The process that has entered the store, whatever the stream. See `StateInspector`."""
        return await on_own_thread(f"rigatoni-file-state {stream}", self._held_by)

    async def _change(self, stream: Stream, what: str, change: Callable[[], None]) -> None:
        """Make one change at a time for each stream, on a thread of its own.

        So a change that hangs and whose caller gave up can not overtake a later one; a cancelled caller's change that
        waits for its turn is not begun.
        """
        if self._lock is None:
            raise FileStateError(f"can not {what}: the store is not entered", remedy="Use it in an `async with` block.")

        def attempt() -> None:
            with translated(what):
                self._require_folder()
                change()

        if stream.key not in self._lanes:
            self._lanes[stream.key] = DaemonExecutor(f"rigatoni-file-state {stream}")
        await self._lanes[stream.key].run(attempt)

    # --- what runs in threads

    def _save(self, stream: Stream, checkpoint: Checkpoint) -> None:
        path = self.record(stream)
        self._prepare_to_replace(stream, path, checkpoint.fencing_token)
        files.make_folder(path.parent)
        files.replace(path, dump_checkpoint(stream, checkpoint))

    def _clear(self, stream: Stream, fencing_token: int) -> None:
        path = self.record(stream)
        if self._prepare_to_replace(stream, path, fencing_token):
            files.remove(path)

    def _load(self, stream: Stream) -> Checkpoint | None:
        path = self.record(stream)
        with translated(f"load the checkpoint of {stream}"):
            content = files.read(path)
        if content is not None:
            return load_checkpoint(stream, content, str(path))
        if self._lock is not None:
            self._require_folder()  # a folder that vanished is no reason to begin anew
        return None

    def _prepare_to_replace(self, stream: Stream, path: Path, fencing_token: int) -> bool:
        """Whether there is a record. Refuses where it has a higher fencing token; keeps it aside where corrupt."""
        content = files.read(path)
        if content is None:
            return False
        try:
            stored = load_checkpoint(stream, content, str(path)).fencing_token
        except CorruptCheckpointError:
            files.keep_aside(path, content)
            return True
        if stored > fencing_token:
            raise LeaseLostError(f"{stream} was saved by another owner (fencing token {stored}, ours {fencing_token})")
        return True

    def record(self, stream: Stream) -> Path:
        """Where the stream's record is."""
        return self.path / f"{stream.key}.json"

    # --- one process at a time

    @property
    def _lock_file(self) -> Path:
        return self.path / ".lock"

    @property
    def _owner_file(self) -> Path:
        return self.path / ".lock-owner"

    def _locked(self) -> FileLock:
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
            return lock

    def _held_by(self) -> str | None:
        with translated("look who uses the folder of checkpoints"):
            if not self._lock_file.exists():
                return None
            lock = FileLock(self._lock_file, timeout=0, thread_local=False)
            try:
                with lock:
                    return None
            except Timeout:
                return self._owner()

    def _unlock(self, lock: FileLock) -> None:
        try:
            with translated("leave the folder of checkpoints"):
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
