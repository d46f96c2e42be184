"""The serializer `avro`."""

import hashlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import accumulate, pairwise
from typing import Annotated, Any, Literal, get_args

import attrs
from fastavro.write import Writer
from rigatoni_bson.accelerator import Accelerator, completed, documents_for, find_accelerator
from rigatoni_bson.columns import COLUMNS, NULL, EventColumns, Kind
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.texts import ColumnTexts
from rigatoni_bson.writing import pieces_of
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.orders import Integers
from rigatoni_core.api.segments import Segment

from rigatoni_avro.block import blocks, cells
from rigatoni_avro.schema import event_schema, fingerprint_of

Mode = Literal["relaxed", "canonical", "plain", "bson"]
Codec = Literal["null", "deflate", "snappy", "zstandard"]

_LEVELS = {"zstandard": 2, "deflate": 3}
_SYNC_BYTES = 16
_SHORTEST = 5
"""The size of an empty BSON document in bytes."""


@attrs.define(kw_only=True, eq=False)
class AvroSerializer(Serializer):
    """Avro object container files: one record per change event, with the columns that all tabular formats share.

    The same events give the same bytes, with the same versions of the compression libraries: the sync marker is not
    random, but derived from the first and the last event. Only an event whose bytes are not BSON is rejected
    (`RejectedEventsError`).
    """

    mode: Annotated[
        Mode,
        "Documents as Extended JSON v2 (`relaxed`, `canonical`), as `plain` JSON, or as `bson`, the original bytes",
    ] = "relaxed"
    codec: Annotated[
        Codec,
        "Compression of the blocks; every reader supports `null` and `deflate`, most support the others",
    ] = "zstandard"
    _schema: dict[str, Any] = attrs.field(init=False, repr=False)
    _metadata: dict[str, str] = attrs.field(init=False, repr=False)
    _texts: ColumnTexts = attrs.field(init=False, repr=False)
    _accelerator: Accelerator | None = attrs.field(init=False, repr=False, factory=find_accelerator)

    accepts = frozenset({"bson"})
    media_type = "application/avro"
    suffix = ".avro"
    columns = tuple(column.name for column in COLUMNS)
    compressed = True

    def __attrs_post_init__(self) -> None:
        for name, value, known in (("mode", self.mode, Mode), ("codec", self.codec, Codec)):
            if value not in get_args(known):
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(get_args(known))}")
        bson = self.mode == "bson"
        self._schema = event_schema(bson=bson)
        self._metadata = {
            "rigatoni.documents": self.mode,
            "rigatoni.schema.fingerprint": fingerprint_of(self._schema),
        }
        self._texts = ColumnTexts("canonical" if bson else self.mode)

    def serialize(self, events: EventBatch) -> bytes:
        """Return all events of the batch as one object container file."""
        file = BytesIO()
        writer = Writer(
            file,
            self._schema,  # unparsed: fastavro would write the keys of a parsed one in an order that differs by process
            self.codec,
            metadata=dict(self._metadata),
            sync_marker=_sync_marker(events),
            compression_level=_LEVELS.get(self.codec),
        )
        malformed: dict[int, MalformedEventError] = {}
        for block in blocks(self._pieces(events, malformed)):
            writer.write_block(block)
        if malformed:
            raise RejectedEventsError(malformed, remedy=MalformedEventError.default_remedy)
        return file.getvalue()

    def _pieces(
        self, events: EventBatch, malformed: dict[int, MalformedEventError]
    ) -> Iterator[tuple[bytes, Sequence[int]]]:
        """Yield the rows of a few hundred events at a time, with the offsets of their ends."""
        ordinals = events.orders().ordinals
        for first, piece in pieces_of(events):
            rows, ends, wrong = self._rows(piece, ordinals[first : first + len(piece)])
            malformed |= {first + index: error for index, error in wrong.items()}
            yield rows, ends

    def _rows(self, events: Segment, ordinals: Integers) -> tuple[bytes, Sequence[int], dict[int, MalformedEventError]]:
        """Return all rows, the offsets of their ends, and errors by index. A malformed event's row is meaningless."""
        if self._accelerator is None:
            columns = EventColumns.of_raw(events.copies(), ordinals)
            written = self._pure_rows(columns)
            return b"".join(written), list(accumulate(map(len, written))), columns.errors
        mode = None if self.mode == "bson" else self.mode
        rows, ends, left = self._accelerator.avro_rows(*documents_for(events), ordinals, mode)
        if not left:
            return rows, ends, {}
        places = [index for index, _ in left]
        columns = EventColumns.of_raw(
            [bytes(events.raw(index)) for index in places], [ordinals[index] for index in places]
        )
        missing = self._pure_rows(columns)
        sizes = (end - start for start, end in pairwise([0, *ends]))
        others = dict(zip(places, map(len, missing), strict=True))
        lengths = (others[index] if index in others else next(sizes) for index in range(len(events)))
        errors = {places[index]: error for index, error in columns.errors.items()}
        return completed(rows, left, missing), list(accumulate(lengths)), errors

    def _pure_rows(self, columns: EventColumns) -> list[bytes]:
        """Return a row for each event. Malformed events are rejected in `columns`."""
        written = [self._column(columns, column.name, column.kind) for column in COLUMNS]
        return list(map(b"".join, zip(*written, strict=True)))

    def _column(self, columns: EventColumns, name: str, kind: Kind) -> list[bytes]:
        """Encode a column. Malformed events are rejected in `columns`."""
        values = columns.values[name]
        if kind is Kind.TOKEN or (kind is Kind.DOCUMENT and self.mode != "bson"):
            values = self._texts.write(columns, name)
        elif kind is Kind.DOCUMENT:
            for index, value in enumerate(values):
                if value is not None and value != NULL and (len(value) < _SHORTEST or value[-1]):
                    columns.reject(index, MalformedEventError("a document has no end", 0))
            values = [b"" if value == NULL else value for value in values]
        return cells(values, kind)


def _sync_marker(events: EventBatch) -> bytes:
    """Return the separator of blocks: the same for the same events, and unlikely to occur in them."""
    ends = (events.raw(0), events.raw(len(events) - 1)) if len(events) else ()
    return hashlib.blake2b(b"%d " % len(events) + b"".join(ends), digest_size=_SYNC_BYTES).digest()
