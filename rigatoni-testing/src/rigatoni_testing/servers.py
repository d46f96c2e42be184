"""Servers of tests: free ports, processes, and what is done where a program is missing."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TypeAlias

import pytest

Process: TypeAlias = "subprocess.Popen[bytes]"

PORTS = range(15_000, 32_768)
"""Below the ephemeral port range: an outgoing connection could take the port first."""


def free_port() -> int:
    """Returns an unused TCP port of the loopback interface. Raises RuntimeError if none is found."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("none of 100 ports is free")


def skip_without(program: str, remedy: str) -> NoReturn:
    """Skip the test because a program is missing on this machine; fail it where `CI` is set: nothing is skipped there.

    Args:
        program: The program that is missing, and what it is for.
        remedy: How to install it.
    """
    message = f"{program} is not installed: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@contextmanager
def running(command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run a server in a process group of its own, and kill the group at the end.

    Args:
        command: The program and its arguments.
        log: The file for its output.
        environment: Variables in addition to those of this process.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 (a program of the tests)
            command, stdout=output, stderr=output, env=os.environ | (environment or {}), start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(ready: Callable[[], object], process: Process, log: Path, *, seconds: float = 30.0) -> None:
    """Call `ready` until it raises nothing. Raises RuntimeError if the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            ready()
            return
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"the server did not start (exit code {process.poll()}): {error}\n{tail}") from error
        time.sleep(0.05)
