"""The serializer `json`."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal

import attrs
from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.json_util import JSONOptions
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.writing import JsonWriter, pieces_of
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Deserializer, EventSerializer, Piecewise, Serializer
from rigatoni_core.api.errors import RejectedEventsError, UnreadableError

FIELDS = (
    *("_id", "operationType", "clusterTime", "wallTime", "ns", "nsType", "to", "documentKey", "fullDocument"),
    *("fullDocumentBeforeChange", "updateDescription", "operationDescription", "collectionUUID", "lsid", "txnNumber"),
    *("splitEvent", "ordinal"),
)
"""The fields of change events (MongoDB manual, "Change Events"), and those that this serializer adds."""

_READING = JSONOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


@attrs.define(kw_only=True, eq=False)
class JsonSerializer(Serializer, EventSerializer, Piecewise, Deserializer):
    """Newline-delimited Extended JSON: one line per change event, with exactly the fields that the server sent.

    The raw document is converted unchanged, so unknown fields and the order of fields are preserved. Only an event
    whose bytes are not BSON is rejected (`RejectedEventsError`).
    """

    mode: Annotated[
        Literal["relaxed", "canonical", "plain"],
        "Extended JSON v2 `relaxed` (readable) or `canonical` (lossless), or `plain` JSON without type wrappers",
    ] = "relaxed"
    ordinal: Annotated[
        bool, "Whether each line ends with a field `ordinal`: the order among the events of one cluster time, from 0"
    ] = False
    _writer: JsonWriter = attrs.field(init=False, repr=False)

    accepts = frozenset({"bson"})
    media_type = "application/x-ndjson"
    suffix = ".ndjson"
    columns = FIELDS

    def __attrs_post_init__(self) -> None:
        self._writer = JsonWriter(self.mode)

    def serialize(self, events: EventBatch) -> bytes:
        """Return all events of the batch, each as one line that ends with a newline."""
        return b"".join(self.pieces(events))

    def each(self, events: EventBatch) -> Sequence[bytes]:
        """Return the line of each event, without its newline."""
        return self.serialize(events).split(b"\n")[:-1]

    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """Yield the lines of a few hundred events at a time."""
        malformed: dict[int, Exception] = {}
        for first, piece in pieces_of(events):
            lines, wrong = self._writer.lines(piece)
            malformed |= {first + index: error for index, error in wrong.items()}
            if self.ordinal and not wrong:
                lines = self._with_ordinals(lines, events.orders().ordinals[first : first + len(piece)])
            yield lines
        if malformed:
            raise RejectedEventsError(malformed, remedy=MalformedEventError.default_remedy)

    def _with_ordinals(self, lines: bytes, ordinals: Iterable[int]) -> bytes:
        """Append the ordinal to each line as its last field, in the mode's notation of integers."""
        form = b'"ordinal":{"$numberInt":"%d"}}\n' if self.mode == "canonical" else b'"ordinal":%d}\n'
        texts = lines.split(b"}\n")[:-1]
        fields = (b"%b%b" % (b"" if text == b"{" else b",", form % n) for text, n in zip(texts, ordinals, strict=True))
        return b"".join(chain.from_iterable(zip(texts, fields, strict=True)))

    def deserialize(self, content: bytes) -> Iterator[Mapping[str, Any]]:
        """Yield each line's document: as plain JSON in the mode `plain`, otherwise with PyMongo's types."""
        read = json.loads if self.mode == "plain" else partial(json_util.loads, json_options=_READING)
        for number, line in enumerate(content.splitlines(), 1):
            try:
                document = read(line)
            except Exception as error:  # json_util passes on the errors of the values' constructors
                raise UnreadableError(f"line {number} is not valid JSON: {type(error).__name__}") from error
            if not isinstance(document, dict):
                raise UnreadableError(f"line {number} is not a document")
            yield document
