"""PostgreSQL servers as separate processes, for tests and demonstrations.

The programs are `initdb` and `postgres`, on PATH or where Debian's package `postgresql` puts them.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg
from rigatoni_testing.servers import free_port

PASSWORD = "only-for-tests"  # noqa: S105


def program(name: str) -> str | None:
    """Return where a program of the server is, the newest release first; None if it is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: path.parts[4], reverse=True)
    return shutil.which(name) or (str(installed[0]) if installed else None)


@contextmanager
def postgres_dsn(*, variable: str = "RIGATONI_TEST_POSTGRES_DSN") -> Iterator[str]:
    """The connection string of a server's superuser: the environment's, or that of a server started here."""
    if dsn := os.environ.get(variable):
        yield dsn
        return
    with PostgresServer() as server:
        yield server.dsn


class PostgresServer:
    """One server on a port of its own, in a temporary folder. A superuser starts it as the user `postgres`.

    Raises:
        RuntimeError: The programs are not installed, or the server does not respond within 30 s.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.dsn = f"postgresql://tester:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self._folder = Path()

    def __enter__(self) -> Self:
        if (initdb := program("initdb")) is None or program("postgres") is None:
            raise RuntimeError("no PostgreSQL server found: install one, such as with `apt-get install postgresql`")
        self._folder = Path(tempfile.mkdtemp(prefix="rigatoni-postgres-"))
        if self._user:
            shutil.chown(self._folder, **self._user)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["--auth=scram-sha-256", f"--pwfile={secret}", "--username=tester", "--encoding=UTF8", "--no-sync"]
        made = subprocess.run(  # noqa: S603 (a fixed program)
            [initdb, "-D", self._folder / "data", "--locale=C", *options],
            capture_output=True,
            cwd=self._folder,
            check=False,
            **self._user,
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.decode(errors='replace')[-2000:]}")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server with the data that it left, and wait until it responds."""
        options = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}"]
        server = program("postgres")
        assert server is not None
        arguments = [argument for option in (*options, "shared_buffers=16MB") for argument in ("-c", option)]
        self._process = subprocess.Popen(  # noqa: S603 (a fixed program)
            [server, "-D", self._folder / "data", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **self._user,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.dsn, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("PostgreSQL did not start") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End the server at once; open transactions are rolled back."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None
