"""Finds renames into a stream's scope: no event reports the documents of such a collection.

For a swap (`renameCollection` with `dropTarget`, the last step of `$out`) the server sends one `rename` event, but no
events for the documents added and removed, and no `drop` of the replaced collection.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress

from rigatoni_core.api.events import ChangeEvent, Namespace, Operation
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.decoding import ChangeEventDecoder
from rigatoni_mongodb.scope import Watch

_DECODER = ChangeEventDecoder()

_SIGN = b"\x02operationType\0\x07\0\0\0rename\0"
"""An element of every `rename` event, and of hardly any other event."""

_TAIL = 16 * 1024
"""Bytes at the end of a reply to search: a collection's stream ends after a rename, so it is among the last events."""


def renames_in(documents: Segment, watch: Watch) -> list[ChangeEvent]:
    """Return the renames in a reply that move a collection into the scope.

    A reply is searched as bytes: 0.15 µs per event of 900 bytes for a pattern of collections, 3 µs per reply for any
    other scope.
    """
    first, end = documents.offsets[0], documents.offsets[-1]
    start = first if watch.pattern is not None else max(first, end - _TAIL)
    data = bytes(documents.buffer[start:end])
    return [
        event
        for event in _events(documents, data, start)
        if (target := target_of(event)) and watch.includes(target) and not watch.includes(event.namespace)
    ]


def target_of(event: ChangeEvent) -> Namespace | None:
    """Return the new name in a `rename` event; None for any other event."""
    names = event.unknown.get("to")
    if event.operation != Operation.RENAME or not isinstance(names, Mapping):
        return None
    database, collection = names.get("db"), names.get("coll")
    return Namespace(database, collection) if isinstance(database, str) and isinstance(collection, str) else None


def _events(documents: Segment, data: bytes, start: int) -> Iterator[ChangeEvent]:
    """Decode the events whose bytes contain the sign of a rename."""
    place = data.find(_SIGN)
    while place >= 0:
        index = bisect_right(documents.offsets, start + place) - 1
        with suppress(ValueError):  # a damaged event is rejected later, in order
            yield _DECODER.event(documents.raw(index))
        place = data.find(_SIGN, documents.offsets[index + 1] - start)
