"""Destinations of the events: local files, on a small disk if mounting is permitted, or an S3 server."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

from rigatoni_s3.testing.server import S3Server, s3_server
from rigatoni_testing.proxy import TcpProxy

DISK = 256  # MiB; an hour writes about a quarter of it


class Lake(Protocol):
    """A destination: its configuration, the faults that it supports, and its events by stream in listing order."""

    environment: Mapping[str, str]
    proxies: Mapping[str, TcpProxy]
    configuration: str

    def fill(self) -> bool:
        """Fill the disk, and return whether that is possible."""

    def make_room(self) -> None: ...

    def events(self) -> Iterator[dict[str, Any]]: ...


class LocalLake:
    """Files in `folder`."""

    environment: Mapping[str, str] = {}
    proxies: Mapping[str, TcpProxy] = {}
    configuration = 'type = "local"\npath = "lake"\nserializer = { type = "json" }'

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "lake"
        self._filler = self._folder / ".filler"

    def __enter__(self) -> Self:
        subprocess.run(["umount", str(self._folder)], capture_output=True, check=False)  # of a run that was killed
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "rigatoni-torture", str(self._folder)]
        self.is_small = bool(shutil.which("mount")) and subprocess.run(mount, capture_output=True).returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_small:
            kept = self._folder.with_name("lake-kept")
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self._folder, kept)
            subprocess.run(["umount", str(self._folder)], check=True)
            self._folder.rmdir()
            kept.rename(self._folder)

    def fill(self) -> bool:
        if self.is_small:
            with self._filler.open("wb", buffering=0) as filler:
                try:
                    while filler.write(b"\0" * 65_536):
                        pass
                except OSError:
                    pass  # the disk is full, as intended
        return self.is_small

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)

    def events(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._folder.rglob("*.ndjson")):
            yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


class S3Lake:
    """Objects of an S3 server, which the instances reach through a proxy."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder / "s3", ignore_errors=True)
        self._starting = s3_server(folder / "s3", variable="RIGATONI_S3_ENDPOINT")

    def __enter__(self) -> Self:
        self._server: S3Server = self._starting.__enter__()
        self._proxy = TcpProxy.to(self._server.endpoint_url)
        self._proxy.__enter__()
        self._server.client().create_bucket(Bucket="lake")
        self.proxies = {"S3": self._proxy}
        self.environment = {"RIGATONI_S3_SECRET": self._server.secret_key}
        self.configuration = "\n".join(
            [
                'type = "s3"',
                'bucket = "lake"',
                f'endpoint_url = "http://127.0.0.1:{self._proxy.port}"',
                f'region = "{self._server.region}"',
                f'access_key_id = "{self._server.access_key}"',
                'secret_access_key = { env = "RIGATONI_S3_SECRET" }',
                "settle_time = 5",
                'serializer = { type = "json" }',
            ]
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.__exit__(None, None, None)
        self._starting.__exit__(None, None, None)

    def fill(self) -> bool:
        return False

    def make_room(self) -> None:
        """Do nothing, because it is never full."""

    def events(self) -> Iterator[dict[str, Any]]:
        client = self._server.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="lake")
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        for key in sorted(key for key in keys if key.endswith(".ndjson")):
            content = client.get_object(Bucket="lake", Key=key)["Body"].read()
            yield from map(json.loads, content.decode().splitlines())


LAKES: Mapping[str, Callable[[Path], AbstractContextManager[Any]]] = {"local": LocalLake, "s3": S3Lake}
