"""The destination `s3`: objects in a bucket of S3 or another store that speaks its API."""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from threading import BoundedSemaphore
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlencode

import attrs
from attrs import validators
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import (
    BatchSplitter,
    ConfigLinter,
    Delivery,
    Destination,
    DestinationMetadata,
    PositionKeeper,
    Prefetching,
    ReadBack,
    Serializer,
)
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.options import ByteSize, Secret, texts
from rigatoni_core.api.settings import Settings
from rigatoni_objects.file_layout import FileLayout, check_partitions
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_objects.records import Contents
from rigatoni_objects.scan import documents_of

from rigatoni_s3.access import Access
from rigatoni_s3.bucket import Bucket, check_part_size
from rigatoni_s3.chain import Chain, made
from rigatoni_s3.errors import S3UnsupportedError, translated
from rigatoni_s3.probing import is_atomic, probe
from rigatoni_s3.reading import written

T = TypeVar("T")


def _check_prefix(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    levels = value.strip("/").split("/") if value.strip("/") else []
    if not value.isprintable() or any(level in ("", ".", "..") for level in levels):
        raise ValueError("prefix must not hold empty levels, dots alone, or control characters")


@attrs.define(kw_only=True)
class S3Destination(Destination, PositionKeeper, BatchSplitter, Prefetching, ConfigLinter, ReadBack):
    """Writes each batch as one object (or one per folder) below `prefix`; see `rigatoni_s3.chain` for how."""

    bucket: Annotated[str, "The bucket; it must exist"] = attrs.field(validator=validators.min_len(1))
    serializer: Annotated[Serializer, "What turns a batch into an object's content"]
    prefix: Annotated[str, "Where in the bucket, such as `lake/raw`; nothing is ever written outside"] = attrs.field(
        default="", validator=_check_prefix
    )
    partition_by: Annotated[
        tuple[str, ...],
        "Hive style folders, in this order: `namespace`; `month`, `day` or `hour` of the cluster time (UTC); "
        "`field:customer.country`, a field of the document",
    ] = attrs.field(default=(), converter=texts, validator=check_partitions)
    folder_template: Annotated[
        str, "Folders of your own instead, such as `{database}/{collection}/{year}/{month}/{day}`"
    ] = attrs.field(default="", validator=check_partitions)
    region: Annotated[str | None, "The bucket's region; else boto's own choice (AWS_REGION, the profile)"] = None
    endpoint_url: Annotated[str | None, "Where a store other than AWS listens, such as `https://minio:9000`"] = None
    path_style: Annotated[
        bool | None, "Whether the bucket stands in the path or in the host name; else in the path with endpoint_url"
    ] = None
    profile: Annotated[str | None, "A profile of the shared AWS configuration"] = None
    access_key_id: Annotated[str | None, "Static credentials; without them boto's own chain is asked"] = None
    secret_access_key: Annotated[Secret | None, "The secret that belongs to access_key_id"] = None
    session_token: Annotated[Secret | None, "The token of temporary static credentials"] = None
    role_arn: Annotated[str | None, "A role to assume with those credentials; it is renewed by itself"] = None
    role_external_id: Annotated[str | None, "The external id that the role's trust policy asks for"] = None
    role_session_name: Annotated[str, "The name of the role's session, for the audit log"] = "rigatoni"
    sse: Annotated[
        Literal["AES256", "aws:kms", "aws:kms:dsse"] | None, "Server-side encryption, if not the bucket's default"
    ] = None
    sse_kms_key_id: Annotated[str | None, "The KMS key (ARN or id), for `aws:kms` and `aws:kms:dsse`"] = None
    storage_class: Annotated[str | None, "Such as `STANDARD_IA` or `INTELLIGENT_TIERING`"] = None
    tags: Annotated[Mapping[str, str], "Tags of every object, at most 10"] = attrs.field(
        factory=dict, validator=validators.max_len(10)
    )
    acl: Annotated[str | None, "A canned ACL, such as `bucket-owner-full-control`; most buckets need none"] = None
    checksum_algorithm: Annotated[
        Literal["CRC32", "SHA1", "SHA256", "none"], "What the store verifies; `none` for stores that know no checksums"
    ] = "CRC32"
    conditional_put: Annotated[
        bool | Literal["auto"],
        "Whether the store creates objects only if absent, atomically; `auto` finds out at the start",
    ] = "auto"
    multipart_threshold: Annotated[ByteSize, "Objects from this size on go up in parts"] = attrs.field(
        default=ByteSize(64 * 2**20), validator=check_part_size
    )
    multipart_part_size: Annotated[ByteSize, "Size of a part"] = attrs.field(
        default=ByteSize(16 * 2**20), validator=check_part_size
    )
    max_concurrent_uploads: Annotated[int, "Uploads of all streams together at one time"] = attrs.field(
        default=16, validator=validators.ge(1)
    )
    connect_timeout: Annotated[float, "Seconds until a connection must be there"] = attrs.field(
        default=10.0, validator=validators.gt(0)
    )
    read_timeout: Annotated[float, "Seconds that the store may be silent within a request"] = attrs.field(
        default=30.0, validator=validators.gt(0)
    )
    settle_time: Annotated[
        float, "Seconds that a changed definition waits for requests of instances that still have the old one"
    ] = attrs.field(default=60.0, validator=validators.ge(0))
    _bucket: Bucket | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _lanes: dict[str, tuple[DaemonExecutor, Chain]] = attrs.field(init=False, factory=dict, repr=False, eq=False)

    _early: PrefetchPool[Contents] = attrs.field(init=False, repr=False, eq=False)

    delivery: ClassVar[Delivery] = Delivery.EFFECTIVELY_ONCE
    limits: ClassVar[Mapping[str, float]] = {"batch_size": 100_000, "batch_bytes": 12 * 2**20, "batch_timeout": 60.0}

    def __attrs_post_init__(self) -> None:
        self._early = PrefetchPool("rigatoni-s3 early", partial(made, self._layout))  # which may not go together
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together: set both, or neither")
        if self.sse_kms_key_id and not (self.sse or "").startswith("aws:kms"):
            raise ValueError('sse_kms_key_id needs sse = "aws:kms" or "aws:kms:dsse"')

    async def __aenter__(self) -> Self:
        """Connect, and find out what the store and these credentials can do. Raises what is missing, with a remedy."""
        lane = DaemonExecutor("rigatoni-s3")
        try:
            self._bucket = await lane.run(self._connect)
        finally:
            lane.close()
        return self

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch durably, or say where it has to end."""
        contents = self._early.result(events)
        return await self._run(events.stream, lambda chain: chain.write(events, contents))

    def prepare(self, events: EventBatch) -> None:
        """Serialize it."""
        self._early.begin(events)

    def discard(self, stream: Stream) -> None:
        """Forget what was serialized."""
        self._early.discard(stream)

    async def last_committed(self, stream: Stream) -> Position | None:
        """The end of the newest complete batch in the bucket; lists the stream's objects."""
        return await self._run(stream, Chain.last_committed)

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Settle where the stream goes on. Raises `DefinitionSettlingError` while an old definition settles."""
        return await self._run(stream, partial(_begin, definition=definition, position=position, gap=gap))

    def read_back(self, pipeline: str) -> AsyncIterator[Mapping[str, Any]]:
        """The documents of every object; lists the objects of the pipeline."""
        assert self._bucket is not None, "the destination was not entered"
        return documents_of(partial(written, self._bucket, self.prefix, pipeline), self._bucket.expect, self.serializer)

    def cut(self, events: EventBatch) -> int:
        """Batches end where a time partition ends."""
        return self._layout.cut(events)

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """See `FileLayout.advice`."""
        return self._layout.advice(settings, least=30.0)

    def metadata(self) -> DestinationMetadata:
        """The guarantee in force, as probed, and its conditions."""
        conditional = self._bucket.conditional if self._bucket is not None else self.conditional_put is not False
        conditions = (
            "objects and _rigatoni/ stay longer than the oldest checkpoint that may be restored",
            "the source's filter is deterministic: reading again yields the same events",
            "a clean stop before a server upgrade or before sharding a collection (resume tokens may change)",
        )
        if conditional:
            level, first = self.delivery, "the bucket is written at one site: replication to others is not waited for"
        else:
            level = Delivery.SINGLE_WRITER_ONCE
            why = (
                "conditional_put is off"
                if self.conditional_put is False
                else "this store has no atomic conditional put"
            )
            first = f"one instance at a time writes a stream ({why}): use leases, or run one instance"
        return DestinationMetadata(
            f"objects *{self.serializer.suffix} below s3://{self.bucket}/{self.prefix.strip('/')}{self._partitions}",
            level,
            (first, *conditions),
        )

    async def close(self) -> None:
        """End the threads; one that waits for the store is left behind and does not keep the process alive."""
        for lane, _ in self._lanes.values():
            lane.close()
        self._lanes.clear()
        self._early.close()

    @property
    def _layout(self) -> FileLayout:
        return FileLayout(self.serializer, self.partition_by, self.folder_template)

    @property
    def _partitions(self) -> str:
        return f", partitioned by {', '.join(self.partition_by)}" if self.partition_by else ""

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
            multipart_threshold=self.multipart_threshold,
            part_size=self.multipart_part_size,
        )
        probe(bucket, self.prefix)
        if self.conditional_put is False:
            return bucket
        atomic = is_atomic(bucket, self.prefix)
        if not atomic and self.conditional_put is True:
            raise S3UnsupportedError(
                f"s3://{self.bucket} does not create objects only if absent (If-None-Match), or not atomically",
                remedy='Set conditional_put = "auto" to go on with the weaker guarantee: one writer at a time.',
            )
        return attrs.evolve(bucket, conditional=atomic)

    @property
    def _extra(self) -> dict[str, Any]:
        """Parameters of PutObject and CreateMultipartUpload that every object gets."""
        options = {
            "ServerSideEncryption": self.sse,
            "SSEKMSKeyId": self.sse_kms_key_id,
            "StorageClass": self.storage_class,
            "ACL": self.acl,
            "Tagging": urlencode(self.tags) if self.tags else None,
        }
        return {name: value for name, value in options.items() if value is not None}

    async def _run(self, stream: Stream, call: Callable[[Chain], T]) -> T:
        assert self._bucket is not None, "the destination was not entered"
        if stream.key not in self._lanes:
            chain = Chain(self._bucket, self.prefix, stream, self._layout, self.settle_time)
            self._lanes[stream.key] = (DaemonExecutor(f"rigatoni-s3 {stream}"), chain)
        lane, chain = self._lanes[stream.key]
        return await lane.run(partial(call, chain))


def _begin(chain: Chain, *, definition: Definition, position: Position, gap: Gap | None) -> Position:
    return chain.begin(definition, position, gap)
