"""Where running pipelines answer who asks for their status: one Unix socket for each process, for its user only."""

import asyncio
import json
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rigatoni_core.api.errors import ConfigurationError, RigatoniError

TIMEOUT = 5.0
"""Seconds to wait for an answer: a healthy event loop answers at once."""


class NoAnswerError(RigatoniError):
    id = "no-answer"
    default_remedy = "Its event loop is busy or hangs: look at its log, and at what the machine is doing."


def folder() -> Path:
    """`$RIGATONI_RUNTIME_DIR`, else `rigatoni` below `$XDG_RUNTIME_DIR`, else a folder of this user's among the
    temporary ones. Created if missing. Raises `ConfigurationError` where others may write into it.
    """
    if own := os.environ.get("RIGATONI_RUNTIME_DIR"):
        path = Path(own)
    elif base := os.environ.get("XDG_RUNTIME_DIR"):
        path = Path(base) / "rigatoni"
    else:
        path = Path(tempfile.gettempdir()) / f"rigatoni-{os.getuid()}"
    remedy = "Name a folder of yours in RIGATONI_RUNTIME_DIR."
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"{path} can not be used for the status: {error.strerror}", remedy=remedy) from None
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise ConfigurationError(f"{path} belongs to somebody else, or others may write into it", remedy=remedy)
    return path


@asynccontextmanager
async def answering(status: Callable[[], dict[str, Any]]) -> AsyncIterator[None]:
    """Within this block, whoever connects is told the status. Raises `ConfigurationError` where that is impossible."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # whoever asked went away
            writer.write(json.dumps(status()).encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    path = folder() / f"{os.getpid()}.sock"
    path.unlink(missing_ok=True)  # of a process that had our number before
    try:
        server = await asyncio.start_unix_server(answer, path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can not be created: {error.strerror or error}",
            remedy="Name a folder with a short path in RIGATONI_RUNTIME_DIR.",
        ) from None
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def running() -> Iterator[tuple[int, dict[str, Any] | NoAnswerError]]:
    """The number of each running process and what it answers. Sockets of processes that are gone are removed."""
    for path in sorted(folder().glob("*.sock")):
        try:
            yield int(path.stem), _ask(path)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            yield int(path.stem), NoAnswerError(f"process {path.stem} does not answer: {error}")


def _ask(path: Path) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        content = b""
        while chunk := client.recv(2**16):
            content += chunk
    answer: dict[str, Any] = json.loads(content)
    return answer
