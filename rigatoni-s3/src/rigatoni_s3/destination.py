"""The destination `s3`: objects in a bucket of S3 or a compatible store."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from threading import BoundedSemaphore
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

import attrs
from attrs import validators
from rigatoni_core.api.contracts import Delivery, DestinationMetadata, Finding
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_core.api.options import ByteSize, Secret
from rigatoni_core.api.settings import Settings
from rigatoni_objects.bucket_destination import BucketDestination
from rigatoni_objects.destination import COMMON_CONDITIONS

from rigatoni_s3.access import Access
from rigatoni_s3.bucket import MAX_PUT, Bucket, BucketStore
from rigatoni_s3.diagnosis import Diagnosis
from rigatoni_s3.errors import S3UnavailableError, S3UnsupportedError, translated
from rigatoni_s3.probing import is_atomic, probe


@attrs.define(kw_only=True)
class S3Destination(BucketDestination):
    """Writes each batch as one object (or one per folder) below `prefix`; see `rigatoni_objects.chain`."""

    bucket: Annotated[str, "The bucket; it must exist"] = attrs.field(validator=validators.min_len(1))
    region: Annotated[str | None, "The bucket's region; default: boto's choice (AWS_REGION, the profile)"] = None
    endpoint_url: Annotated[str | None, "The endpoint of a store other than AWS, such as `https://minio:9000`"] = None
    path_style: Annotated[
        bool | None, "Whether URLs name the bucket in the path, not in the host name; default: only with endpoint_url"
    ] = None
    profile: Annotated[str | None, "A profile of the shared AWS configuration"] = None
    access_key_id: Annotated[str | None, "Static credentials; default: boto's credential chain"] = None
    secret_access_key: Annotated[Secret | None, "The secret key for access_key_id"] = None
    session_token: Annotated[Secret | None, "The token of temporary static credentials"] = None
    role_arn: Annotated[str | None, "A role to assume with those credentials; renewed automatically"] = None
    role_external_id: Annotated[str | None, "The external id that the role's trust policy requires"] = None
    role_session_name: Annotated[str, "The name of the role's session in audit logs"] = "rigatoni"
    sse: Annotated[
        Literal["AES256", "aws:kms", "aws:kms:dsse"] | None, "Server-side encryption; default: that of the bucket"
    ] = None
    sse_kms_key_id: Annotated[str | None, "The KMS key (ARN or id), for `aws:kms` and `aws:kms:dsse`"] = None
    storage_class: Annotated[str | None, "The storage class, such as `STANDARD_IA` or `INTELLIGENT_TIERING`"] = None
    tags: Annotated[Mapping[str, str], "Tags of every object, at most 10"] = attrs.field(
        factory=dict, validator=validators.max_len(10)
    )
    acl: Annotated[str | None, "A canned ACL, such as `bucket-owner-full-control`; most buckets need none"] = None
    checksum_algorithm: Annotated[
        Literal["CRC32", "SHA1", "SHA256", "none"], "The checksum for the store to verify; `none` for stores without"
    ] = "CRC32"
    conditional_put: Annotated[
        bool | Literal["auto"],
        "Whether the store supports atomic conditional puts; `auto` probes it at the start",
    ] = "auto"
    multipart_threshold: Annotated[ByteSize | None, "Ignored: multipart uploads were removed"] = None
    multipart_part_size: Annotated[ByteSize | None, "Ignored: multipart uploads were removed"] = None
    _bucket: Bucket | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _opening: SerialExecutor = attrs.field(init=False, repr=False, eq=False)

    maximums: ClassVar[Mapping[str, float]] = {"batch_bytes": MAX_PUT}

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._opening = SerialExecutor(
            "rigatoni-s3", lambda seconds: S3UnavailableError(f"{self.where('')} has not responded for {seconds:.0f} s")
        )
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("only one of access_key_id and secret_access_key is set: set both, or neither")
        if self.sse_kms_key_id and not (self.sse or "").startswith("aws:kms"):
            raise ValueError('sse_kms_key_id needs sse = "aws:kms" or "aws:kms:dsse"')

    async def __aenter__(self) -> Self:
        """Connect, and probe the store and the credentials. Raises an `S3Error` that names what is missing."""
        self._bucket = await self._opening.run(self._connect)
        return self

    def store(self, folder: str) -> BucketStore:
        """See `ObjectDestination`."""
        assert self._bucket is not None, "the destination was not entered"
        return BucketStore(self._bucket, self.key_prefix(folder))

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"s3://{self.bucket}/{self.key_prefix(folder)}"

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Return recommendations about these settings (see `FileLayout.advice`) and about ignored options."""
        ignored = [name for name in ("multipart_threshold", "multipart_part_size") if getattr(self, name) is not None]
        return (
            *BucketDestination.advice(self, settings),
            *(f"{name} has no effect: each object is one conditional put. Remove it" for name in ignored),
        )

    def checks(
        self, settings: Settings, positions: Mapping[Stream, Position | None]
    ) -> Mapping[str, Callable[[], Awaitable[Sequence[Finding]]]]:
        """Return checks of the bucket: what deletes or archives objects. See `Diagnosable`."""
        assert self._bucket is not None, "the destination was not entered"
        diagnosis = Diagnosis(self._bucket, self.key_prefix(), self.tags)
        return {
            **BucketDestination.checks(self, settings, positions),
            "lifecycle rules": partial(self._opening.run, diagnosis.lifecycle),
            "versions and locks": partial(self._opening.run, diagnosis.versions_and_locks),
            "permissions": partial(self._opening.run, diagnosis.leftovers),
        }

    def metadata(self) -> DestinationMetadata:
        """Return the delivery guarantee, as probed, and its conditions."""
        conditional = self._bucket.conditional if self._bucket is not None else self.conditional_put is not False
        conditions = (
            "objects and _rigatoni/ are kept longer than the oldest checkpoint that may be restored",
            *COMMON_CONDITIONS,
        )
        if conditional:
            level, first = self.delivery, "the bucket is written at one site: writes do not wait for replication"
        else:
            level = Delivery.SINGLE_WRITER_ONCE
            why = (
                "conditional_put is off"
                if self.conditional_put is False
                else "this store has no atomic conditional put"
            )
            first = f"one instance at a time writes a stream ({why}): use leases, or run one instance"
        return DestinationMetadata(
            f"objects *{self.serializer.suffix} below s3://{self.bucket}/{self.prefix.strip('/')}{self.partitions}",
            level,
            (first, *conditions),
        )

    def _connect(self) -> Bucket:
        with translated(self.bucket):
            client = Access(
                **{
                    field.name: getattr(self, field.name) for field in attrs.fields(Access) if hasattr(self, field.name)
                },
                connections=self.max_concurrent_uploads + 4,
                signed_payload=self.checksum_algorithm == "none",
            ).client()
        bucket = Bucket(
            client=client,
            name=self.bucket,
            permits=BoundedSemaphore(self.max_concurrent_uploads),
            extra=self._extra,
            checksum=None if self.checksum_algorithm == "none" else self.checksum_algorithm,
            conditional=False,
            ordered=not self.bucket.endswith("--x-s3"),
        )
        probe(bucket, self.prefix)
        if self.conditional_put is False:
            return bucket
        atomic = is_atomic(bucket, self.prefix)
        if not atomic and self.conditional_put is True:
            raise S3UnsupportedError(
                f"s3://{self.bucket} does not support atomic conditional puts (If-None-Match)",
                remedy='Set conditional_put = "auto" to accept the weaker guarantee: one writer at a time.',
            )
        return attrs.evolve(bucket, conditional=atomic)

    @property
    def _extra(self) -> dict[str, Any]:
        """The parameters of PutObject for every object."""
        options = {
            "ServerSideEncryption": self.sse,
            "SSEKMSKeyId": self.sse_kms_key_id,
            "StorageClass": self.storage_class,
            "ACL": self.acl,
            "Tagging": urlencode(self.tags) if self.tags else None,
        }
        return {name: value for name, value in options.items() if value is not None}
