"""Requests to one bucket: every call of the S3 API that concerns a stream's objects is made here.

An object is created only if absent (`If-None-Match: *`; S3 user guide, "Conditional writes"), whole or not at all. A
large one goes up in parts and appears with the last request. Where the store lacks conditional puts it is looked for
first, which holds for one writer only.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import BoundedSemaphore
from typing import Any

import attrs
from botocore.exceptions import BotoCoreError, ClientError
from rigatoni_core.api.errors import UnreadableError

from rigatoni_s3.errors import code_of, status_of, translated

CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda content: zlib.crc32(content).to_bytes(4, "big"),
    "SHA1": lambda content: hashlib.sha1(content, usedforsecurity=False).digest(),
    "SHA256": lambda content: hashlib.sha256(content).digest(),
}
"""The checksums that the store verifies (S3 user guide, "Checking object integrity")."""

MAX_PARTS = 10_000
"""Parts of one upload that S3 allows (S3 user guide, "Multipart upload limits")."""


@attrs.frozen(kw_only=True)
class Bucket:
    """One bucket, with what every object is created with. Thread-safe.

    `extra` are parameters of PutObject and CreateMultipartUpload; `permits` bounds the uploads of all streams.
    """

    client: Any = attrs.field(repr=False)
    name: str
    permits: BoundedSemaphore = attrs.field(repr=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    checksum: str | None = "CRC32"
    conditional: bool = True
    multipart_threshold: int = 64 * 2**20
    part_size: int = 16 * 2**20

    def create(
        self, key: str, content: bytes | memoryview, *, media_type: str, metadata: Mapping[str, str] | None = None
    ) -> bool:
        """Create the object; False where there is one of this name already, which stays as it is.

        Raises a transient error also where the object was stored and only the answer was lost: ask by `metadata`.
        """
        options: dict[str, Any] = {"Bucket": self.name, "Key": key}
        about = {"ContentType": media_type, "Metadata": dict(metadata or {}), **self.extra}
        only_if_absent = {"IfNoneMatch": "*"} if self.conditional else {}
        with translated(self.name):
            if not self.conditional and self.metadata(key) is not None:
                return False
            with self.permits:
                try:
                    if len(content) >= self.multipart_threshold:
                        self._upload(options, about, only_if_absent, memoryview(content))
                    else:
                        body = bytes(content)
                        self.client.put_object(**options, **about, **only_if_absent, **self._verified(body), Body=body)
                except ClientError as error:
                    if status_of(error) == 412:
                        return False
                    raise
        return True

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """The object's own metadata, None where there is no object."""
        with translated(self.name):
            try:
                answer = self.client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if status_of(error) == 404 and code_of(error) != "NoSuchBucket":
                    return None
                raise
        return dict(answer.get("Metadata", {}))

    def content(self, key: str) -> bytes | None:
        """The object's content, None where there is no object."""
        with translated(self.name):
            try:
                body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
            except ClientError as error:
                if code_of(error) in ("NoSuchKey", "404"):
                    return None
                raise
        return body

    def expect(self, key: str) -> bytes:
        """The content of an object that was there a moment ago. Raises `UnreadableError` where it is not any more."""
        if (content := self.content(key)) is None:
            raise UnreadableError("it vanished")
        return content

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that begin with the prefix, in no particular order (directory buckets do not sort)."""
        with translated(self.name):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                yield from (item["Key"] for item in page.get("Contents", ()))

    def _upload(
        self, options: dict[str, Any], about: dict[str, Any], only_if_absent: dict[str, str], content: memoryview
    ) -> None:
        """In parts, each sliced off when its turn comes; no part stays behind where it fails."""
        size = max(self.part_size, -(-len(content) // MAX_PARTS))
        algorithm = {"ChecksumAlgorithm": self.checksum} if self.checksum else {}
        upload = {
            **options,
            "UploadId": self.client.create_multipart_upload(**options, **about, **algorithm)["UploadId"],
        }
        try:
            parts = []
            for number, start in enumerate(range(0, len(content), size), 1):
                body = bytes(content[start : start + size])
                verified = self._verified(body)
                answer = self.client.upload_part(**upload, **verified, PartNumber=number, Body=body)
                parts.append({"PartNumber": number, "ETag": answer["ETag"], **verified})
            self.client.complete_multipart_upload(**upload, **only_if_absent, MultipartUpload={"Parts": parts})
        except BaseException:
            self._abort(upload)
            raise

    def _abort(self, upload: dict[str, Any]) -> None:
        """Give the parts back. An upload that was completed after all is not there any more: that is fine."""
        for _ in range(3):
            with suppress(BotoCoreError, OSError):
                with suppress(ClientError):
                    self.client.abort_multipart_upload(**upload)
                return

    def _verified(self, body: bytes) -> dict[str, str]:
        """The checksum, computed here: boto's own would go into a trailer and wrap the body (`aws-chunked`)."""
        if self.checksum is None:
            return {}
        return {f"Checksum{self.checksum}": base64.b64encode(CHECKSUMS[self.checksum](body)).decode()}


def check_part_size(instance: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    """Validator: S3 takes parts from 5 MiB to 5 GiB."""
    if not 5 * 2**20 <= value <= 5 * 2**30:
        raise ValueError(f"{attribute.name} must be between 5 MiB and 5 GiB, not {value} bytes")
