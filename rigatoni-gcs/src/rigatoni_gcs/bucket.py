"""Requests to one bucket: all calls of the JSON API that concern objects.

`ifGenerationMatch=0` creates an object atomically, and only if its name is free (Cloud Storage, "Request
preconditions"). Each object is one multipart request at any size. The client library uses resumable uploads
above 8 MiB, which several writers can start for the same name; one request has one arbiter.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import BoundedSemaphore
from typing import Any

import attrs
import google_crc32c
from google.api_core.exceptions import NotFound, from_http_response
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client
from rigatoni_objects.store import ObjectStore, Record

from rigatoni_gcs.errors import translated

CHECKSUMS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "CRC32C": ("crc32c", lambda content: google_crc32c.value(content).to_bytes(4, "big")),
    "MD5": ("md5Hash", lambda content: hashlib.md5(content, usedforsecurity=False).digest()),
}
"""The checksums that the store verifies: the property of the object, and the function."""

MAX_KEY = 1024
"""The maximum length of a key in bytes (Cloud Storage, "Object names")."""
MAX_METADATA = 8000
"""The maximum size of a record in metadata, in bytes: the store allows 8 KiB for names and values together."""
MAX_PUT = 5 * 10**12
"""The maximum size of an object in bytes (Cloud Storage, "Quotas & limits": 5 TiB)."""

_NAME = "rigatoni_"


@attrs.frozen(kw_only=True)
class Bucket:
    """One bucket, and the parameters of every object created in it. Thread-safe.

    Attributes:
        session: Sends uploads.
        client: Sends all other requests.
        name: The bucket's name.
        permits: Limits the concurrent uploads of all streams.
        timeout: Seconds to wait for a connection, and for data.
        properties: Further properties of every object, such as `storageClass`.
        parameters: Further parameters of every upload, such as `kmsKeyName`.
        checksum: The checksum that the store verifies; None: none.
        user_project: The project to bill, for buckets whose requester pays.
    """

    session: AuthorizedSession = attrs.field(repr=False)
    client: Client = attrs.field(repr=False)
    name: str
    permits: BoundedSemaphore = attrs.field(repr=False)
    timeout: tuple[float, float] = (10.0, 30.0)
    properties: Mapping[str, Any] = attrs.field(factory=dict)
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    checksum: str | None = "CRC32C"
    user_project: str | None = None

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, metadata: Mapping[str, str]) -> bool:
        """Create the object, or return False if the key exists, whose object is unchanged.

        A transient error does not mean that the object was not stored: the response may have been lost.
        """
        properties: dict[str, Any] = {"name": key, "contentType": media_type, **self.properties}
        if metadata:
            properties["metadata"] = dict(metadata)
        if self.checksum:
            name, digest = CHECKSUMS[self.checksum]
            properties[name] = base64.b64encode(digest(bytes(content))).decode()
        body, related = _multipart(properties, content)
        parameters = {"uploadType": "multipart", "ifGenerationMatch": "0", "fields": "generation", **self.parameters}
        if self.user_project:
            parameters["userProject"] = self.user_project
        url = f"{self.client.api_endpoint}/upload/storage/v1/b/{self.name}/o"
        with translated(self.name, "create"), self.permits:
            response = self.session.post(
                url, params=parameters, data=body, headers={"Content-Type": related}, timeout=self.timeout
            )
            if response.status_code == 412:
                return False
            if response.status_code != 200:
                raise from_http_response(response)
        return True

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """Return the object's custom metadata; None if the key does not exist."""
        with translated(self.name, "get"):
            blob = self._bucket().get_blob(key, retry=None, timeout=self.timeout)
        return None if blob is None else dict(blob.metadata or {})

    def content(self, key: str) -> bytes | None:
        """Return the object's content, verified by its checksum; None if the key does not exist."""
        with translated(self.name, "get"):
            try:
                body: bytes = (
                    self._bucket().blob(key).download_as_bytes(raw_download=True, retry=None, timeout=self.timeout)
                )
            except NotFound:
                return None
        return body

    def keys(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Return up to `limit` keys that start with `prefix` and sort after `after`."""
        with translated(self.name, "list"):
            blobs = self.client.list_blobs(
                self._bucket(),
                prefix=prefix,
                start_offset=after or None,  # inclusive
                max_results=limit + 1,
                fields="items(name),nextPageToken",
                retry=None,
                timeout=self.timeout,
            )
            return [blob.name for blob in blobs if blob.name > after][:limit]

    def remove(self, key: str) -> None:
        """Remove an object, if it exists."""
        with translated(self.name, "delete"), suppress(NotFound):
            self._bucket().blob(key).delete(retry=None, timeout=self.timeout)

    def _bucket(self) -> Any:
        return self.client.bucket(self.name, user_project=self.user_project)


class BucketStore(ObjectStore):
    """The objects below a prefix of a bucket. Records are stored as custom metadata named `rigatoni_...`."""

    metadata_limit = MAX_METADATA

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.prefix = prefix
        self.key_limit = MAX_KEY - len(prefix.encode())
        self._bucket = bucket

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`: one conditional request."""
        metadata = {f"{_NAME}{name}": value for name, value in record.items()}
        return self._bucket.create(f"{self.prefix}{key}", content, media_type=media_type, metadata=metadata)

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        metadata = self._bucket.metadata(f"{self.prefix}{key}")
        if metadata is None:
            return None
        return {name.removeprefix(_NAME): value for name, value in metadata.items() if name.startswith(_NAME)}

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._bucket.content(f"{self.prefix}{key}")

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        found = self._bucket.keys(f"{self.prefix}{prefix}", after=f"{self.prefix}{after}" if after else "", limit=limit)
        return [key.removeprefix(self.prefix) for key in found]

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        for key in keys:
            self._bucket.remove(f"{self.prefix}{key}")


def _multipart(properties: Mapping[str, Any], content: bytes | memoryview) -> tuple[bytes, str]:
    """Return the body of an upload and its content type (JSON API, "Multipart upload")."""
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(properties)}\r\n"
        f"--{boundary}\r\nContent-Type: {properties['contentType']}\r\n\r\n"
    )
    return b"".join([head.encode(), content, f"\r\n--{boundary}--".encode()]), f"multipart/related; boundary={boundary}"
