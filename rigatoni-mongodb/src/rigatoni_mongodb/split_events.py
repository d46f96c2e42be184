"""Putting large events together that the server has split (MongoDB manual, "$changeStreamSplitLargeEvent").

An event of more than 16 MB comes as fragments, one right after another, also over several replies: each has some of its
fields, a resume token of its own, and `splitEvent: {fragment, of}`. Here they become one event again, with the token of
the last: going on after it goes on after the whole event.
"""

import bson
from rigatoni_bson.elements import chunk_of, elements
from rigatoni_core.api.segments import Segment

STAGE = "$changeStreamSplitLargeEvent"


class Joiner:
    """Holds the fragments of one event until the last has come."""

    def __init__(self) -> None:
        self._fields: list[bytes] = []

    @property
    def waits(self) -> bool:
        """Whether there are fragments of an event that is not whole: nothing may move past them."""
        return bool(self._fields)

    def forget(self) -> None:
        """The cursor is gone: the server sends the event again from its first fragment."""
        self._fields.clear()

    def joined(self, documents: Segment) -> Segment:
        """The whole events in these documents and what was held before.

        Raises ValueError where a document can not be read, or a fragment does not follow the one before.
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
    """The fragment's number and their count; None for an event that was not split."""
    for kind, key, value, after in elements(raw):
        if key == b"splitEvent" and kind == 0x03:
            try:
                place = bson.decode(raw[value:after])
                return int(place["fragment"]), int(place["of"])
            except (bson.errors.BSONError, KeyError, TypeError) as error:
                raise ValueError(f"not the place of a fragment: {error!r}") from None
    return None
