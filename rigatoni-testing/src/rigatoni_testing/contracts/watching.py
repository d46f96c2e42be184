"""Detection of I/O in constructors and of leaked resources."""

import asyncio
import gc
import inspect
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_IO = {"open", "os.mkdir", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.link", "subprocess.Popen"}
PATIENCE = 5.0
"""Seconds that a thread or a socket may take to end."""
_watched: dict[int, list[str]] = {}
"""Audit events by thread."""


def _hook(event: str, _: tuple[Any, ...]) -> None:
    seen = _watched.get(threading.get_ident())
    if seen is not None and (event in _IO or event.startswith(("socket.", "sqlite3.connect"))) and not _importing():
        seen.append(event)


def _importing() -> bool:
    """Returns whether importlib is on the stack: imports and metadata look-ups do not count as I/O."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(("importlib.", "_frozen_importlib")):
            return True
        frame = frame.f_back
    return False


@contextmanager
def no_io() -> Iterator[list[str]]:
    """Collects the names of this thread's audit events (PEP 578) that are I/O."""
    if not _watched:
        sys.addaudithook(_hook)  # an audit hook cannot be removed, so it is installed once
        _watched[0] = []
    seen = _watched[threading.get_ident()] = []
    try:
        yield seen
    finally:
        del _watched[threading.get_ident()]


def held() -> Mapping[str, set[Any]]:
    """Returns the threads, tasks and (if the system lists them) file descriptors of this process.

    The event loop's own threads, which resolve host names, are excluded.
    """
    gc.collect()
    descriptors = Path("/dev/fd")
    return {
        "threads": {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")},
        "tasks": set(asyncio.all_tasks()),
        "file descriptors": set(os.listdir(descriptors)) if descriptors.is_dir() else set(),  # noqa: PTH208 - names
    }


def _more(before: Mapping[str, set[Any]]) -> Mapping[str, int]:
    """Returns how many resources are new; file descriptors are counted, since their numbers are reused."""
    now = held()
    more = {what: len(now[what] - before[what]) for what in ("threads", "tasks")}
    more["file descriptors"] = len(now["file descriptors"]) - len(before["file descriptors"])
    return {what: count for what, count in more.items() if count > 0}


async def left_over(before: Mapping[str, set[Any]]) -> Mapping[str, int]:
    """Returns how many new resources of each kind remain, after waiting for threads and sockets to end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while (more := _more(before)) and loop.time() < until:
        await asyncio.sleep(0.02)
    return more
