"""Requests to one bucket: all calls of the S3 API that concern objects.

One conditional put (`If-None-Match: *`; S3 user guide, "Conditional writes") creates an object atomically, and only if
its key is free. For stores without conditional puts the key is checked first, which is safe for a single writer only.
There are no multipart uploads: one put takes 5 GB, and a batch must have one arbiter.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from threading import BoundedSemaphore
from typing import Any

import attrs
from botocore.exceptions import ClientError
from rigatoni_objects.store import ObjectStore, Record

from rigatoni_s3.errors import code_of, status_of, translated

CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda content: zlib.crc32(content).to_bytes(4, "big"),
    "SHA1": lambda content: hashlib.sha1(content, usedforsecurity=False).digest(),
    "SHA256": lambda content: hashlib.sha256(content).digest(),
}
"""The checksums that the store verifies (S3 user guide, "Checking object integrity")."""

MAX_PUT = 5 * 10**9
"""The maximum size of one put in bytes (S3 API, PutObject: 5 GB)."""
MAX_KEY = 1024
"""The maximum length of a key in bytes (S3 user guide, "Naming objects")."""
MAX_METADATA = 1900
"""The maximum size of a record in metadata, in bytes: S3 allows 2 KB for names and values together, in ASCII."""

_NAME = "rigatoni-"


@attrs.frozen(kw_only=True)
class Bucket:
    """One bucket, and the parameters of every object created in it. Thread-safe.

    Attributes:
        client: The boto client.
        name: The bucket's name.
        permits: Limits the concurrent uploads of all streams.
        extra: Further parameters of PutObject.
        checksum: The checksum that the store verifies; None: none.
        conditional: Whether to use conditional puts.
        ordered: Whether listings are in the order of the keys' bytes; False for S3 directory buckets.
    """

    client: Any = attrs.field(repr=False)
    name: str
    permits: BoundedSemaphore = attrs.field(repr=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    checksum: str | None = "CRC32"
    conditional: bool = True
    ordered: bool = True

    def create(
        self, key: str, content: bytes | memoryview, *, media_type: str, metadata: Mapping[str, str] | None = None
    ) -> bool:
        """Create the object, or return False if the key exists, whose object is unchanged.

        A transient error does not mean that the object was not stored: the response may have been lost. Check with
        `metadata`.
        """
        about = {"ContentType": media_type, "Metadata": dict(metadata or {}), **self.extra}
        only_if_absent = {"IfNoneMatch": "*"} if self.conditional else {}
        with translated(self.name):
            if not self.conditional and self.metadata(key) is not None:
                return False
            body = bytes(content)
            with self.permits:
                try:
                    self.client.put_object(
                        Bucket=self.name, Key=key, **about, **only_if_absent, **self._verified(body), Body=body
                    )
                except ClientError as error:
                    if status_of(error) == 412:
                        return False
                    raise
        return True

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """Return the object's user metadata; None if the key does not exist."""
        with translated(self.name):
            try:
                response = self.client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if status_of(error) == 404 and code_of(error) != "NoSuchBucket":
                    return None
                raise
        return dict(response.get("Metadata", {}))

    def content(self, key: str) -> bytes | None:
        """Return the object's content; None if the key does not exist."""
        with translated(self.name):
            try:
                body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
            except ClientError as error:
                if code_of(error) in ("NoSuchKey", "404"):
                    return None
                raise
        return body

    def remove(self, key: str) -> None:
        """Remove an object, if it exists."""
        with translated(self.name):
            self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Return up to `limit` keys that start with `prefix` and sort after `after`; all keys if not `ordered`."""
        found: list[str] = []
        page: dict[str, Any] = {"StartAfter": after} if after and self.ordered else {}
        with translated(self.name):
            while True:
                most = {"MaxKeys": min(limit - len(found), 1000)} if self.ordered else {}
                response = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, **page, **most)
                found += (item["Key"] for item in response.get("Contents", ()))
                if not response.get("IsTruncated") or (self.ordered and len(found) >= limit):
                    return found
                page = {"ContinuationToken": response["NextContinuationToken"]}

    def _verified(self, body: bytes) -> dict[str, str]:
        """Return the checksum header. boto would send it in a trailer, which wraps the body (`aws-chunked`)."""
        if self.checksum is None:
            return {}
        return {f"Checksum{self.checksum}": base64.b64encode(CHECKSUMS[self.checksum](body)).decode()}


class BucketStore(ObjectStore):
    """The objects below a prefix of a bucket. Records are stored as metadata named `rigatoni-...`."""

    metadata_limit = MAX_METADATA

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.prefix = prefix
        self.ordered = bucket.ordered
        self.key_limit = MAX_KEY - len(prefix.encode())
        self._bucket = bucket

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`: one conditional PUT."""
        metadata = {f"{_NAME}{name.replace('_', '-')}": value for name, value in record.items()}
        return self._bucket.create(f"{self.prefix}{key}", content, media_type=media_type, metadata=metadata)

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        metadata = self._bucket.metadata(f"{self.prefix}{key}")
        if metadata is None:
            return None
        own = {name: value for name, value in metadata.items() if name.startswith(_NAME)}
        return {name.removeprefix(_NAME).replace("-", "_"): value for name, value in own.items()}

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
