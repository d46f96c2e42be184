"""The emulator Azurite as a separate process: the program on PATH, else one that npm installs into the user's cache.

Where it deviates from the service: it knows no Microsoft Entra identities over http, no hierarchical namespaces, no
`startFrom` in listings, no throttling and no encryption scopes.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
from rigatoni_testing.servers import free_port, running, skip_without, wait_for

VERSION = "3.37.0"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's published key (Azurite, "Default storage account")."""


@attrs.frozen
class AzureServer:
    """A server's endpoint, and the credentials for it."""

    endpoint_url: str
    account: str = ACCOUNT
    key: str = KEY

    def client(self) -> BlobServiceClient:
        """Return a new client, for creating containers and inspecting blobs."""
        return BlobServiceClient(self.endpoint_url, AzureNamedKeyCredential(self.account, self.key), retry_total=0)


@contextmanager
def azure_server(folder: Path) -> Iterator[AzureServer]:
    """Start a server with its data in memory and its log in `folder`.

    Skips the test if Node.js is missing. Raises RuntimeError if it does not respond within 60 s.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "azurite.log"
    command = [_program(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    with running(command, log) as process:
        server = AzureServer(f"http://127.0.0.1:{port}/{ACCOUNT}")
        wait_for(lambda: server.client().create_container("ready"), process, log, seconds=60)
        yield server


def _program() -> str:
    """Return the path of the program; install it once for all runs if it is not on PATH."""
    if program := shutil.which("azurite-blob"):
        return program
    npm = shutil.which("npm")
    if npm is None:
        skip_without("npm", "install Node.js, which runs the emulator Azurite")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rigatoni-tests" / f"azurite-{VERSION}"
    program_path = cache / "node_modules" / ".bin" / "azurite-blob"
    if not program_path.exists():
        temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
        temporary.mkdir(parents=True)
        install = [npm, "install", "--no-fund", "--no-audit", "--loglevel=error", "--prefix", str(temporary)]
        subprocess.run([*install, f"azurite@{VERSION}"], check=True, timeout=300)  # noqa: S603 (a fixed package)
        try:
            temporary.rename(cache)
        except OSError:  # another process was faster
            shutil.rmtree(temporary)
    return str(program_path)
