"""Requests to one container: all calls of the Blob service that concern blobs.

One conditional Put Blob (`If-None-Match: *`) creates a blob atomically, and only if its name is free (Blob service,
"Specifying conditional headers").
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from threading import BoundedSemaphore
from typing import Any

import attrs
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContainerClient, ContentSettings
from rigatoni_objects.store import ObjectStore, Record

from rigatoni_azure.errors import EXISTS, code_of, translated

MAX_KEY = 1024
"""The maximum length of a blob's name (Blob service, "Naming containers, blobs, and metadata")."""
MAX_METADATA = 8000
"""The maximum size of a record in metadata, in bytes: the store allows 8 KiB for names and values together."""

_PAGE = 5000  # the most that List Blobs returns
_NAME = "rigatoni_"
_NO_CONTAINER = "ContainerNotFound"


@attrs.frozen(kw_only=True)
class Container:
    """One container, and the parameters of every blob created in it. Thread-safe.

    Attributes:
        client: The client of the container.
        name: The container's name.
        permits: Limits the concurrent uploads of all streams.
        extra: Further arguments of every upload.
        starts: Whether listings support `startFrom`, a parameter that not every store knows.
    """

    client: ContainerClient = attrs.field(repr=False)
    name: str
    permits: BoundedSemaphore = attrs.field(repr=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    starts: bool = True

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, metadata: Mapping[str, str]) -> bool:
        """Create the blob, or return False if the key exists, whose blob is unchanged.

        A transient error does not mean that the blob was not stored: the response may have been lost.
        """
        body = bytes(content)
        with translated(self.name, "Put Blob"), self.permits:
            try:
                self.client.get_blob_client(key).upload_blob(
                    body,
                    length=len(body),
                    overwrite=False,
                    metadata=dict(metadata),
                    content_settings=ContentSettings(content_type=media_type),
                    **self.extra,
                )
            except HttpResponseError as error:
                if code_of(error) in EXISTS:
                    return False
                raise
        return True

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """Return the blob's metadata; None if the key does not exist."""
        with translated(self.name, "Get Blob Properties"):
            try:
                return dict(self.client.get_blob_client(key).get_blob_properties().metadata or {})
            except ResourceNotFoundError as error:
                if code_of(error) == _NO_CONTAINER:
                    raise
                return None

    def content(self, key: str) -> bytes | None:
        """Return the blob's content; None if the key does not exist."""
        with translated(self.name, "Get Blob"):
            try:
                return self.client.get_blob_client(key).download_blob(max_concurrency=1).readall()
            except ResourceNotFoundError as error:
                if code_of(error) == _NO_CONTAINER:
                    raise
                return None

    def keys(self, prefix: str, *, after: str = "", limit: int = _PAGE) -> list[str]:
        """Return up to `limit` keys that start with `prefix` and sort after `after`; all keys without `starts`."""
        page = min(limit + 1, _PAGE) if self.starts else _PAGE
        start: dict[str, Any] = {"start_from": after} if after and self.starts else {}
        with translated(self.name, "List Blobs"):
            names = self.client.list_blob_names(name_starts_with=prefix or None, results_per_page=page, **start)
            later = (name for name in names if name > after)  # startFrom is inclusive
            return list(islice(later, limit if self.starts else None))

    def remove(self, key: str) -> None:
        """Remove a blob, if it exists."""
        with translated(self.name, "Delete Blob"):
            try:
                self.client.delete_blob(key)
            except ResourceNotFoundError as error:
                if code_of(error) == _NO_CONTAINER:
                    raise


class ContainerStore(ObjectStore):
    """The blobs below a prefix of a container. Records are stored as metadata named `rigatoni_...`."""

    metadata_limit = MAX_METADATA

    def __init__(self, container: Container, prefix: str) -> None:
        self.prefix = prefix
        self.ordered = container.starts
        self.key_limit = MAX_KEY - len(prefix.encode())
        self._container = container

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`: one conditional Put Blob."""
        metadata = {f"{_NAME}{name}": value for name, value in record.items()}
        return self._container.create(f"{self.prefix}{key}", content, media_type=media_type, metadata=metadata)

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        metadata = self._container.metadata(f"{self.prefix}{key}")
        if metadata is None:
            return None
        return {name.removeprefix(_NAME): value for name, value in metadata.items() if name.startswith(_NAME)}

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._container.content(f"{self.prefix}{key}")

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        start = f"{self.prefix}{after}" if after else ""
        found = self._container.keys(f"{self.prefix}{prefix}", after=start, limit=limit)
        return [key.removeprefix(self.prefix) for key in found]

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        for key in keys:
            self._container.remove(f"{self.prefix}{key}")
