"""Shared fixtures: an emulator, a prefix for each test, readers of the written objects."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from google.cloud.storage import Bucket
from rigatoni_core.api.events import Definition, ResumeToken
from rigatoni_gcs.destination import GcsDestination
from rigatoni_gcs.testing.server import GcsServer, gcs_server
from rigatoni_testing.batches import event_document
from rigatoni_testing.serializers import TokenLines

_NUMBERS = itertools.count()


@pytest.fixture
def definition() -> Definition:
    return Definition("fingerprint", {"watch": "shop.orders"})


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    return event_document


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with gcs_server(tmp_path_factory.mktemp("gcs")) as started:
        started.client().create_bucket("lake")
        yield started


@attrs.frozen
class Place:
    """A test's own prefix, to which all keys are relative."""

    server: GcsServer
    prefix: str
    bucket: Bucket

    def options(self, **options: Any) -> dict[str, Any]:
        """Return the options of a destination that writes here."""
        return {
            "bucket": self.bucket.name,
            "prefix": self.prefix,
            "endpoint_url": self.server.endpoint_url,
            "anonymous": True,
            "settle_time": 0.0,
            **options,
        }

    def __iter__(self) -> Iterator[str]:
        """Yield all keys."""
        return (blob.name.removeprefix(self.prefix) for blob in self.bucket.list_blobs(prefix=self.prefix))

    def get(self, key: str) -> bytes:
        return self.bucket.blob(self.prefix + key).download_as_bytes()

    def put(self, key: str, content: bytes) -> None:
        self.bucket.blob(self.prefix + key).upload_from_string(content)

    def delete(self, key: str) -> None:
        self.bucket.blob(self.prefix + key).delete()

    def written(self, folder: str = "") -> dict[str, list[ResumeToken]]:
        """Return the data objects of a folder with their tokens, by the rest of the key in listing order."""
        keys = [key for key in sorted(self) if key.startswith(folder) and key.endswith(".txt")]
        return {key.removeprefix(folder): TokenLines.tokens_in(self.get(key)) for key in keys}


@pytest.fixture
def place(server: GcsServer) -> Place:
    return Place(server, f"test-{next(_NUMBERS)}/", server.client().bucket("lake"))


@pytest.fixture
def destination(place: Place) -> Callable[..., GcsDestination]:
    return lambda **options: GcsDestination(**place.options(**{"serializer": TokenLines(), **options}))
