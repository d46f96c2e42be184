"""A MongoDB-compatible server as a separate process, for tests and the demo.

The server is SecantusDB's `secantusd-py` (`pip install --pre SecantusDB==0.7.0b3`), started as a program, never
imported.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from rigatoni_testing.servers import free_port

PROGRAM = "secantusd-py"


def server_program() -> str | None:
    """Return the path of the server program, next to this Python or on PATH."""
    local = Path(sys.executable).parent / PROGRAM
    return str(local) if local.exists() else shutil.which(PROGRAM)


@contextmanager
def mongodb_server(folder: Path, *, variable: str = "RIGATONI_TEST_MONGODB_URI") -> Iterator[str]:
    """Yield the URI of a replica set: the environment's, or that of a server started with its data in `folder`.

    Raises RuntimeError if no server is installed, or it does not respond within 30 s.
    """
    if uri := os.environ.get(variable):
        yield uri
        return
    program = server_program()
    if program is None:
        raise RuntimeError(f"no {PROGRAM} found: set {variable}, or pip install --pre SecantusDB==0.7.0b3")
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [program, "--port", str(port), "--storage-path", str(folder)]
    command += ["--enable-test-commands", "--oplog-max-entries", "2000000", "--sync-on-commit"]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 (a fixed program)
        try:
            uri = f"mongodb://127.0.0.1:{port}/"
            _wait_until_ready(uri, process)
            yield uri
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(uri: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    with MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=500) as client:
        while True:
            try:
                client.admin.command("ping")
                return
            except PyMongoError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{PROGRAM} did not start: exit code {process.poll()}") from None
                time.sleep(0.05)
