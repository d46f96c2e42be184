"""The serializer `json`."""

import json
from collections.abc import Iterable, Iterator, Mapping
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
from rigatoni_core.api.contracts import Deserializer, Piecewise, Serializer
from rigatoni_core.api.errors import RejectedEventsError, UnreadableError

FIELDS = (
    *("_id", "operationType", "clusterTime", "wallTime", "ns", "nsType", "to", "documentKey", "fullDocument"),
    *("fullDocumentBeforeChange", "updateDescription", "operationDescription", "collectionUUID", "lsid", "txnNumber"),
    *("splitEvent", "ordinal"),
)
"""The fields of change events (MongoDB manual, "Change Events"), and what this serializer adds."""

_READING = JSONOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


@attrs.define(kw_only=True, eq=False)
class JsonSerializer(Serializer, Piecewise, Deserializer):
    """Newline-delimited Extended JSON: one line per change event, field for field what the server sent.

    Field names, their order and fields that this version knows nothing of are kept: the raw document is converted as
    it is. An event whose bytes are not BSON is rejected (`RejectedEventsError`); all others can be written.
    """

    mode: Annotated[
        Literal["relaxed", "canonical", "plain"],
        "Extended JSON v2 `relaxed` (readable) or `canonical` (lossless), or `plain` JSON without type wrappers",
    ] = "relaxed"
    ordinal: Annotated[
        bool, "Whether each line ends in a field `ordinal`: the order among the events of one cluster time, from 0"
    ] = False
    _writer: JsonWriter = attrs.field(init=False, repr=False)

    accepts = frozenset({"bson"})
    media_type = "application/x-ndjson"
    suffix = ".ndjson"
    columns = FIELDS

    def __attrs_post_init__(self) -> None:
        self._writer = JsonWriter(self.mode)

    def serialize(self, events: EventBatch) -> bytes:
        """All events of the batch, each as one line that ends in a newline."""
        return b"".join(self.pieces(events))

    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """The lines of some hundred events after those of some hundred others."""
        malformed: dict[int, Exception] = {}
        for first, piece in pieces_of(events):
            lines, wrong = self._writer.lines(piece)
            malformed |= {first + index: error for index, error in wrong.items()}
            yield self._with_ordinals(lines, events.orders().ordinals[first:]) if self.ordinal and not wrong else lines
        if malformed:
            raise RejectedEventsError(malformed, remedy=MalformedEventError.default_remedy)

    def _with_ordinals(self, lines: bytes, ordinals: Iterable[int]) -> bytes:
        """The lines with their ordinals as their last field, as the mode writes an integer."""
        form = b'"ordinal":{"$numberInt":"%d"}}\n' if self.mode == "canonical" else b'"ordinal":%d}\n'
        texts = lines.split(b"}\n")
        fields = (b"%b%b" % (b"" if text == b"{" else b",", form % n) for text, n in zip(texts, ordinals, strict=False))
        return b"".join(chain.from_iterable(zip(texts, fields, strict=False)))

    def deserialize(self, content: bytes) -> Iterator[Mapping[str, Any]]:
        """Each line's document; in the mode `plain` as JSON says it, otherwise as PyMongo would decode it."""
        read = json.loads if self.mode == "plain" else partial(json_util.loads, json_options=_READING)
        for number, line in enumerate(content.splitlines(), 1):
            try:
                document = read(line)
            except Exception as error:  # json_util raises what the values' constructors raise
                raise UnreadableError(f"line {number} is not valid JSON: {type(error).__name__}") from error
            if not isinstance(document, dict):
                raise UnreadableError(f"line {number} is no document")
            yield document
