"""The serializer `json`."""

from itertools import pairwise
from typing import Annotated, Literal

import attrs
from rigatoni_core.batch import EventBatch
from rigatoni_core.contracts import Serializer
from rigatoni_core.errors import RejectedEventsError

from rigatoni_json.decoded import Decoded
from rigatoni_json.errors import MalformedEventError
from rigatoni_json.modes import MODES
from rigatoni_json.shapes import Shapes
from rigatoni_json.walker import Walker

_CHUNK = 512
"""Events worked on at once: enough for columns, few enough that the garbage collector does not notice."""


@attrs.define(kw_only=True, eq=False)
class JsonSerializer(Serializer):
    """Newline-delimited Extended JSON: one line per change event, field for field what the server sent.

    Field names, their order and fields that this version knows nothing of are kept: the raw document is converted as
    it is. An event whose bytes are not BSON is rejected (`RejectedEventsError`); all others can be written.

    The same event gives the same bytes whichever of three ways it takes: `Shapes` for many alike, `Decoded` (PyMongo
    and orjson) where that is faithful, `Walker` for everything.
    """

    mode: Annotated[
        Literal["relaxed", "canonical", "plain"],
        "Extended JSON v2 `relaxed` (readable) or `canonical` (lossless), or `plain` JSON without type wrappers",
    ] = "relaxed"
    _walker: Walker = attrs.field(init=False, repr=False)
    _decoded: Decoded | None = attrs.field(init=False, repr=False)
    _shapes: Shapes = attrs.field(init=False, repr=False)

    media_type = "application/x-ndjson"
    suffix = ".ndjson"

    def __attrs_post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; it must be one of {', '.join(MODES)}")
        mode = MODES[self.mode]()
        self._walker = Walker(mode)
        self._decoded = Decoded(mode) if self.mode != "canonical" else None
        self._shapes = Shapes(mode, self._walker)

    def serialize(self, events: EventBatch) -> bytes:
        """All events of the batch, each as one line that ends in a newline."""
        lines: list[bytes] = []
        rejected: dict[int, Exception] = {}
        for start in range(0, len(events), _CHUNK):
            offsets = events.offsets[start : start + _CHUNK + 1]
            chunk = events.buffer[offsets[0] : offsets[-1]].tobytes()
            raws = [chunk[begin - offsets[0] : end - offsets[0]] for begin, end in pairwise(offsets)]
            for index, line in enumerate(self._shapes.lines(raws)):
                try:
                    lines.append(line or self._line(raws[index]))
                except MalformedEventError as error:
                    rejected[start + index] = error
        if rejected:
            raise RejectedEventsError(rejected, remedy=MalformedEventError.default_remedy)
        lines.append(b"")
        return b"\n".join(lines)

    def _line(self, raw: bytes) -> bytes:
        return (self._decoded and self._decoded.line(raw)) or self._walker.line(raw)
