"""Reassembles large events that the server has split (MongoDB manual, "$changeStreamSplitLargeEvent").

An event of more than 16 MB arrives as consecutive fragments, possibly in several replies. Each has some of the event's
fields, its own resume token, and `splitEvent: {fragment, of}`. The reassembled event gets the last fragment's token, so
that resuming after it resumes after the whole event.
"""

import bson
from rigatoni_bson.elements import chunk_of, elements
from rigatoni_core.api.segments import Segment

STAGE = "$changeStreamSplitLargeEvent"


class Joiner:
    """Holds the fragments of one event until the last one arrives."""

    def __init__(self) -> None:
        self._fields: list[bytes] = []

    @property
    def waits(self) -> bool:
        """Whether an event is incomplete: the position must not advance past its fragments."""
        return bool(self._fields)

    def forget(self) -> None:
        """Drop the fragments of a closed cursor: the server resends the event from its first fragment."""
        self._fields.clear()

    def joined(self, documents: Segment) -> Segment:
        """Return the whole events in these documents and the fragments held.

        Raises ValueError if a document is damaged, or a fragment does not follow the previous one.
        """
        whole = []
        for raw in documents.copies():
            place = _place(raw)
            if place is None:
                whole.append(raw)
            elif (event := self._with(raw, *place)) is not None:
                whole.append(event)
        return chunk_of(b"".join(whole))

    def _with(self, raw: bytes, number: int, count: int) -> bytes | None:
        if number != len(self._fields) + 1:
            raise ValueError(f"fragment {number} of {count} of an event follows {len(self._fields)} others")
        token = b""
        fields = bytearray()
        for kind, key, value, after in elements(raw):
            field = bytes((kind,)) + key + b"\0" + raw[value:after]
            if key == b"_id":
                token = field
            elif key != b"splitEvent":
                fields += field
        self._fields.append(bytes(fields))
        if number < count:
            return None
        content = token + b"".join(self._fields)
        self._fields.clear()
        return (len(content) + 5).to_bytes(4, "little") + content + b"\0"


def _place(raw: bytes) -> tuple[int, int] | None:
    """Return the fragment's number and the number of fragments; None for an event that was not split."""
    for kind, key, value, after in elements(raw):
        if key == b"splitEvent" and kind == 0x03:
            try:
                place = bson.decode(raw[value:after])
                return int(place["fragment"]), int(place["of"])
            except (bson.errors.BSONError, KeyError, TypeError) as error:
                raise ValueError(f"an invalid splitEvent: {error!r}") from None
    return None
