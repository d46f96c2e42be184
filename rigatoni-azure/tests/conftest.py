"""Shared fixtures: an emulator, a prefix for each test, readers of the written objects."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from azure.storage.blob import ContainerClient
from rigatoni_azure.destination import AzureDestination
from rigatoni_azure.testing.server import AzureServer, azure_server
from rigatoni_core.api.events import Definition, ResumeToken
from rigatoni_core.api.options import Secret
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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    with azure_server(tmp_path_factory.mktemp("azure")) as started:
        started.client().create_container("lake")
        yield started


@attrs.frozen
class Place:
    """A test's own prefix, to which all keys are relative."""

    server: AzureServer
    prefix: str
    container: ContainerClient

    def options(self, **options: Any) -> dict[str, Any]:
        """Return the options of a destination that writes here."""
        return {
            "container": self.container.container_name,
            "prefix": self.prefix,
            "endpoint_url": self.server.endpoint_url,
            "account": self.server.account,
            "account_key": Secret(self.server.key),
            "settle_time": 0.0,
            **options,
        }

    def __iter__(self) -> Iterator[str]:
        """Yield all keys."""
        return (name.removeprefix(self.prefix) for name in self.container.list_blob_names(name_starts_with=self.prefix))

    def get(self, key: str) -> bytes:
        return self.container.download_blob(self.prefix + key).readall()

    def put(self, key: str, content: bytes) -> None:
        self.container.upload_blob(self.prefix + key, content)

    def delete(self, key: str) -> None:
        self.container.delete_blob(self.prefix + key)

    def written(self, folder: str = "") -> dict[str, list[ResumeToken]]:
        """Return the data objects of a folder with their tokens, by the rest of the key in listing order."""
        keys = [key for key in sorted(self) if key.startswith(folder) and key.endswith(".txt")]
        return {key.removeprefix(folder): TokenLines.tokens_in(self.get(key)) for key in keys}


@pytest.fixture
def place(server: AzureServer) -> Place:
    return Place(server, f"test-{next(_NUMBERS)}/", server.client().get_container_client("lake"))


@pytest.fixture
def destination(place: Place) -> Callable[..., AzureDestination]:
    return lambda **options: AzureDestination(**place.options(**{"serializer": TokenLines(), **options}))
