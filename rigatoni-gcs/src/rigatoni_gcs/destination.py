"""The destination `gcs`: objects in a bucket of Google Cloud Storage."""

from collections.abc import Mapping
from threading import BoundedSemaphore
from typing import Annotated, ClassVar, Literal, Self

import attrs
from attrs import validators
from rigatoni_core.api.contracts import DestinationMetadata
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_core.api.options import Secret
from rigatoni_objects.bucket_destination import BucketDestination
from rigatoni_objects.destination import COMMON_CONDITIONS
from rigatoni_objects.probing import probe

from rigatoni_gcs.access import SCOPE, Access
from rigatoni_gcs.bucket import MAX_PUT, Bucket, BucketStore
from rigatoni_gcs.errors import GcsUnavailableError, credentials_read, translated


@attrs.define(kw_only=True)
class GcsDestination(BucketDestination):
    """Writes each batch as one object (or one per folder) below `prefix`; see `rigatoni_objects.chain`."""

    bucket: Annotated[str, "The bucket; it must exist"] = attrs.field(validator=validators.min_len(1))
    endpoint_url: Annotated[str | None, "Another endpoint, such as a private one; default: Google's"] = None
    credentials_file: Annotated[
        str | None, "The JSON key of a service account; default: Application Default Credentials"
    ] = None
    credentials_json: Annotated[Secret | None, "The content of such a key, instead of credentials_file"] = None
    impersonate: Annotated[str | None, "The e-mail of a service account to impersonate with those credentials"] = None
    anonymous: Annotated[bool, "Whether to send no credentials, for emulators"] = False
    user_project: Annotated[str | None, "The project to bill, for buckets whose requester pays"] = None
    kms_key_name: Annotated[str | None, "The KMS key, as `projects/…/cryptoKeys/…`; default: that of the bucket"] = None
    storage_class: Annotated[str | None, "The storage class, such as `NEARLINE`; default: that of the bucket"] = None
    checksum_algorithm: Annotated[Literal["CRC32C", "MD5", "none"], "The checksum for the store to verify"] = "CRC32C"
    _bucket: Bucket | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _opening: SerialExecutor = attrs.field(init=False, repr=False, eq=False)

    maximums: ClassVar[Mapping[str, float]] = {"batch_bytes": MAX_PUT}
    scopes: ClassVar[tuple[str, ...]] = (SCOPE,)
    """The OAuth scopes of the credentials."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._opening = SerialExecutor(
            "rigatoni-gcs",
            lambda seconds: GcsUnavailableError(f"{self.where('')} has not responded for {seconds:.0f} s"),
        )
        if self.credentials_file and self.credentials_json:
            raise ValueError("credentials_file and credentials_json are both set: set one of them")
        if self.anonymous and (self.credentials_file or self.credentials_json or self.impersonate):
            raise ValueError("anonymous sends no credentials: remove it, or the credentials")

    async def __aenter__(self) -> Self:
        """Connect, and probe the store and the credentials. Raises a `GcsError` that names what is missing."""
        self._bucket = await self._opening.run(self._connect)
        return self

    async def close(self) -> None:
        """Stop the threads and close the connections."""
        await super().close()
        if self._bucket is not None:
            self._bucket.session.close()

    def store(self, folder: str) -> BucketStore:
        """See `ObjectDestination`."""
        assert self._bucket is not None, "the destination was not entered"
        return BucketStore(self._bucket, self.key_prefix(folder))

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"gs://{self.bucket}/{self.key_prefix(folder)}"

    def metadata(self) -> DestinationMetadata:
        """Return the delivery guarantee and its conditions."""
        return DestinationMetadata(
            f"objects *{self.serializer.suffix} below gs://{self.bucket}/{self.prefix.strip('/')}{self.partitions}",
            self.delivery,
            (
                "objects and _rigatoni/ are kept longer than the oldest checkpoint that may be restored",
                *COMMON_CONDITIONS,
            ),
        )

    def access(self) -> Access:
        """Return the endpoint and the credentials."""
        return Access(
            endpoint_url=self.endpoint_url,
            credentials_file=self.credentials_file,
            credentials_json=self.credentials_json,
            impersonate=self.impersonate,
            anonymous=self.anonymous,
            connections=self.max_concurrent_uploads + 4,
            scopes=self.scopes,
        )

    def _connect(self) -> Bucket:
        access = self.access()
        with translated(self.bucket, "list"), credentials_read(self.bucket):
            session = access.session()
        bucket = Bucket(
            session=session,
            client=access.client(session),
            name=self.bucket,
            permits=BoundedSemaphore(self.max_concurrent_uploads),
            timeout=(self.connect_timeout, self.read_timeout),
            properties={"storageClass": self.storage_class} if self.storage_class else {},
            parameters={"kmsKeyName": self.kms_key_name} if self.kms_key_name else {},
            checksum=None if self.checksum_algorithm == "none" else self.checksum_algorithm,
            user_project=self.user_project,
        )
        prefix = self.key_prefix()
        try:
            probe(BucketStore(bucket, prefix), self.where(""), lambda key: bucket.remove(f"{prefix}{key}"))
        except BaseException:
            session.close()
            raise
        return bucket
