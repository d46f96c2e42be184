"""What can go wrong with a folder of files, and the translation of the system's errors.

DestinationError
  LocalError                 the folder can not be written, and trying again will not help by itself
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
    id = "local"
    default_remedy = "Look after the disk or file system, then start again: nothing is lost, the checkpoint stayed."


class LocalAccessError(LocalError):
    id = "local-access"
    default_remedy = "Give the account that runs the pipeline the right to create files there, or set another path."


class LocalUnsupportedError(LocalError):
    id = "local-unsupported"
    default_remedy = "Set path to a local file system with hard links and file locks (ext4, XFS, Btrfs, ZFS, APFS)."


class LocalFolderGoneError(LocalError):
    id = "local-folder-gone"
    default_remedy = (
        "Put the folder back (is its disk mounted?) and start again. Where it was removed on purpose, starting again "
        "goes on from the checkpoint into a new one."
    )


class LocalFullError(LocalError, Transient):
    id = "local-full"
    default_remedy = "Free some space or raise the quota: the batch is tried again, nothing of it is lost."


class LocalBusyError(LocalError, Transient):
    id = "local-busy"
    default_remedy = (
        "It is tried again. If it lasts: stop the other process that writes this stream into the same folder, or look "
        "whether the file system answers at all."
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
    """Within this block an OSError becomes a `LocalError`; `what` says in words what was tried."""
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
    return kind(f"can not {what}{place}: {error.strerror or error}")
