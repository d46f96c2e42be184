"""The instances that use a state folder: each has a folder of its own below `.instances`, locked while it lives."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rigatoni_file_state import files, locks
from rigatoni_file_state.expiry import Expiry

FOLDER = ".instances"
"""No pipeline has a folder of this name: `Stream.key` never begins with a dot."""

_LOCK, _MEMBERS = "lock", "members"


class Instance:
    """One entered store. Its lock tells the others that it lives; the system releases it, however the process ends.

    Use `enter` to create one.
    """

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._members: dict[str, dict[str, Expiry]] = {}

    @classmethod
    def enter(cls, state: Path) -> Self:
        """Register an instance, and remove what dead ones have left."""
        root = state / FOLDER
        root.mkdir(exist_ok=True)
        _sweep(root)
        folder = root / f"{os.getpid()}-{secrets.token_hex(8)}"
        while True:
            folder.mkdir(exist_ok=True)
            try:
                descriptor = locks.lock(folder / _LOCK)
            except FileNotFoundError:  # another instance swept the folder before it was locked
                continue
            if descriptor is not None:
                break
        try:
            os.write(descriptor, f"{os.getpid()} {os.uname().nodename}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        return cls(folder, descriptor)

    def leave(self) -> None:
        """Unregister. Leases of this instance are free from now on."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._descriptor)

    @property
    def name(self) -> str:
        """The name by which `is_alive` and `describe` find this instance."""
        return self._folder.name

    @property
    def exists(self) -> bool:
        """Whether the state folder still contains this instance."""
        return self._folder.exists()

    @contextmanager
    def staged(self, content: bytes) -> Iterator[Path]:
        """Yield a durable temporary file with this content. It is removed at the end unless it was moved."""
        path = self._folder / f"{secrets.token_hex(4)}.tmp"
        try:
            files.write(path, content)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def heartbeat(self, pipeline: str, owner: str, ttl: float) -> None:
        """Register an owner for `ttl` seconds, or unregister it if that is 0. Not durable."""
        owners = self._members.setdefault(pipeline, {})
        owners.pop(owner, None)
        if ttl > 0:
            owners[owner] = Expiry.after(ttl)
        record = {name: {each: end.record() for each, end in of.items()} for name, of in self._members.items()}
        path = self._folder / f"{_MEMBERS}.tmp"
        path.write_text(json.dumps(record), encoding="utf-8")
        path.replace(self._folder / _MEMBERS)


def is_alive(state: Path, name: str) -> bool:
    """Return whether the instance lives: its lock is held."""
    return locks.is_locked(state / FOLDER / name / _LOCK)


def describe(state: Path, name: str) -> str:
    """Return the process of an instance in words."""
    match (files.read(state / FOLDER / name / _LOCK) or b"").decode(errors="replace").split():
        case [pid, _] if pid == str(os.getpid()):
            return "another pipeline of this process"
        case [pid, host]:
            return f"process {pid} on {host}"
        case _:
            return "another process"


def members(state: Path, pipeline: str) -> set[str]:
    """Return the owners of a pipeline that live and have not expired."""
    found = set[str]()
    for path in (state / FOLDER).glob(f"*/{_MEMBERS}"):
        content = files.read(path)
        if content is None or not is_alive(state, path.parent.name):
            continue
        owners = json.loads(content).get(pipeline, {})
        found |= {owner for owner, end in owners.items() if not Expiry.read(end).has_passed}
    return found


def _sweep(root: Path) -> None:
    """Remove the folders of instances that have died."""
    for folder in root.iterdir():
        try:
            descriptor = locks.lock(folder / _LOCK, patience=0)
        except (FileNotFoundError, NotADirectoryError):  # another instance sweeps, too
            continue
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
