"""Finds the documents that changed while a range was read, in a change stream of their collection."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import bson
from rigatoni_bson.elements import elements
from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.snapshots import SnapshotTimeError

from rigatoni_mongodb.cursor import ReplyCursor
from rigatoni_mongodb.decoding import CODEC, ChangeEventDecoder
from rigatoni_mongodb.resume import Start, time_reached
from rigatoni_mongodb.snapshots.bounds import id_of, literal
from rigatoni_mongodb.split_events import STAGE

_DECODER = ChangeEventDecoder()

_ENDING = ("drop", "rename", "dropDatabase", "invalidate")
"""Operations after which the collection is another one, or does not exist."""

GONE = "the collection was dropped or renamed while it was read"


def watching(
    collection: str,
    start: Start,
    low: bytes | None,
    high: bytes | None,
    *,
    stages: Iterable[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    collation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the aggregate command of a change stream of the documents between two bounds, without their content.

    Args:
        collection: The collection's name.
        start: Where to start.
        low: The first `_id`; None for no lower bound. The server compares, as it compares the index's bounds.
        high: The `_id` before which to end; None for no upper bound.
        stages: The source's pipeline, if only events that it lets through count.
        options: The other options of `$changeStream` that the stages may depend on.
        collation: The collection's collation: change streams compare in binary order otherwise.
    """
    compared = [{"$gte": ["$documentKey._id", literal(low)]}] if low else []
    compared += [{"$lt": ["$documentKey._id", literal(high)]}] if high else []
    inside = {"$or": [{"operationType": {"$in": list(_ENDING)}}, {"$expr": {"$and": compared}}]}
    return {
        "aggregate": collection,
        "pipeline": [
            {"$changeStream": {**start.stage, **(options or {})}},
            *([{"$match": inside}] if compared else []),
            *(stage for stage in stages if STAGE not in stage),
            {"$project": {"operationType": 1, "clusterTime": 1, "documentKey": 1}},
        ],
        "cursor": {"batchSize": 0},
        **({"collation": dict(collation)} if collation else {}),
    }


@attrs.define
class TouchedIds:
    """The ids of changed documents, window by window.

    Attributes:
        cursor: A cursor of `watching`.
        last: The time of the last event up to the last mark; None if there was none.
    """

    cursor: ReplyCursor
    last: Timestamp | None = None
    _later: list[tuple[Timestamp, bytes]] = attrs.field(factory=list, init=False)  # events after the last mark

    async def until(self, mark: Timestamp) -> list[bytes]:
        """Return the distinct ids with an event up to `mark` and after the previous mark.

        An event after the mark proves that none up to it is still to come, and so does a token whose time is later. If
        tokens are opaque, an empty reply does: its request was sent after the mark had passed.

        Raises:
            SnapshotTimeError: The collection was dropped or renamed.
            PyMongoError: The stream cannot be read.
            ValueError: An event is damaged.
        """
        found, self._later = self._later, []
        while not found or found[-1][0] <= mark:
            reply = await self.cursor.next_reply(0)
            events = [_touched(raw) for raw in reply.documents.copies()]
            found += events
            if not reply.alive:
                raise SnapshotTimeError(GONE)
            reached = time_reached(reply)
            if reached > mark if reached else not events:
                break
        due = [(time, id_) for time, id_ in found if time <= mark]
        self._later = [(time, id_) for time, id_ in found if time > mark]
        self.last = due[-1][0] if due else self.last
        return list(dict.fromkeys(id_ for _, id_ in due))


def _touched(raw: bytes) -> tuple[Timestamp, bytes]:
    """Return time and `_id` of a changed document. Raises SnapshotTimeError if the event ends the collection."""
    time = _DECODER.token_and_time(memoryview(raw))[1]
    key = next((raw[value:after] for _, name, value, after in elements(raw) if name == b"documentKey"), None)
    if key is None or time is None:
        if bson.decode(raw, CODEC).get("operationType") in _ENDING:
            raise SnapshotTimeError(GONE)
        raise ValueError("an event without its time or its document's key")
    return time, id_of(key)
