"""The topic of positions: a compacted topic with the record of each stream under the stream's key."""

import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic
from rigatoni_core.api.events import Stream
from rigatoni_core.api.stream_record import StreamRecord

from rigatoni_kafka.errors import Code, KafkaUnavailableError, error_of, translated
from rigatoni_kafka.topics import Topics

CONFIG: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "segment.ms": "3600000",
    "segment.bytes": str(16 * 2**20),
    "min.cleanable.dirty.ratio": "0.1",
}
"""Small segments: only closed ones are compacted, and a reader reads all that is left."""


_SLICE = 5.0
"""Seconds that one request for offsets may take."""
_QUICK: Mapping[str, Any] = {"fetch.wait.max.ms": 20, "fetch.queue.backoff.ms": 10}
"""Properties of a consumer that is at the end soon; the defaults wait half a second there."""


class PositionsTopic:
    """Reads the records of streams. Creates the topic if it does not exist.

    Args:
        name: The topic's name.
        topics: Finds and creates topics.
        consumer: Returns a new consumer with these further properties.
        partitions: Partitions of a new topic.
        replication: Its replication factor; -1: the brokers' default.
        timeout: Seconds to wait for transactions of other streams that are open.
    """

    def __init__(
        self,
        name: str,
        topics: Topics,
        consumer: Callable[[Mapping[str, Any]], Consumer],
        *,
        partitions: int,
        replication: int,
        timeout: float,
    ) -> None:
        self.name = name
        self._topics = topics
        self._consumer = consumer
        self._new = NewTopic(name, partitions, replication, config=dict(CONFIG))
        self._timeout = timeout
        self._partitions = 0

    def open(self) -> None:
        """Create the topic unless it exists."""
        if (count := self._topics.find(self.name)) is None:
            self._topics.add(self._new)
            count = self._topics.find(self.name)
        self._partitions = count or self._new.num_partitions

    def partition_of(self, stream: Stream) -> int:
        """Return the partition of a stream's records."""
        return zlib.crc32(stream.key.encode()) % self._partitions

    def read(self, stream: Stream) -> StreamRecord | None:
        """Return the newest committed record of a stream; None if it has none.

        Reads up to the high watermark, not only up to the last stable offset, which is before the first message of an
        open transaction of any stream: a newer record may follow it.

        Raises:
            KafkaUnavailableError: A transaction of another stream stayed open for `timeout` seconds.
            DestinationError: The record is damaged.
        """
        own = self.partition_of(stream)
        text = self._newest(stream, own)
        for other in range(self._partitions) if text is None else ():  # the number of partitions may have grown
            text = text or (self._newest(stream, other) if other != own else None)
        return StreamRecord.load(stream, text, f"the topic {self.name}") if text is not None else None

    def _newest(self, stream: Stream, partition: int) -> str | None:
        start, end = self._offsets(partition)
        if start >= end:
            return None
        where = f"reading the topic {self.name}"
        deadline, newest, key = time.monotonic() + self._timeout, None, stream.key.encode()
        consumer = self._consumer({"enable.partition.eof": True, "isolation.level": "read_committed", **_QUICK})
        try:
            with translated(where):
                consumer.assign([TopicPartition(self.name, partition, start)])
                while time.monotonic() < deadline:
                    if (message := consumer.poll(0.2)) is None:
                        continue
                    error = message.error()
                    if error is not None and error.code() != Code._PARTITION_EOF:
                        raise error_of(error, where)
                    if error is None and message.key() == key:
                        value = message.value()
                        newest = value.decode() if value is not None else None
                    if (message.offset() or 0) + (error is None) >= end:
                        return newest
        finally:
            consumer.close()
        raise KafkaUnavailableError(
            f"{where} up to offset {end} took longer than {self._timeout:.0f} s: a transaction is open",
            remedy="Wait: the worker retries, and a transaction whose program has died ends after its "
            "transaction_timeout. If the error persists, abort it (`kafka-transactions find-hanging`, `abort`).",
        )

    def _offsets(self, partition: int) -> tuple[int, int]:
        """Return the first offset of a partition and its high watermark; wait while it has no leader.

        A new client asks: an older one may keep the epoch of an earlier leader and be refused forever.
        """
        place, deadline = TopicPartition(self.name, partition), time.monotonic() + self._timeout
        while True:
            consumer = self._consumer({"isolation.level": "read_uncommitted"})
            try:
                with translated(f"reading the offsets of {self.name}"):
                    found = consumer.get_watermark_offsets(place, timeout=_SLICE)
                    return int(found[0]), int(found[1])
            except KafkaUnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            finally:
                consumer.close()
