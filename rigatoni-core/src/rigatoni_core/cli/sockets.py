"""The status of running processes over Unix sockets, one for each process, accessible to its user only."""

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

from rigatoni_core.api.errors import ConfigurationError, NoAnswerError

TIMEOUT = 5.0
"""Seconds to wait for a response. A healthy event loop responds immediately."""


def folder() -> Path:
    """Return the folder of this user's sockets, created if missing.

    It is `$RIGATONI_RUNTIME_DIR`, else `rigatoni` in `$XDG_RUNTIME_DIR`, else a folder of this user in the shared
    temporary folder. There, another user may have created a file of that name.

    Raises:
        ConfigurationError: It is not a private folder of this user (owner, mode 0700, no symbolic link).
    """
    if own := os.environ.get("RIGATONI_RUNTIME_DIR"):
        path = Path(own)
    elif base := os.environ.get("XDG_RUNTIME_DIR"):
        path = Path(base) / "rigatoni"
    else:
        path = Path(tempfile.gettempdir()) / f"rigatoni-{os.getuid()}"
    remedy = f"Name another folder in RIGATONI_RUNTIME_DIR, or make this one private: chmod 700 {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot hold the status sockets: {error.strerror}", remedy=remedy) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(f"{path} is not a private folder of this user", remedy=remedy)
    return path


@asynccontextmanager
async def serving(status: Callable[[], dict[str, Any]]) -> AsyncIterator[None]:
    """Serve the status on this process's socket in this block.

    Raises:
        ConfigurationError: The socket cannot be created.
    """

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # the client has disconnected
            writer.write(json.dumps(status()).encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    path = folder() / f"{os.getpid()}.sock"
    try:
        path.unlink(missing_ok=True)  # left by an earlier process with this process id
        server = await asyncio.start_unix_server(respond, path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be created: {error.strerror or error}",
            remedy="Name a folder with a short path in RIGATONI_RUNTIME_DIR.",
        ) from None
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def running() -> Iterator[tuple[int, dict[str, Any] | NoAnswerError]]:
    """Yield the id of each running process and its status, and remove the sockets of processes that ended.

    Other files in the folder are ignored.
    """
    for path in sorted(folder().glob("*.sock")):
        if not path.stem.isdecimal() or not _is_own_socket(path):
            continue
        try:
            yield int(path.stem), _status_of(path)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        except ValueError:
            continue  # another program's socket: its reply is not a status
        except OSError as error:
            yield int(path.stem), NoAnswerError(f"process {path.stem} does not respond: {error}")


def _is_own_socket(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def _status_of(path: Path) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        content = b""
        while chunk := client.recv(2**16):
            content += chunk
    status = json.loads(content)
    if not isinstance(status, dict) or not {"file", "pid", "started", "pipelines"} <= status.keys():
        raise ValueError("the reply is not a status")
    return status
