"""One stream's producer: transactions that hold messages and the stream's position.

`init_transactions` fences the producer of an earlier owner and aborts what it left open. Only then is the position
read, so no commit of an earlier owner can follow it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException, Producer
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DestinationError, RejectedEventsError
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.stream_record import StreamRecord

from rigatoni_kafka.cluster import Cluster, Problems
from rigatoni_kafka.errors import Code, EventTooLargeError, KafkaError, error_of
from rigatoni_kafka.messages import Message
from rigatoni_kafka.positions import PositionsTopic

_SLICE = 1.0
"""Seconds that one call of the client may block."""


class StreamWriter:
    """Writes one stream. Used by one thread at a time; `progress` may be read by others.

    Args:
        stream: The stream.
        cluster: Makes the producer.
        positions: Holds the stream's record.
    """

    def __init__(self, stream: Stream, cluster: Cluster, positions: PositionsTopic) -> None:
        self.progress = 0
        self._stream = stream
        self._cluster = cluster
        self._positions = positions
        self._problems = Problems()
        self._producer: Producer | None = None
        self._left: StreamRecord | None = None
        self._failed: list[tuple[int, Any]] = []  # sizes and errors of messages

    def begin(self, definition: Definition, position: Position, gap: Gap | None) -> Position:
        """Take over the stream, commit its record unless it is unchanged, and return its position."""
        self._left = None
        held = self._open()
        record = StreamRecord.begun(self._stream, held, definition, position, gap)
        if record is not held:
            self._commit((), record)
        self._left = record
        return record.position

    def write(self, events: EventBatch, messages: Callable[[], Sequence[Message]]) -> Position | None:
        """Commit a batch and its end; return where it must end instead if its first events are committed already."""
        held = self._held()
        if held.holds(events):
            return None
        if (end := held.end_within(events)) is not None:
            return end
        after = held.after(events)
        self._commit(messages(), after)
        self._left = after
        return None

    def advance(self, position: Position) -> None:
        """Commit an idle position without messages."""
        held = self._held()
        after = held.at(position)
        if after is not held:
            self._commit((), after)
            self._left = after

    def close(self) -> None:
        """Close the producer, which has no open transaction unless it was lost."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    # --- the producer

    def _held(self) -> StreamRecord:
        """Return the record in force. After an unknown outcome, read it with a new producer."""
        assert self._left is not None, "the stream was not begun"
        if self._producer is None:
            held = self._open()
            try:
                self._left = self._left.expect(held)
            except BaseException:
                self._abort(lost=True)  # another write must not continue without this check
                raise
        return self._left

    def _open(self) -> StreamRecord | None:
        """Open a new producer, then read the stream's record."""
        self._producer = None
        what = f"taking over the transactions of {self._stream}"
        producer = self._cluster.producer(f"rigatoni.{self._stream.key}", self._problems)
        try:
            self._patiently(lambda: producer.init_transactions(_SLICE), what)
        except KafkaException as exception:
            raise error_of(exception.args[0], what) from exception
        held = self._positions.read(self._stream)
        self._producer = producer
        return held

    def _commit(self, messages: Sequence[Message], record: StreamRecord) -> None:
        """Commit messages and the record in one transaction.

        Raises:
            RejectedEventsError: The topic accepts no messages of this size.
            LeaseLostError: Another owner has taken over the stream.
            KafkaUnavailableError: The transaction was aborted, or its outcome is unknown.
        """
        producer, what = self._producer, f"a transaction of {self._stream}"
        assert producer is not None
        self._failed.clear()
        try:
            producer.begin_transaction()
            for _, topic, key, value, headers in messages:
                self._produce(producer, topic, value, key, headers=headers)
            key, partition = self._stream.key.encode(), self._positions.partition_of(self._stream)
            self._produce(producer, self._positions.name, record.dump().encode(), key, partition=partition)
            self._flush(producer)
            self._patiently(lambda: producer.commit_transaction(_SLICE), what)
        except KafkaException as exception:
            error = exception.args[0]
            self._abort(lost=error.fatal())
            if error.code() == Code.MSG_SIZE_TOO_LARGE:
                raise self._too_large(messages, error, what) from exception
            raise error_of(error, what) from exception
        except DestinationError:  # no progress, or no access: an abort would wait in vain
            self._abort(lost=True)
            raise
        except BaseException:
            self._abort(lost=False)
            raise

    def _produce(self, producer: Producer, topic: str, value: bytes | None, key: bytes | None, **more: Any) -> None:
        """Queue a message; while the queue is full, wait for deliveries."""
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=self._delivered, **more)
                return
            except BufferError:
                self._wait_for_room(producer)

    def _wait_for_room(self, producer: Producer) -> None:
        """Wait until a message was delivered. Raises if one is refused, or without progress."""
        self._advance(producer, lambda: producer.poll(0.1), until=len(producer) - 1)
        if self._failed:
            raise KafkaException(self._failed[0][1])

    def _flush(self, producer: Producer) -> None:
        """Wait until all messages are delivered. Raises as soon as one is refused, or without progress."""
        self._advance(producer, lambda: producer.flush(_SLICE), until=0)
        if self._failed:
            raise KafkaException(self._failed[0][1])

    def _advance(self, producer: Producer, call: Callable[[], object], *, until: int) -> None:
        """Repeat a call that delivers messages until few are left or one is refused. Raises without progress."""
        what = f"a transaction of {self._stream}"
        left, since = len(producer), time.monotonic()
        while left > until and not self._failed:
            try:
                call()
            except SystemError:  # the client calls back with a fatal error set as exception: the commit raises it
                return
            self._problems.check(what)
            if len(producer) < left:
                left, since = len(producer), time.monotonic()
                self.progress += 1
            elif time.monotonic() - since > self._cluster.timeout:
                raise self._problems.unavailable(what, self._cluster.timeout)

    def _delivered(self, error: Any, message: Any) -> None:
        """Note a message that was not delivered; called by the client, for errors only."""
        if error is not None and error.code() not in (Code._PURGE_QUEUE, Code._PURGE_INFLIGHT):
            self._failed.append((len(message.key() or b"") + len(message.value() or b""), error))

    def _patiently(self, call: Callable[[], object], what: str) -> None:
        """Repeat a call that may be repeated, until it succeeds, fails, or the time is over."""
        deadline = time.monotonic() + self._cluster.timeout
        while True:
            try:
                call()
                self.progress += 1
                return
            except KafkaException as exception:
                self._problems.check(what)
                if not exception.args[0].retriable():
                    raise
                if time.monotonic() > deadline:
                    raise self._problems.unavailable(what, self._cluster.timeout) from exception
            except SystemError as error:  # the client calls back with an error set as exception
                if isinstance(error.__cause__, KafkaException):
                    raise error.__cause__ from None
                raise self._problems.unavailable(what, 0) from error

    def _abort(self, *, lost: bool) -> None:
        """Abort the transaction unless the producer is lost, and drop the producer.

        The next write opens a new one and reads the position again. Only that shows that the commit before took
        effect: a broker that was killed right after it acknowledged a commit may not have carried it out, and an abort
        by the same producer then voids it, too.
        """
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with suppress(SystemError, KafkaException):
            producer.purge()  # so that nothing waits for deliveries
            if not lost:
                producer.abort_transaction(_SLICE)

    def _too_large(self, messages: Sequence[Message], error: Any, what: str) -> Exception:
        """Reject events whose messages were alone in their request; a request of several follows from the options."""
        together = int(self._cluster.producing["batch.size"])
        alone = {size for size, _ in self._failed if size >= together}
        reasons: dict[int, Exception] = {
            message.event: EventTooLargeError(f"the broker refuses a message of {message.nbytes:,} bytes")
            for message in messages
            if message.nbytes in alone
        }
        if reasons:
            return RejectedEventsError(reasons, remedy=EventTooLargeError.default_remedy)
        return KafkaError(
            f"{what} failed: {error.str()}", remedy="Set max_message_bytes to max.message.bytes of the topic."
        )
