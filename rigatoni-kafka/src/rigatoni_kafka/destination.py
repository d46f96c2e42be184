"""The destination `kafka`: each event as a message, in transactions that also hold the position."""

import asyncio
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import attrs
from attrs import validators
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import (
    Delivery,
    Destination,
    DestinationMetadata,
    EventSerializer,
    FormatReader,
    Serializer,
    TransactionalKeeper,
)
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.executor import DaemonExecutor, SerialExecutor
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.options import ByteSize, Seconds, Secret

from rigatoni_kafka.cluster import OWN, SECRETS, Cluster, Problems
from rigatoni_kafka.debezium import DebeziumLayout
from rigatoni_kafka.errors import KafkaError, KafkaUnavailableError
from rigatoni_kafka.messages import Layout, MongoDbLayout, RelaxedJson, messages_of
from rigatoni_kafka.positions import PositionsTopic
from rigatoni_kafka.topics import TopicNames, Topics
from rigatoni_kafka.transactions import StreamWriter

T = TypeVar("T")

_OVERHEAD = 16 * 1024
"""Bytes for headers and framing in addition to key and value."""
_PATIENCE = 5.0
"""Seconds to wait for producers that are closed."""
_BATCH = 1_000_000
"""The bytes of a request to one partition, before compression; the client's default."""


def _check_topic(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    TopicNames(value)


def _check_client(instance: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, str]) -> None:
    for name in value:
        if name in SECRETS:
            raise ValueError(f"client must not hold {name}, which is a secret: set {name.replace('.', '_')}")
        if name in OWN:
            raise ValueError(f"client must not hold {name}: an option sets it, or the guarantee depends on it")


@cache
def _version() -> str:
    """Return this distribution's version, read once: it is in every message of the layout `debezium`."""
    return version("rigatoni-kafka")


@attrs.define(kw_only=True)
class KafkaDestination(Destination, TransactionalKeeper, FormatReader):
    """Writes each event as a message. One transaction holds a batch's messages and the position of its stream."""

    bootstrap_servers: Annotated[str, "The brokers to connect to first, such as `kafka1:9092,kafka2:9092`"] = (
        attrs.field(validator=validators.min_len(1))
    )
    topic: Annotated[str, "The topics, as a template with `{database}` and `{collection}`"] = attrs.field(
        default="{database}.{collection}", validator=_check_topic
    )
    positions_topic: Annotated[str, "The compacted topic of positions; it is created"] = "rigatoni-positions"
    layout: Annotated[
        Literal["mongodb", "debezium"], "The values: the event as MongoDB sends it, or Debezium's envelope"
    ] = "mongodb"
    serializer: Annotated[
        Serializer | None, "Serializes each event into a value in the layout `mongodb`; default: relaxed Extended JSON"
    ] = None
    tombstones: Annotated[bool, "Whether a message without a value follows each delete, for compacted topics"] = False
    headers: Annotated[bool, "Whether messages have headers: stream, operation, position"] = True
    compression: Annotated[Literal["none", "gzip", "snappy", "lz4", "zstd"], "The compression of messages"] = "zstd"
    max_message_bytes: Annotated[
        ByteSize, "Events whose message is larger, before compression, are rejected (`max.message.bytes` of the topic)"
    ] = attrs.field(default=ByteSize(1_000_000), validator=validators.ge(ByteSize(1_000)))
    create_topics: Annotated[bool, "Whether to create missing topics"] = False
    partitions: Annotated[int, "The partitions of a new topic"] = attrs.field(default=6, validator=validators.ge(1))
    replication_factor: Annotated[int, "The replicas of a new topic; -1: the brokers' default"] = -1
    topic_config: Annotated[Mapping[str, str], "The configuration of a new topic"] = attrs.field(factory=dict)
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], "How to connect to brokers"
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[str | None, "The SASL mechanism, such as `SCRAM-SHA-512` or `PLAIN`"] = None
    sasl_username: Annotated[str | None, "The SASL user"] = None
    sasl_password: Annotated[Secret | None, "The SASL password"] = None
    sasl_oauthbearer_client_secret: Annotated[Secret | None, "The client secret for `OAUTHBEARER` by OIDC"] = None
    ssl_ca_location: Annotated[str | None, "A file of certificate authorities; default: the system's"] = None
    ssl_certificate_location: Annotated[str | None, "The client's certificate"] = None
    ssl_key_location: Annotated[str | None, "The client's key"] = None
    ssl_key_password: Annotated[Secret | None, "The password of that key"] = None
    client: Annotated[Mapping[str, str], "Further properties of the client, by librdkafka's names"] = attrs.field(
        factory=dict, validator=_check_client
    )
    transaction_timeout: Annotated[Seconds, "How long the broker keeps an open transaction whose program has died"] = (
        attrs.field(default=900.0, validator=validators.gt(0))
    )
    timeout: Annotated[Seconds, "A request without progress is abandoned after this time, then retried"] = attrs.field(
        default=60.0, validator=validators.gt(0)
    )
    _topics: Topics | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _positions: PositionsTopic | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _names: TopicNames = attrs.field(init=False, repr=False, eq=False)
    _cluster: Cluster = attrs.field(init=False, repr=False, eq=False)
    _writers: dict[str, StreamWriter] = attrs.field(init=False, factory=dict, repr=False, eq=False)
    _threads: dict[str, DaemonExecutor] = attrs.field(init=False, factory=dict, repr=False, eq=False)
    _opening: SerialExecutor = attrs.field(init=False, repr=False, eq=False)

    accepts = frozenset({"bson"})
    delivery: ClassVar[Delivery] = Delivery.TRANSACTIONAL

    def __attrs_post_init__(self) -> None:
        self._names = TopicNames(self.topic)
        self._cluster = Cluster(properties=self._properties(), producing=self._producing(), timeout=self.timeout)
        self._opening = SerialExecutor(
            "rigatoni-kafka",
            lambda seconds: KafkaUnavailableError(f"{self.bootstrap_servers} has not responded for {seconds:.0f} s"),
        )
        if self.serializer is not None and not isinstance(self.serializer, EventSerializer):
            raise ValueError("serializer does not write single events: use one that does, such as json")
        if self.serializer is not None and self.layout == "debezium":
            raise ValueError("serializer has no effect on the layout debezium: remove one of them")
        if (self.sasl_username is None) != (self.sasl_password is None):
            raise ValueError("only one of sasl_username and sasl_password is set: set both, or neither")

    async def __aenter__(self) -> Self:
        """Connect and find the topic of positions. Raises a `KafkaError` that names what is missing."""
        self._topics, self._positions = await self._opening.run(self._connect)
        return self

    # --- the contract of destinations

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Commit the batch and its end in one transaction; see `StreamWriter.write`."""
        stream = events.stream
        layout, writer = self._layout(stream), self._writer(stream)
        return await self._run(stream, lambda: writer.write(events, partial(self._messages, events, layout)))

    async def last_committed(self, stream: Stream) -> Position | None:
        """Return the position that the topic of positions holds."""
        record = await self._run(stream, partial(self._records.read, stream))
        return record.position if record is not None else None

    async def recorded_identity(self, stream: Stream) -> Identity:
        """Return the deployment that the record names."""
        record = await self._run(stream, partial(self._records.read, stream))
        return record.identity if record is not None else Identity()

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Fence the owner before, and return the position in force. See `TransactionalKeeper`."""
        writer = self._writer(stream)
        return await self._run(stream, lambda: writer.begin(definition, position, gap))

    async def commit_idle(self, stream: Stream, position: Position) -> None:
        """Commit an idle position without messages."""
        writer = self._writer(stream)
        await self._run(stream, lambda: writer.advance(position))

    def progress(self, stream: Stream) -> int:
        """Return a count of requests of this stream that have returned."""
        writer = self._writers.get(stream.key)
        return writer.progress if writer is not None else 0

    def metadata(self) -> DestinationMetadata:
        """Return the delivery guarantee and its conditions."""
        return DestinationMetadata(
            f"messages in {self.topic} at {self.bootstrap_servers}, layout {self.layout}",
            self.delivery,
            (
                "consumers read with isolation.level = read_committed",
                f"the topic {self.positions_topic} is compacted and kept as long as the topics of events",
                "topics keep their number of partitions: the order per document depends on it",
            ),
        )

    async def close(self) -> None:
        """Close all producers and threads. A thread that waits for the cluster is abandoned after a few seconds."""
        for key, writer in self._writers.items():
            if key in self._threads:
                self._threads[key].begin(writer.close)
        ending = [asyncio.ensure_future(thread.run(lambda: None)) for thread in self._threads.values()]
        if ending:
            _, hanging = await asyncio.wait(ending, timeout=_PATIENCE)
            for each in hanging:
                each.cancel()
        for thread in self._threads.values():
            thread.close()
        self._writers.clear()
        self._threads.clear()

    # --- inside

    def _connect(self) -> tuple[Topics, PositionsTopic]:
        problems = Problems()
        admin = self._cluster.admin(problems)
        topics = Topics(
            admin,
            create=self.create_topics,
            partitions=self.partitions,
            replication=self.replication_factor,
            config=self.topic_config,
            timeout=min(self.timeout, 30.0),
        )
        positions = PositionsTopic(
            self.positions_topic,
            topics,
            self._cluster.consumer,
            partitions=8,
            replication=self.replication_factor,
            timeout=self.timeout,
        )
        try:
            positions.open()
        except KafkaError:
            admin.poll(0)
            problems.check(f"connecting to {self.bootstrap_servers}")
            raise
        return topics, positions

    def _messages(self, events: EventBatch, layout: Layout) -> Any:
        limit = self.max_message_bytes
        messages = messages_of(events, layout, self._names, headers=self.headers, limit=limit)
        assert self._topics is not None
        for topic in {message.topic for message in messages}:
            self._topics.require(topic)
        return messages

    def _layout(self, stream: Stream) -> Layout:
        if self.layout == "debezium":
            return DebeziumLayout(stream.pipeline, _version(), tombstones=self.tombstones)
        serializer = self.serializer if isinstance(self.serializer, EventSerializer) else RelaxedJson()
        return MongoDbLayout(serializer, tombstones=self.tombstones)

    @property
    def _records(self) -> PositionsTopic:
        assert self._positions is not None, "the destination was not entered"
        return self._positions

    def _writer(self, stream: Stream) -> StreamWriter:
        if stream.key not in self._writers:
            self._writers[stream.key] = StreamWriter(stream, self._cluster, self._records)
        return self._writers[stream.key]

    async def _run(self, stream: Stream, call: Callable[[], T]) -> T:
        if stream.key not in self._threads:
            self._threads[stream.key] = DaemonExecutor(f"rigatoni-kafka {stream}")
        return await self._threads[stream.key].run(call)

    def _properties(self) -> Mapping[str, str | Secret]:
        """Return the properties of all clients that options set."""
        options = (
            *("bootstrap_servers", "security_protocol", "sasl_mechanism", "sasl_username", "sasl_password"),
            *("sasl_oauthbearer_client_secret", "ssl_ca_location", "ssl_certificate_location", "ssl_key_location"),
            "ssl_key_password",
        )
        given = {name.replace("_", "."): getattr(self, name) for name in options}
        return {name: value for name, value in given.items() if value is not None} | dict(self.client)

    def _producing(self) -> Mapping[str, Any]:
        return {
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",  # as all Java producers; librdkafka's own default differs
            "compression.type": self.compression,
            "message.max.bytes": self.max_message_bytes + _OVERHEAD,
            "batch.size": min(self.max_message_bytes, _BATCH),
            "queue.buffering.max.kbytes": max(65_536, 2 * self.max_message_bytes // 1024),
            "queue.buffering.max.messages": 100_000,
            "linger.ms": 5,
            "transaction.timeout.ms": int(self.transaction_timeout * 1000),
        }
