"""A folder of files as a store of objects; files are created atomically, durably, and only if they do not exist."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import attrs
from rigatoni_objects.paths import OWN, definition_path
from rigatoni_objects.quiescence import Quiescence
from rigatoni_objects.store import ObjectStore, Record

from rigatoni_local import files
from rigatoni_local.errors import LocalFolderGoneError, translated

TEMPORARY, LOCK = f"{OWN}tmp/", f"{OWN}lock"
"""The folder of staged files, and the lock: shared while a batch is written, exclusive while a definition changes."""


class FolderStore(ObjectStore):
    """The files below `folder`, which may not exist yet, in the existing `root`."""

    metadata_limit = 0

    def __init__(self, root: Path, folder: str, *, folds_case: bool = False) -> None:
        self.folder = root / folder
        self.folds_case = folds_case
        self._temporary = self.folder / TEMPORARY
        self._tree = files.Tree(root)

    def prepare(self) -> None:
        """Create the folder of staged files."""
        with translated("create a folder"):
            self._tree.make_folder(self._temporary)

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`: a hard link to a durable temporary file is the atomic step."""
        with translated("write a file"):
            try:
                with files.staged(content, self._temporary) as temporary:
                    return self._tree.publish(temporary, self.folder / key)
            except FileNotFoundError as error:
                raise LocalFolderGoneError(f"{self.folder} vanished: {error}") from error

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`. Files carry no record of their own."""
        with translated("look for a file"):
            return {} if (self.folder / key).exists() else None

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        with translated("read a file"):
            try:
                return (self.folder / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        parent = prefix[: prefix.rfind("/") + 1]
        found: list[str] = []
        with translated("list a folder"):
            for key in self._walk(parent, prefix, after):
                found.append(key)
                if len(found) == limit:
                    break
        return found

    def _walk(self, parent: str, prefix: str, after: str) -> Iterator[str]:
        """Yield the keys in the folder `parent`, in order."""
        try:
            entries = list(os.scandir(self.folder / parent))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in sorted(f"{it.name}/" if it.is_dir(follow_symlinks=False) else it.name for it in entries):
            key = f"{parent}{name}"
            if not (key.startswith(prefix) or prefix.startswith(key)) or key in (TEMPORARY, LOCK):
                continue
            if not key.endswith("/"):
                if key > after:
                    yield key
            elif key > after or after.startswith(key):
                yield from self._walk(key, prefix, after)

    def make_durable(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`: syncs the folders of the files."""
        with translated("make a folder durable"):
            for folder in dict.fromkeys((self.folder / key).parent for key in keys):
                self._tree.make_folder(folder)
                files.sync_folder(folder)

    def link(self, source: str, key: str) -> bool | None:
        """See `ObjectStore`: another hard link to the same file."""
        with translated("write a file"):
            try:
                return self._tree.publish(self.folder / source, self.folder / key)
            except FileNotFoundError:
                return None

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        with translated("remove a file"):
            for key in keys:
                files.remove(self.folder / key)


@attrs.frozen
class FolderLock(Quiescence):
    """Changes definitions under the folder's exclusive lock, while no process writes a batch.

    An owner with the old definition therefore finds the new one before its next write, and stops.
    """

    store: FolderStore
    exclusive = True

    @property
    def _lock(self) -> Path:
        return self.store.folder / LOCK

    def prepare(self) -> None:
        """See `Quiescence`. Removes what dead processes left behind, if no other process is active."""
        self.store.prepare()
        with (
            translated("lock a folder"),
            files.locked(self._lock, exclusive=True, create=True, wait=False) as alone,
        ):
            if alone:
                files.sweep(self.store.folder / TEMPORARY)

    def mark(self, number: int) -> str:
        """See `Quiescence`: the next definition itself."""
        return definition_path(number + 1)

    def writing(self) -> AbstractContextManager[object]:
        """See `Quiescence`: a shared lock."""
        return self._held(exclusive=False)

    def defining(self) -> AbstractContextManager[object]:
        """See `Quiescence`: an exclusive lock."""
        return self._held(exclusive=True)

    @contextmanager
    def _held(self, *, exclusive: bool) -> Iterator[None]:
        with ExitStack() as stack:
            with translated("lock a folder"):
                try:
                    stack.enter_context(files.locked(self._lock, exclusive=exclusive))
                except FileNotFoundError as error:
                    raise LocalFolderGoneError(f"{self.store.folder} vanished: {error}") from error
            yield
