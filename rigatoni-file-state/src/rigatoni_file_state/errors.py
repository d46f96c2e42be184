"""What can go wrong with a folder of checkpoints, and the translation of the system's errors.

StateStoreError
  FileStateError             the folder cannot be used, and trying again will not help by itself
    StateFolderInUseError      another process uses the folder
    StateFolderGoneError       the folder vanished while it was in use
    StateFolderFullError       no space is left (transient)
    StateFolderBusyError       the system is short of something for now (transient)
    StateFolderHangsError      the folder's disk or network does not respond (transient)
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rigatoni_core.api.errors import StateStoreError, Transient


class FileStateError(StateStoreError):
    """The state folder cannot be used, for a reason that has no class of its own."""

    id = "file-state"
    default_remedy = "Check that the folder exists on a writable file system and belongs to this user."


class StateFolderInUseError(FileStateError):
    """Another process holds the state folder."""

    id = "file-state-in-use"
    default_remedy = "Stop the other process, or give this pipeline a state folder of its own."


class StateFolderGoneError(FileStateError):
    """The state folder has disappeared while it was in use."""

    id = "file-state-gone"
    default_remedy = "Put the folder back (is its disk mounted?) and start again."


class StateFolderFullError(FileStateError, Transient):
    """The disk or the quota of the state folder is exhausted."""

    id = "file-state-full"
    default_remedy = "Make room; the old record is untouched and the save is tried again."


class StateFolderBusyError(FileStateError, Transient):
    """The operating system refuses an operation for now: too many open files, no memory, an I/O error."""

    id = "file-state-busy"
    default_remedy = "It is tried again. If it lasts, look at the limits of open files and memory, and at the disk."


class StateFolderHangsError(FileStateError, Transient):
    """An operation in the state folder does not end within the time limit."""

    id = "file-state-hangs"
    default_remedy = "Check the disk, or the network file system and its server. Rigatoni retries; nothing is lost."


_KINDS: dict[int, type[FileStateError]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), StateFolderFullError),
    **dict.fromkeys((errno.EAGAIN, errno.EBUSY, errno.EMFILE, errno.ENFILE, errno.ENOMEM), StateFolderBusyError),
    errno.ENOENT: StateFolderGoneError,
}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Within this block an OSError becomes a `FileStateError`; `what` says in words what was tried."""
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, FileStateError)
        place = f" at {error.filename}" if error.filename else ""
        raise kind(f"cannot {what}{place}: {error.strerror or error}") from error
