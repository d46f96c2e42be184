"""Decodes change events: resume token and cluster time straight from the bytes, or the whole event."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from struct import Struct
from struct import error as struct_error
from typing import Any

import bson
from bson import DBRef, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_bson.elements import elements
from rigatoni_bson.texts import plain_text
from rigatoni_core.api.events import (
    ChangeEvent,
    Namespace,
    Operation,
    ResumeToken,
    Timestamp,
    Transaction,
    UpdateDescription,
)
from rigatoni_core.api.segments import Segment

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
"""The codec options for events: a date beyond the year 9999 becomes a `DatetimeMS` instead of an error."""

_TIMESTAMP = Struct("<II").unpack_from
_TIME_IN_TOKEN = re.compile("82([0-9A-Fa-f]{8})([0-9A-Fa-f]{8})").match
_USUAL_HEAD = re.compile(
    rb".{4}\x03_id\0.{4}\x02_data\0.{4}[0-9A-Fa-f]+\0\0"
    rb"\x02operationType\0.{4}[A-Za-z]+\0\x11clusterTime\0(.{8})",
    re.DOTALL,
).match
"""The usual start of an event, up to the cluster time. Other events are walked element by element, which is slower."""
_OPERATIONS = {operation.value: operation for operation in Operation}
_KNOWN = {
    *("_id", "operationType", "ns", "documentKey", "fullDocument", "fullDocumentBeforeChange", "updateDescription"),
    *("clusterTime", "wallTime", "lsid", "txnNumber"),
}


def token_text(token: Mapping[str, Any]) -> ResumeToken:
    """Return a resume token as text: the whole token document as compact canonical Extended JSON."""
    return ResumeToken(json_util.dumps(token, json_options=json_util.CANONICAL_JSON_OPTIONS, separators=(",", ":")))


def token_document(token: ResumeToken) -> dict[str, Any]:
    """Return the resume token as the server's document. Raises ValueError if the text is not a token."""
    try:
        document = json_util.loads(token)
    except Exception as error:
        raise ValueError(f"not a resume token ({type(error).__name__})") from None  # the text may quote it
    if not isinstance(document, dict):
        raise ValueError("not a resume token: it is not a document")
    return document


def time_of_token(token: Mapping[str, Any]) -> Timestamp | None:
    """Return the cluster time in a mongod's token (KeyString: type 0x82, seconds, increment), or None.

    Tokens of other servers are opaque: the caller checks whether the time is plausible.
    """
    data = token.get("_data")
    found = _TIME_IN_TOKEN(data) if isinstance(data, str) else None
    return Timestamp(int(found[1], 16), int(found[2], 16)) if found else None


class ChangeEventDecoder:
    """The decoder of this source's batches."""

    format = "bson"

    def token_and_time(self, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
        """See `Decoder`."""
        data = bytes(raw)
        token, time = None, None
        for kind, key, value, after in elements(data):
            if key == b"_id" and kind == 0x03:
                token = _token(data, value, after)
            elif key == b"clusterTime" and kind == 0x11:
                increment, seconds = _TIMESTAMP(data, value)
                time = Timestamp(seconds, increment)
            if token is not None and time is not None:
                break
        if token is None:
            raise ValueError("a change event without a resume token")
        return token, time

    def cluster_times(self, documents: Segment) -> Iterator[tuple[int, int] | None]:
        """See `Decoder`."""
        buffer = documents.buffer
        for start, stop in pairwise(documents.offsets):
            head = _USUAL_HEAD(buffer, start, stop)
            if head is not None:
                increment, seconds = _TIMESTAMP(head[1])
                yield seconds, increment
            else:
                yield _cluster_time(bytes(buffer[start:stop]))

    def namespace(self, raw: memoryview) -> Namespace | None:
        """See `Decoder`."""
        data = bytes(raw)
        for kind, key, value, after in elements(data):
            if key == b"ns" and kind == 0x03:
                return _namespace(data[value:after])
        return None

    def scalar_text(self, value: Any) -> str | None:
        """See `Decoder`."""
        return plain_text(value)

    def synthesize(self, raw: memoryview, operation: str, fields: Mapping[str, Any]) -> bytes:
        """See `Decoder`."""
        token, time = self.token_and_time(raw)
        document: dict[str, Any] = {"_id": token_document(token), "operationType": operation}
        if time is not None:
            document["clusterTime"] = BsonTimestamp(time.seconds, time.increment)
        try:
            namespace = self.namespace(raw)
        except ValueError:  # the event is damaged before its namespace
            namespace = None
        if namespace is not None:
            names = {"db": namespace.database, "coll": namespace.collection}
            document["ns"] = {key: name for key, name in names.items() if name is not None}
        return bson.encode(document | dict(fields))

    def event(self, raw: memoryview) -> ChangeEvent:
        """See `Decoder`."""
        try:
            return self._event(bson.decode(raw, CODEC))
        except (bson.errors.BSONError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a change event: {error!r}") from None

    def _event(self, document: dict[str, Any]) -> ChangeEvent:
        """Raise KeyError, TypeError, AttributeError, OverflowError or ValueError if the document is not an event."""
        namespace, time, update = document.get("ns"), document.get("clusterTime"), document.get("updateDescription")
        token, operation = document["_id"], document["operationType"]
        if not isinstance(token, dict):
            raise TypeError("its resume token is no document")
        return ChangeEvent(
            resume_token=token_text(token),
            operation=_OPERATIONS.get(operation, operation),
            namespace=_named(namespace) if namespace else None,
            document_key=_mapping(document, "documentKey"),
            full_document=_mapping(document, "fullDocument"),
            full_document_before_change=_mapping(document, "fullDocumentBeforeChange"),
            update_description=UpdateDescription(
                update.get("updatedFields") or {},
                tuple(update.get("removedFields") or ()),
                tuple(update.get("truncatedArrays") or ()),
                update.get("disambiguatedPaths"),
            )
            if update
            else None,
            cluster_time=Timestamp(time.time, time.inc) if time is not None else None,
            wall_time=document.get("wallTime"),
            transaction=Transaction(document["lsid"], int(document["txnNumber"])) if "txnNumber" in document else None,
            unknown={key: value for key, value in document.items() if key not in _KNOWN},
        )


def namespaces(raw: memoryview) -> tuple[Namespace, ...]:
    """What an event is about: one namespace, two where a collection was renamed, none where it names nothing.

    Raises ValueError where the bytes cannot be read.
    """
    data, found, renames = bytes(raw), list[Namespace](), False
    for kind, key, value, after in elements(data):
        if key == b"operationType":
            renames = data[value + 4 : after - 1] == b"rename"
        elif key in (b"ns", b"to") and kind == 0x03:
            found.append(_namespace(data[value:after]))
            if not renames or len(found) == 2:
                break
    return tuple(found)


def _cluster_time(data: bytes) -> tuple[int, int] | None:
    """Return the cluster time of an event; None if the event has none, or is damaged before it."""
    try:
        for kind, key, value, _ in elements(data):
            if key == b"clusterTime" and kind == 0x11:
                increment, seconds = _TIMESTAMP(data, value)
                return seconds, increment
    except (ValueError, struct_error):
        pass
    return None


@lru_cache(maxsize=4096)
def _namespace(document: bytes) -> Namespace:
    """Return the namespace of a raw document `{db, coll}`. Cached, since a stream has few different ones."""
    try:
        return _named(bson.decode(document))
    except (bson.errors.BSONError, KeyError, TypeError) as error:
        raise ValueError(f"not a namespace: {error}") from None


def _named(names: Mapping[str, Any]) -> Namespace:
    """Return the namespace `{db, coll}`. Raises KeyError or TypeError if it is invalid: the names become folders."""
    database, collection = names["db"], names.get("coll")
    if not isinstance(database, str) or not isinstance(collection, (str, type(None))):
        raise TypeError("the names of a namespace are texts")
    return Namespace(database, collection)


def _mapping(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return a document in the event. Raises TypeError if a stage of the pipeline has replaced it by another type."""
    value = document.get(name)
    if isinstance(value, DBRef):
        return dict(value.as_doc())
    if value is not None and not isinstance(value, dict):
        raise TypeError(f"its {name} is no document")
    return value


def _token(data: bytes, value: int, after: int) -> ResumeToken:
    """Return the text of the token document at `value`; the usual shape, one text `_data`, needs no decoding."""
    if data[value + 4 : value + 11] == b"\x02_data\x00":
        text = data[value + 15 : after - 2]
        if text.isalnum() and int.from_bytes(data[value + 11 : value + 15], "little") == len(text) + 1:
            return ResumeToken(f'{{"_data":"{text.decode("ascii")}"}}')
    try:
        return token_text(bson.decode(data[value:after]))
    except (bson.errors.BSONError, TypeError) as error:
        raise ValueError(f"not a resume token: {error}") from None
