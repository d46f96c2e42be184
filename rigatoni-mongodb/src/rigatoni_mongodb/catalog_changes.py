"""Reads drops and renames of collections between two times from the deployment's history."""

from collections.abc import Awaitable, Callable
from typing import Any

from rigatoni_core.api.events import ChangeEvent, Timestamp

from rigatoni_mongodb.cursor import ReplyCursor
from rigatoni_mongodb.decoding import ChangeEventDecoder
from rigatoni_mongodb.resume import Start, at_time, time_reached
from rigatoni_mongodb.scope import Watch

_DECODER = ChangeEventDecoder()
_REPLY_EVENTS = 100


def command(watch: Watch, start: Start) -> dict[str, Any]:
    """Return the aggregate command of a change stream of drops and renames only."""
    stage = start.stage | ({"allChangesForCluster": True} if watch.database is None else {})
    kinds = {"$match": {"operationType": {"$in": ["drop", "rename", "dropDatabase"]}}}
    return {
        "aggregate": watch.command_target,
        "pipeline": [{"$changeStream": stage}, *watch.stages, kinds],
        "cursor": {"batchSize": 0},
    }


async def changes_between(
    open_cursor: Callable[[Start], Awaitable[ReplyCursor]], begin: Timestamp, end: Timestamp
) -> list[ChangeEvent]:
    """Return the events from `begin` to `end`, both included, in order.

    Args:
        open_cursor: Opens `command` at a start position.
        begin: A cluster time.
        end: A cluster time that has passed already.

    Raises:
        PyMongoError: The server is temporarily unavailable, or its history does not reach back to `begin`.
        ValueError: A reply is damaged.
    """
    events: list[ChangeEvent] = []
    cursor = await open_cursor(at_time(begin))
    try:
        while True:
            reply = await cursor.next_reply(_REPLY_EVENTS)
            for raw in reply.documents.copies():
                event = _DECODER.event(memoryview(raw))
                if event.cluster_time is not None and event.cluster_time > end:
                    return events
                events.append(event)
            reached = time_reached(reply)
            is_empty = not len(reply.documents) and reply.alive
            if (reached is None and is_empty) or (reached is not None and reached > end):
                return events
            if not reply.alive:  # invalidated: the watched collection may be created again later
                if reply.token is None:
                    return events
                await cursor.close()
                cursor = await open_cursor(Start("startAfter", reply.token))
    finally:
        await cursor.close()
