"""Durable files and folders. A file is replaced by moving a durable one to its path, then syncing the folder."""

import itertools
import os
from pathlib import Path

from rigatoni_file_state.errors import FileStateError


def read(path: Path) -> bytes | None:
    """Return the file's content, or None if the file does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write(path: Path, content: bytes, flag: int = os.O_TRUNC) -> None:
    """Write a file durably, except for its name. `flag` is `O_TRUNC` or `O_EXCL`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_aside(path: Path, content: bytes) -> Path:
    """Write a copy to the first free name of `<path>.corrupt-1`, `-2`, ..., and return its path."""
    for number in itertools.count(1):
        copy = path.with_name(f"{path.name}.corrupt-{number}")
        try:
            write(copy, content, os.O_EXCL)
        except FileExistsError:
            continue
        except OSError:
            copy.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        return copy
    raise AssertionError("unreachable: itertools.count is infinite")


def make_folder(folder: Path) -> None:
    """Create the folder and its missing parents durably. Raises FileStateError if one of them is a file."""
    if folder.is_dir():
        return
    if folder.exists():
        raise FileStateError(f"{folder} is a file, not a folder", remedy="Set another path, or move the file.")
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
