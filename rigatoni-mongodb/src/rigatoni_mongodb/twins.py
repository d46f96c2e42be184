"""Drops events that a sharded cluster reports twice.

Before MongoDB 5.3 updates to orphaned documents also have events (MongoDB manual, "Change Streams", "Orphaned
Documents"): while a chunk moves, two shards may both report one broadcast update. mongos merges them by their tokens,
which are equal, so they are adjacent and have the same bytes.
"""

from rigatoni_bson.elements import chunk_of
from rigatoni_core.api.events import ResumeToken
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.decoding import ChangeEventDecoder

_FIXED_IN = (5, 3)
_DECODER = ChangeEventDecoder()


def may_send_twice(*, sharded: bool, version: tuple[int, ...]) -> bool:
    """Return whether the deployment may report an event twice; False if its version is unknown."""
    return sharded and bool(version) and version < _FIXED_IN


def without_twins(documents: Segment, last: ResumeToken) -> Segment:
    """Drop each event that equals the previous one.

    Args:
        documents: The events of one reply.
        last: The resume token of the previous event, since duplicates may span two replies.

    Returns:
        The same segment if it has no duplicates.

    Raises:
        ValueError: The first event has no resume token.
    """
    kept: list[bytes] = []
    for raw in documents.copies():
        if raw == kept[-1] if kept else _DECODER.token_and_time(memoryview(raw))[0] == last:
            continue
        kept.append(raw)
    return documents if len(kept) == len(documents) else chunk_of(b"".join(kept))
