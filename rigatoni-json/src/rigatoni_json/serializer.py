"""The serializer `json`."""

from itertools import pairwise
from typing import Annotated, Literal

import attrs
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.writing import CHUNK, JsonWriter
from rigatoni_core.batch import EventBatch
from rigatoni_core.contracts import Serializer
from rigatoni_core.errors import RejectedEventsError


@attrs.define(kw_only=True, eq=False)
class JsonSerializer(Serializer):
    """Newline-delimited Extended JSON: one line per change event, field for field what the server sent.

    Field names, their order and fields that this version knows nothing of are kept: the raw document is converted as
    it is. An event whose bytes are not BSON is rejected (`RejectedEventsError`); all others can be written.
    """

    mode: Annotated[
        Literal["relaxed", "canonical", "plain"],
        "Extended JSON v2 `relaxed` (readable) or `canonical` (lossless), or `plain` JSON without type wrappers",
    ] = "relaxed"
    _writer: JsonWriter = attrs.field(init=False, repr=False)

    media_type = "application/x-ndjson"
    suffix = ".ndjson"

    def __attrs_post_init__(self) -> None:
        self._writer = JsonWriter(self.mode)

    def serialize(self, events: EventBatch) -> bytes:
        """All events of the batch, each as one line that ends in a newline."""
        lines: list[bytes] = []
        rejected: dict[int, Exception] = {}
        for start in range(0, len(events), CHUNK):
            offsets = events.offsets[start : start + CHUNK + 1]
            chunk = events.buffer[offsets[0] : offsets[-1]].tobytes()
            raws = [chunk[begin - offsets[0] : end - offsets[0]] for begin, end in pairwise(offsets)]
            for index, line in enumerate(self._writer.texts(raws), start):
                if isinstance(line, MalformedEventError):
                    rejected[index] = line
                else:
                    lines.append(line)
        if rejected:
            raise RejectedEventsError(rejected, remedy=MalformedEventError.default_remedy)
        lines.append(b"")
        return b"\n".join(lines)
