"""Shared fixtures: a server, a prefix for each test, a small serializer, readers of the written objects."""

import functools
import itertools
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from rigatoni_core.api.events import Definition, ResumeToken
from rigatoni_core.api.options import Secret
from rigatoni_s3 import destination as module
from rigatoni_s3.access import Access
from rigatoni_s3.destination import S3Destination
from rigatoni_s3.testing.proxy import FaultProxy
from rigatoni_s3.testing.server import S3Server, s3_server
from rigatoni_testing.batches import event_document
from rigatoni_testing.serializers import TokenLines

_NUMBERS = itertools.count()


_client = functools.cache(Access.client)


@pytest.fixture
def serializer() -> TokenLines:
    return TokenLines()


@pytest.fixture
def definition() -> Definition:
    return Definition("fingerprint", {"watch": "shop.orders"})


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    return event_document


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder / "data") as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


@attrs.frozen
class Place:
    """A test's own prefix, to which all keys are relative. (SeaweedFS needs a second for each new bucket.)"""

    server: S3Server
    bucket: str
    prefix: str
    client: Any

    def options(self, *, prefix: str = "", **options: Any) -> dict[str, Any]:
        """Return the options of a destination that writes here."""
        return {
            "bucket": self.bucket,
            "prefix": self.prefix + prefix,
            "endpoint_url": self.server.endpoint_url,
            "path_style": True,
            "region": self.server.region,
            "access_key_id": self.server.access_key,
            "secret_access_key": Secret(self.server.secret_key),
            "settle_time": 0.0,
            "conditional_put": True,
            **options,
        }

    def __iter__(self) -> Iterator[str]:
        """Yield all keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return (item["Key"].removeprefix(self.prefix) for page in pages for item in page.get("Contents", ()))

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()

    def head(self, key: str) -> dict[str, Any]:
        return self.client.head_object(Bucket=self.bucket, Key=self.prefix + key)

    def put(self, key: str, body: bytes, **options: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body, **options)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def written(self, folder: str = "") -> dict[str, list[ResumeToken]]:
        """Return the data objects of a folder with their tokens, by the rest of the key in listing order."""
        keys = [key for key in sorted(self) if key.startswith(folder) and key.endswith(".txt")]
        return {key.removeprefix(folder): TokenLines.tokens_in(self.get(key)) for key in keys}


@pytest.fixture(scope="session")
def bucket(server: S3Server) -> str:
    server.client().create_bucket(Bucket="lake")
    return "lake"


@pytest.fixture
def place(server: S3Server, bucket: str) -> Place:
    return Place(server, bucket, f"test-{next(_NUMBERS)}/", server.client())


@pytest.fixture
def destination(place: Place, serializer: TokenLines, monkeypatch: pytest.MonkeyPatch) -> Callable[..., S3Destination]:
    """Make a destination in the test's place, without probing: test_probing covers that."""
    monkeypatch.setattr(module, "probe", lambda *_: None)
    monkeypatch.setattr(module, "is_atomic", lambda *_: True)
    monkeypatch.setattr(Access, "client", _client)  # a new client costs more than the rest of a test

    def make(**options: Any) -> S3Destination:
        return S3Destination(**place.options(**{"serializer": serializer, **options}))

    return make


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.endpoint_url) as entered:
        yield entered
