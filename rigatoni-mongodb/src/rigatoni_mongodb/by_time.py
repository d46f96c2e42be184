"""Resumes by time if the server refuses a token: the last delivered event must reappear with that token."""

from collections.abc import AsyncGenerator, AsyncIterator

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.events import Gap, Position, Timestamp

from rigatoni_mongodb.errors import MongoDBPositionLostError


async def after_event(
    items: AsyncIterator[EventBatch | Heartbeat], delivered: Position, position: Position
) -> AsyncGenerator[EventBatch | Heartbeat]:
    """Skip all events up to the delivered one, then start with a heartbeat at `position`.

    Args:
        items: A stream opened at the cluster time of `delivered`.
        delivered: The position of the last delivered event.
        position: The position to resume from; no event lies between the two.

    Raises:
        MongoDBPositionLostError: The event does not reappear. The history is a different one, such as that of a
            restored backup, so later events may differ too.
    """
    assert delivered.cluster_time is not None
    gaps: tuple[Gap, ...] = ()
    async for item in items:
        gaps += item.gaps if isinstance(item, Heartbeat) else ()
        index = _index_after(item, delivered)
        if index is None and _is_past(item, delivered.cluster_time):
            break
        if index is not None:
            assert isinstance(item, EventBatch)
            yield Heartbeat(position, item.source_time, gaps=gaps)
            if index < len(item):
                yield item[index:]
            async for following in items:
                yield following
    raise MongoDBPositionLostError(
        "the server refuses the saved resume token, and its history lacks the last delivered event "
        f"(cluster time {delivered.cluster_time}): it was restored from a backup, or is another deployment"
    )


def _index_after(item: EventBatch | Heartbeat, delivered: Position) -> int | None:
    """Return the index of the first event after the delivered one; None if this batch does not contain it."""
    if not isinstance(item, EventBatch):
        return None
    tokens = (item.token_and_time(index)[0] for index in range(len(item)))
    return next((index for index, token in enumerate(tokens, 1) if token == delivered.resume_token), None)


def _is_past(item: EventBatch | Heartbeat, time: Timestamp) -> bool:
    """Return whether every event of this time has been read."""
    if isinstance(item, Heartbeat) and item.caught_up:
        return True
    return item.end.cluster_time is not None and item.end.cluster_time > time
