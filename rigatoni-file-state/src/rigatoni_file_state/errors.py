"""Errors of a state folder, and the translation of the operating system's errors.

StateStoreError
  FileStateError             the folder cannot be used, and a retry does not help
    StateFolderInUseError      a process with an older version uses the folder alone
    StateFolderGoneError       the folder vanished while it was in use
    StateFolderFullError       no space is left (transient)
    StateFolderBusyError       the system lacks a resource for now (transient)
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
    """A process with an older rigatoni-file-state, which shares no folder, uses the state folder."""

    id = "file-state-in-use"
    default_remedy = "Stop that process, or upgrade rigatoni-file-state there as well."


class StateFolderGoneError(FileStateError):
    """The state folder disappeared while it was in use."""

    id = "file-state-gone"
    default_remedy = "Put the folder back (is its disk mounted?) and start again."


class StateFolderFullError(FileStateError, Transient):
    """The disk or the quota of the state folder is exhausted."""

    id = "file-state-full"
    default_remedy = "Free space on the disk. The old record is unchanged, and Rigatoni retries the save."


class StateFolderBusyError(FileStateError, Transient):
    """The operating system temporarily rejects an operation: too many open files, or no memory."""

    id = "file-state-busy"
    default_remedy = "Check the limits of open files and memory if this persists. Rigatoni retries."


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
    """Translate an OSError in this block to a `FileStateError`. `what` is a phrase that follows "cannot"."""
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, FileStateError)
        place = f" at {error.filename}" if error.filename else ""
        raise kind(f"cannot {what}{place}: {error.strerror or error}") from error
