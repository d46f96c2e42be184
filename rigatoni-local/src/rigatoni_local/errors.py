"""The errors of a folder of files, and the translation of the system's errors.

DestinationError
  LocalError                 an I/O error that retrying cannot fix
    LocalAccessError           permissions, a read-only file system, a file where a folder should be
    LocalUnsupportedError      the file system has no hard links or no file locks
    LocalFolderGoneError       the stream's folder vanished while the pipeline runs
    LocalFullError             no space is left (transient)
    LocalBusyError             another process holds the folder's lock, or the file system hangs (transient)
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rigatoni_core.api.errors import DestinationError, Transient


class LocalError(DestinationError):
    """The file system refuses an operation for a reason that has no class of its own."""

    id = "local"
    default_remedy = "Check the disk or file system, then restart: the pipeline resumes from its checkpoint."


class LocalAccessError(LocalError):
    """The account has no permission for a folder or a file."""

    id = "local-access"
    default_remedy = "Allow the account that runs the pipeline to create files there, or set another path."


class LocalUnsupportedError(LocalError):
    """The file system lacks hard links, file locks or durable writes."""

    id = "local-unsupported"
    default_remedy = "Set path to a local file system with hard links and file locks (ext4, XFS, Btrfs, ZFS, APFS)."


class LocalFolderGoneError(LocalError):
    """The folder disappeared while it was in use."""

    id = "local-folder-gone"
    default_remedy = (
        "Restore the folder (is its disk mounted?) and restart. If it was removed on purpose, just restart: the "
        "pipeline creates a new one and resumes from the checkpoint."
    )


class LocalFullError(LocalError, Transient):
    """The disk or the quota is exhausted."""

    id = "local-full"
    default_remedy = "Free some space or raise the quota: the worker retries the batch, and nothing is lost."


class LocalBusyError(LocalError, Transient):
    """The operating system refuses an operation for now, or another process holds the lock."""

    id = "local-busy"
    default_remedy = (
        "Wait: the worker retries. If the error persists, stop the other process that writes this stream to the same "
        "folder, or check whether the file system responds."
    )


_FULL = {errno.ENOSPC, errno.EDQUOT}
_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR}
_BUSY = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate each OSError in this block into a `LocalError`; `what` describes the attempted action."""
    try:
        yield
    except OSError as error:
        raise _translate(error, what) from error


def _translate(error: OSError, what: str) -> LocalError:
    kind = (
        LocalFullError
        if error.errno in _FULL
        else LocalAccessError
        if error.errno in _ACCESS
        else LocalBusyError
        if error.errno in _BUSY
        else LocalError
    )
    place = f" at {error.filename}" if error.filename else ""
    return kind(f"cannot {what}{place}: {error.strerror or error}")
