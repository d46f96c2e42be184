"""Creates files atomically, durably, and only if they do not exist. All changes to the file system are made here.

A file is written under a temporary name and made durable (fsync). A hard link then gives it its name, and fails if the
name exists. Finally the folder is made durable. A name therefore never refers to a partial file, even after a crash.
"""

import errno
import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rigatoni_local.errors import LocalAccessError, LocalUnsupportedError

_UNSUPPORTED = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EMLINK}


@contextmanager
def locked(path: Path, *, exclusive: bool, create: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file, shared or exclusively; yield False if it is locked and `wait` is False.

    The system releases the lock when the process ends. Raises FileNotFoundError if the file is missing and `create` is
    False.
    """
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(descriptor)


@contextmanager
def staged(content: bytes | memoryview, folder: Path) -> Iterator[Path]:
    """Yield a durable temporary file with this content in `folder`; remove it at the end of the block."""
    path = folder / secrets.token_hex(8)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            rest = memoryview(content).cast("B")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield path
    finally:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove all files in this folder, leftovers of crashes. Call it only while no process stages files there."""
    for path in folder.iterdir():
        path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, durably, if it exists."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Tree:
    """An existing folder, below which folders and files are created durably."""

    _REMEMBERED = 1000

    def __init__(self, root: Path) -> None:
        self.root = root
        self._durable: set[Path] = set()

    def make_folder(self, folder: Path) -> None:
        """Create the folder and its missing parents.

        Another process may have created an existing folder and crashed before making it durable. So each process makes
        the name of an existing folder durable once, too.
        """
        if folder == self.root or (folder in self._durable and folder.is_dir()):
            return
        self.make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
        if len(self._durable) >= self._REMEMBERED:
            self._durable.clear()
        self._durable.add(folder)

    def publish(self, temporary: Path, target: Path) -> bool:
        """Give a staged file its name, durably. False if the name exists: that file is kept and made durable, too."""
        self.make_folder(target.parent)
        try:
            os.link(temporary, target)
            created = True
        except FileExistsError:
            created = False
        sync_folder(target.parent)
        return created


def make_root(path: Path) -> None:
    """Create a folder and its missing parents, durably. Raises LocalAccessError if one of them is a file."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir():
        raise LocalAccessError(f"{existing} is a file, not a folder", remedy="Set another path, or move the file.")
    Tree(existing).make_folder(path)


def probe(path: Path) -> bool:
    """Check that locks and hard links work here.

    Returns:
        Whether names that differ only by case, or only by Unicode normalization, name the same file.

    Raises:
        LocalUnsupportedError: The file system lacks working locks or hard links.
        OSError: The folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=path) as name:
        folder = Path(name)
        try:
            lock = folder / "lock"
            with locked(lock, exclusive=True, create=True), locked(lock, exclusive=True, wait=False) as second:
                if second:
                    raise LocalUnsupportedError(f"file locks in {path} do not exclude each other")
            with staged(b"one", folder) as one, staged(b"other", folder) as other:
                tree = Tree(folder)
                if not tree.publish(one, folder / "link") or tree.publish(other, folder / "link"):
                    raise LocalUnsupportedError(f"hard links in {path} replace files that exist")
                return any(
                    tree.publish(one, folder / name) and not tree.publish(other, folder / twin)
                    for name, twin in (("twin", "TWIN"), ("\u00e9", "e\u0301"))
                )
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                raise LocalUnsupportedError(f"{path} lacks hard links or file locks: {error.strerror}") from error
            raise
