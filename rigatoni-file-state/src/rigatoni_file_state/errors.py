"""What can go wrong in a folder, by what the reader can do about it."""

import errno
from pathlib import Path

from rigatoni_core.errors import StateStoreError, Transient


class FileStateError(StateStoreError):
    id = "file-state"


class StateFolderInUseError(FileStateError):
    id = "file-state-in-use"
    default_remedy = "Stop the other process, or give this pipeline a state folder of its own."


class StateFolderFullError(FileStateError, Transient):
    id = "file-state-full"
    default_remedy = "Make room; the old record is untouched and the save is tried again."


def translate(error: OSError, path: Path) -> FileStateError:
    """An operating system's error at `path` as ours."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StateFolderFullError(f"no room to save {path}: {reason}")
    return FileStateError(
        f"the state folder can not be used: {path}: {reason}",
        remedy="Check that the folder exists on a writable file system and belongs to this user.",
    )
