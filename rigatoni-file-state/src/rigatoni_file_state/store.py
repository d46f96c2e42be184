"""The state store `file`: one JSON file per stream, replaced atomically, in a folder that one process holds."""

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import attrs
from filelock import FileLock, Timeout
from rigatoni_core.contracts import StateStore
from rigatoni_core.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.events import Checkpoint, Stream
from rigatoni_core.records import dump_checkpoint, load_checkpoint

from rigatoni_file_state.errors import StateFolderInUseError, translate


@attrs.define(kw_only=True)
class FileStateStore(StateStore):
    """Checkpoints as `<path>/<pipeline>/<stream>.json`, for people as for machines.

    A save is durable when it returns, and a crash at any moment leaves the old record or the new one. While it is
    entered no other process can use the folder; loading needs no lock, so a running pipeline's state can be looked at.
    """

    path: Annotated[Path, "The folder that holds the records; it is created"]

    _lock: FileLock | None = attrs.field(default=None, init=False, repr=False)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._take)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            await asyncio.to_thread(lock.release)

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        await asyncio.to_thread(self._save, stream, checkpoint)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        return await asyncio.to_thread(self._load, stream)

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        await asyncio.to_thread(self._clear, stream, fencing_token)

    def record(self, stream: Stream) -> Path:
        """Where the stream's record is."""
        return self.path / f"{stream.key}.json"

    def _take(self) -> None:
        holder = self.path / ".holder"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", thread_local=False)
            lock.acquire(timeout=0)
            self._lock = lock
            holder.write_text(f"{os.getpid()}\n")
        except Timeout:
            process = holder.read_text().strip() if holder.exists() else "unknown"
            raise StateFolderInUseError(f"the state folder {self.path} is in use by process {process}") from None
        except OSError as error:
            raise translate(error, self.path) from error

    def _load(self, stream: Stream) -> Checkpoint | None:
        path = self.record(stream)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translate(error, path) from error
        return load_checkpoint(stream, content, str(path))

    def _save(self, stream: Stream, checkpoint: Checkpoint) -> None:
        path = self.record(stream)
        temporary = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._refuse_older(stream, checkpoint.fencing_token)
            try:
                with temporary.open("wb") as file:
                    file.write(dump_checkpoint(stream, checkpoint))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)
        except OSError as error:
            raise translate(error, path) from error

    def _clear(self, stream: Stream, fencing_token: int) -> None:
        path = self.record(stream)
        try:
            self._refuse_older(stream, fencing_token)
            path.unlink(missing_ok=True)
            if path.parent.exists():
                _sync_folder(path.parent)
        except OSError as error:
            raise translate(error, path) from error

    def _refuse_older(self, stream: Stream, fencing_token: int) -> None:
        """Keep a newer owner's record; a record that can not be read is put aside, never overwritten."""
        path = self.record(stream)
        try:
            stored = self._load(stream)
        except CorruptCheckpointError:
            number = 1
            while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
                number += 1
            os.link(path, aside)  # the damaged record stays in force until the new one replaces it
            return
        if stored is not None and stored.fencing_token > fencing_token:
            raise LeaseLostError(
                f"{stream} was saved under fencing token {stored.fencing_token}, ours is {fencing_token}"
            )


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
