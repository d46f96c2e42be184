"""Batches for tests, built from documents, raw BSON or recorded server replies."""

import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from bson import decode, decode_iter, encode, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.events import ChangeEvent, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.segments import Segment

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)

STREAM = Stream("test-pipeline", "shop.orders")
"""The default stream of test batches."""

START = Position(ResumeToken('{"_data":"start"}'), "fingerprint", Timestamp(1_700_000_000, 0))
"""A position before every test event."""


class EventFormat(Decoder, Protocol):
    """A decoder that also makes raw documents of its format: tests write their events in it."""

    def encode(self, document: Mapping[str, Any]) -> bytes:
        """Return the raw document of a change event in the shape of `event_document`.

        Args:
            document: A document like those of `event_document`.
        """

    def document(self, raw: memoryview | bytes) -> dict[str, Any]:
        """Return the document that was encoded.

        Args:
            raw: The result of `encode`.
        """


class TestDecoder:
    """Decodes change events with PyMongo's public API: slow and simple, for tests only."""

    __test__ = False
    format = "bson"

    def encode(self, document: Mapping[str, Any]) -> bytes:
        """Return a document as BSON.

        Args:
            document: The document.
        """
        return encode(document)

    def document(self, raw: memoryview | bytes) -> dict[str, Any]:
        """Return the document that was encoded.

        Args:
            raw: The result of `encode`.
        """
        return decode(raw, _OPTIONS)

    def token_and_time(self, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
        """See `Decoder`."""
        document = self.document(raw)
        return token_of(document["_id"]), _time(document.get("clusterTime"))

    def cluster_times(self, documents: Segment) -> Iterator[tuple[int, int] | None]:
        """See `Decoder`."""
        for raw in documents.copies():
            try:
                time = _time(self.document(raw).get("clusterTime"))
            except (BSONError, ValueError):
                time = None
            yield (time.seconds, time.increment) if time else None

    def namespace(self, raw: memoryview) -> Namespace | None:
        """See `Decoder`."""
        namespace = self.document(raw).get("ns")
        return Namespace(namespace["db"], namespace.get("coll")) if namespace else None

    def scalar_text(self, value: Any) -> str | None:
        """See `Decoder`."""
        if isinstance(value, (Mapping, list, type(None))):
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def synthesize(self, raw: memoryview, operation: str, fields: Mapping[str, Any]) -> bytes:
        """See `Decoder`."""
        document = self.document(raw)
        kept = [(key, document[key]) for key in ("_id", "clusterTime", "ns") if key in document]
        return self.encode({**dict(kept), "operationType": operation, **fields})

    def event(self, raw: memoryview) -> ChangeEvent:
        """See `Decoder`."""
        document = self.document(raw)
        if "operationType" not in document:
            raise ValueError("it is no change event")
        namespace = document.get("ns")
        return ChangeEvent(
            resume_token=token_of(document["_id"]),
            operation=document["operationType"],
            namespace=Namespace(namespace["db"], namespace.get("coll")) if namespace else None,
            document_key=document.get("documentKey"),
            full_document=document.get("fullDocument"),
            full_document_before_change=document.get("fullDocumentBeforeChange"),
            cluster_time=_time(document.get("clusterTime")),
            wall_time=document.get("wallTime"),
        )


class TextDecoder(TestDecoder):
    """A second format: a word before the bytes of the same documents, with which no reader of BSON can read them.

    Not Extended JSON: a field of a user's document may be named `$oid`, and would be read back as another type.
    """

    _WORD = b"text "

    format = "text"

    def encode(self, document: Mapping[str, Any]) -> bytes:
        """Return a document in this format.

        Args:
            document: The document.
        """
        return self._WORD + encode(document)

    def document(self, raw: memoryview | bytes) -> dict[str, Any]:
        """Return the document that these bytes contain.

        Args:
            raw: The result of `encode`.

        Raises:
            ValueError: The bytes have another format.
        """
        content = bytes(raw)
        if not content.startswith(self._WORD):
            raise ValueError("it is no document")
        return decode(content.removeprefix(self._WORD), _OPTIONS)


BSON: EventFormat = TestDecoder()
"""The format of the first-party serializers, and the default format of events in tests."""

TEXT: EventFormat = TextDecoder()
"""A second format. Code that does not read raw documents works with both."""

_formats: list[EventFormat] = [BSON]


@contextmanager
def using(format_: EventFormat) -> Iterator[None]:
    """Write the events of tests in this format in the block: those of `batch_of`, `Log` and `ScriptedSource`.

    Args:
        format_: The format.
    """
    _formats.append(format_)
    try:
        yield
    finally:
        _formats.pop()


def event_format() -> EventFormat:
    """Return the format that tests write their events in now."""
    return _formats[-1]


def token_of(token: Mapping[str, Any]) -> ResumeToken:
    """Return the text form of a server's token document.

    Args:
        token: The `_id` of an event.
    """
    return ResumeToken(json_util.dumps(token, json_options=json_util.CANONICAL_JSON_OPTIONS))


def _time(value: object) -> Timestamp | None:
    return Timestamp(value.time, value.inc) if isinstance(value, BsonTimestamp) else None


def event_document(
    number: int,
    *,
    seconds: int | None = None,
    increment: int | None = None,
    database: str = "shop",
    collection: str = "orders",
    **fields: Any,
) -> dict[str, Any]:
    """Return an insert event as a server sends it.

    Args:
        number: The number of the event, from 0. Each number has its own token and cluster time.
        seconds: The seconds of the cluster time (Unix time). Default: derived from the number.
        increment: The increment of the cluster time, if `seconds` is set.
        database: The database of the event's namespace.
        collection: The collection of the event's namespace.
        fields: Whole fields of the event that are replaced or added.
    """
    time = BsonTimestamp(1_700_000_000 + number // 1000, number % 1000 + 1)
    if seconds is not None:
        time = BsonTimestamp(seconds, number + 1 if increment is None else increment)
    return {
        "_id": {"_data": f"82{number:012X}"},
        "operationType": "insert",
        "clusterTime": time,
        "fullDocument": {"_id": number, "value": f"value {number}"},
        "ns": {"db": database, "coll": collection},
        "documentKey": {"_id": number},
        **fields,
    }


def batch_of(
    documents: Iterable[Mapping[str, Any] | bytes], *, stream: Stream = STREAM, after: Position = START
) -> EventBatch:
    """Return one batch of these events, in the format of `event_format()`.

    Args:
        documents: The events as documents or raw documents. Without any, the batch is empty: its only event was
            rejected.
        stream: The stream.
        after: The position after which the batch starts.
    """
    format_ = event_format()
    raws = [document if isinstance(document, bytes) else format_.encode(document) for document in documents]
    offsets = array("Q", itertools.accumulate(map(len, raws), initial=0))
    if not raws:
        return batch_of([event_document(0)], stream=stream, after=after).without({0})
    return EventBatch.from_reply(after, stream, memoryview(b"".join(raws)), offsets, format_)


def in_chunks(batch: EventBatch, places: Iterable[int]) -> EventBatch:
    """Return the same batch as if it was read in several replies.

    Args:
        batch: The batch.
        places: The indices at which it is split.
    """
    whole = batch.whole
    borders = sorted({0, len(batch), *places})
    return EventBatch(
        batch.stream,
        first=batch.first,
        end=batch.end,
        segments=[whole.cut(start, stop) for start, stop in itertools.pairwise(borders)],
        decoder=batch.decoder,
        source_time=batch.source_time,
        as_read=None if batch.as_read is batch else batch.as_read,
        indices=batch.indices,
    )


def recorded_replies(path: Path) -> Iterator[RawBSONDocument]:
    """Yield the server replies of a recording, in order.

    Args:
        path: The file of the recording.
    """
    options: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
    return iter(decode_iter(path.read_bytes(), options))


def recorded_events(path: Path) -> list[bytes]:
    """Return the raw change events of a recording, in order.

    Args:
        path: The file of the recording.
    """
    events: list[bytes] = []
    for reply in recorded_replies(path):
        cursor = reply.get("cursor", {})
        events += [event.raw for name in ("firstBatch", "nextBatch") for event in cursor.get(name, ())]
    return events
