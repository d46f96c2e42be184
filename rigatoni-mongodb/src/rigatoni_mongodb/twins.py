"""Events that a sharded cluster tells twice.

Before MongoDB 5.3 updates to orphaned documents have events, too (MongoDB manual, "Change Streams", "Orphaned
Documents"): while a chunk moves, two shards may both report one broadcast update. mongos merges the two by their
tokens, which are equal, so they are neighbours with the same bytes.
"""

from rigatoni_bson.elements import chunk_of
from rigatoni_core.api.events import ResumeToken
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.decoding import ChangeEventDecoder

_FIXED_IN = (5, 3)
_DECODER = ChangeEventDecoder()


def tells_twins(*, sharded: bool, version: tuple[int, ...]) -> bool:
    """Whether the deployment may tell an event twice; False if its version is unknown."""
    return sharded and bool(version) and version < _FIXED_IN


def without_twins(documents: Segment, last: ResumeToken) -> Segment:
    """Drops each event that equals the one before it.

    Args:
        documents: The events of one reply.
        last: The resume token of the event before them, since twins may come in two replies.

    Returns:
        The same segment if it has no twins.

    Raises:
        ValueError: The first event has no resume token.
    """
    kept: list[bytes] = []
    for raw in documents.copies():
        if raw == kept[-1] if kept else _DECODER.token_and_time(memoryview(raw))[0] == last:
            continue
        kept.append(raw)
    return documents if len(kept) == len(documents) else chunk_of(b"".join(kept))
