"""The messages of a batch: topic, key, value and headers of each event."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from rigatoni_bson.columns import EventColumns
from rigatoni_bson.elements import elements
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.writing import JsonWriter, pieces_of
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import EventSerializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.orders import Orders

from rigatoni_kafka.errors import EventTooLargeError
from rigatoni_kafka.topics import TopicNames, namespace_of

Headers = list[tuple[str, bytes]]

_CANONICAL = JsonWriter("canonical")
_ALONE = {0x01: 18, 0x07: 22, 0x10: 14, 0x12: 18}
"""Bytes of a document with only an `_id` of this BSON type: double, ObjectId, int32, int64."""


class Message(NamedTuple):
    """One message, and the index of its event (`event`) in the batch. A value of None is a tombstone."""

    event: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def nbytes(self) -> int:
        """The size of key and value in bytes."""
        return len(self.key or b"") + len(self.value or b"")


class Layout(Protocol):
    """Makes keys and values of events."""

    def contents(self, events: EventBatch, columns: EventColumns) -> Iterator[tuple[int, bytes | None, bytes | None]]:
        """Yield the index, key and value of each message, in order; `columns` describes the same events.

        Raises `RejectedEventsError` for events that are not BSON.
        """


class RelaxedJson(EventSerializer):
    """The default of values: the event as relaxed Extended JSON, field for field what the server sent."""

    _writer = JsonWriter("relaxed")

    def each(self, events: EventBatch) -> Sequence[bytes]:
        """See `EventSerializer`."""
        values: list[bytes] = []
        malformed: dict[int, Exception] = {}
        for first, piece in pieces_of(events):
            lines, wrong = self._writer.lines(piece)
            malformed |= {first + index: error for index, error in wrong.items()}
            values += lines.split(b"\n")[:-1]
        if malformed:
            raise RejectedEventsError(malformed, remedy=MalformedEventError.default_remedy)
        return values


class MongoDbLayout:
    """The event as a serializer writes it. The key is the canonical JSON of the document's `_id`.

    Args:
        serializer: Writes values.
        tombstones: Whether a message without a value follows each delete.
    """

    def __init__(self, serializer: EventSerializer, *, tombstones: bool) -> None:
        self._serializer = serializer
        self._tombstones = tombstones

    def contents(self, events: EventBatch, columns: EventColumns) -> Iterator[tuple[int, bytes | None, bytes | None]]:
        """See `Layout`."""
        values, operations = self._serializer.each(events), columns.values["operation"]
        for index, (key, value) in enumerate(zip(keys_of(columns), values, strict=True)):
            yield index, key, value
            if self._tombstones and operations[index] == "delete" and key is not None:
                yield index, key, None


def keys_of(columns: EventColumns) -> list[bytes | None]:
    """Return the canonical Extended JSON of each event's `documentKey._id`; None for events without one."""
    return ids_of(_CANONICAL, columns)


def ids_of(writer: JsonWriter, columns: EventColumns) -> list[bytes | None]:
    """Return the JSON of each event's `documentKey._id` as this writer writes it; None for events without one."""
    wrapped = [_only_id(key) for key in columns.values["document_key"]]
    places = [index for index, document in enumerate(wrapped) if document is not None]
    ids: list[bytes | None] = [None] * len(wrapped)
    for index, text in zip(places, writer.texts([each for each in wrapped if each is not None]), strict=True):
        if isinstance(text, MalformedEventError):
            columns.reject(index, text)
        else:
            ids[index] = text[len(b'{"_id":') : -1]
    columns.check()
    return ids


def _only_id(key: bytes | None) -> bytes | None:
    """Return a document with only the `_id` of a raw document key, which may have the fields of a shard key."""
    if key is None or len(key) < 6:
        return None
    if key[5:9] == b"_id\0" and _ALONE.get(key[4]) == len(key):
        return key
    try:
        for kind, name, value, after in elements(key):
            if name == b"_id":
                body = b"%c_id\0%b" % (kind, key[value:after])
                return key if len(key) == len(body) + 5 else (len(body) + 5).to_bytes(4, "little") + body + b"\0"
    except ValueError:
        return key  # the writer finds out what is wrong with it
    return None


def messages_of(
    events: EventBatch, layout: Layout, names: TopicNames, *, headers: bool, limit: int
) -> Sequence[Message]:
    """Return the messages of a batch, in order.

    Args:
        events: The batch.
        layout: Makes keys and values.
        names: Makes names of topics.
        headers: Whether messages have headers.
        limit: The maximum size of a message in bytes.

    Raises:
        RejectedEventsError: Events are not BSON, or larger than `limit`.
    """
    if not len(events):
        return ()
    orders = events.orders()
    columns = EventColumns.of_raw([bytes(events.raw(index)) for index in range(len(events))], orders.ordinals)
    columns.check()
    databases, collections = columns.values["database"], columns.values["collection"]
    operations, stream = columns.values["operation"], events.stream.key.encode()
    found, too_large = [], dict[int, Exception]()
    for index, key, value in layout.contents(events, columns):
        database, collection = databases[index], collections[index]
        if database is None:
            database, collection = namespace_of(events.namespace(index))
        topic = names.of(database, collection, events.stream)
        carried = _headers(orders, operations[index], index, stream) if headers else []
        message = Message(index, topic, key, value, carried)
        if (size := message.nbytes) > limit:
            too_large[index] = EventTooLargeError(
                f"the message of an event for the topic {topic} has {size:,} bytes; the limit is {limit:,}"
            )
        found.append(message)
    if too_large:
        raise RejectedEventsError(too_large, remedy=EventTooLargeError.default_remedy)
    return found


def _headers(orders: Orders, operation: str | None, index: int, stream: bytes) -> Headers:
    """Return the headers of an event. Its position is unique in its stream, and grows."""
    position = f"{orders.seconds[index]}.{orders.increments[index]}.{orders.ordinals[index]}"
    operation = operation or ""
    return [
        ("rigatoni.stream", stream),
        ("rigatoni.operation", operation.encode()),
        ("rigatoni.position", position.encode()),
    ]
