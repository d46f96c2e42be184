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

from rigatoni_core.api.errors import ConfigurationError, NoAnswerError

TIMEOUT = 5.0
"""Seconds to wait for an answer: a healthy event loop answers at once."""


def folder() -> Path:
    """Return the folder of this user's sockets, created if missing.

    It is `$RIGATONI_RUNTIME_DIR`, else `rigatoni` below `$XDG_RUNTIME_DIR`, else a folder of this user in the shared
    temporary folder, where others may have put something under its name before.

    Raises:
        ConfigurationError: It is not a folder of this user alone (owner, mode 0700, no symbolic link).
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
        raise ConfigurationError(f"{path} cannot be used for the status: {error.strerror}", remedy=remedy) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(f"{path} is not a folder that only this user may enter", remedy=remedy)
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
    try:
        path.unlink(missing_ok=True)  # of a process that had our number before
        server = await asyncio.start_unix_server(answer, path)
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
    """Yield the number of each running process and its status. Sockets of processes that ended are removed.

    Anything else in the folder is ignored and stays.
    """
    for path in sorted(folder().glob("*.sock")):
        if not path.stem.isdecimal() or not _is_own_socket(path):
            continue
        try:
            yield int(path.stem), _ask(path)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        except ValueError:
            continue  # another program's: it does not speak as we do
        except OSError as error:
            yield int(path.stem), NoAnswerError(f"process {path.stem} does not respond: {error}")


def _is_own_socket(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def _ask(path: Path) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        content = b""
        while chunk := client.recv(2**16):
            content += chunk
    answer = json.loads(content)
    if not isinstance(answer, dict) or not {"file", "pid", "started", "pipelines"} <= answer.keys():
        raise ValueError("its answer is not a status")
    return answer
