"""Locks on files (flock), which end with the process that holds them."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 1.0
"""Seconds to wait for a lock that its holders need for microseconds only."""

_PAUSE = 0.005


def lock(path: Path, *, shared: bool = False, patience: float = PATIENCE) -> int | None:
    """Create the file if necessary, lock it, and return its descriptor; closing that releases the lock.

    Args:
        path: The file, which must not be a folder.
        shared: Whether other shared locks are compatible.
        patience: How long to retry, in seconds.

    Returns:
        The descriptor, or None if another descriptor still holds an incompatible lock.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _try_to_lock(descriptor, shared) and _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(_PAUSE)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the exclusive lock of a file in this block, and yield the file's descriptor.

    Raises:
        BlockingIOError: Another process holds the lock for longer than `PATIENCE`; it is probably suspended.
    """
    descriptor = lock(path)
    if descriptor is None:
        raise BlockingIOError(errno.EAGAIN, "another process has locked it and does not continue", str(path))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the exclusive lock of the file; False if the file does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _try_to_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _try_to_lock(descriptor: int, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the path still names the open file: it may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
