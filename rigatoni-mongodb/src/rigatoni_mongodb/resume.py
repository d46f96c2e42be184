"""Where a change stream starts: the options of `$changeStream`, and the corresponding positions."""

import json
from time import time as clock
from typing import Any

import attrs
from bson import json_util
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.events import Definition, Position, ResumeToken, Timestamp

from rigatoni_mongodb.cursor import Reply
from rigatoni_mongodb.decoding import time_of_token, token_document, token_text
from rigatoni_mongodb.errors import MongoDBConfigurationError, MongoDBPositionLostError

_TIME = "startAtOperationTime"


@attrs.frozen
class Start:
    """One way to start: `option` is startAfter, resumeAfter or startAtOperationTime; None starts at now."""

    option: str | None = None
    value: Any = None

    @property
    def stage(self) -> dict[str, Any]:
        """Return the options of `$changeStream` that express this start."""
        return {self.option: self.value} if self.option else {}


def at_time(time: Timestamp) -> Start:
    """Return a start at the first event at `time` or later."""
    return Start(_TIME, BsonTimestamp(time.seconds, time.increment))


def time_token(time: Timestamp) -> ResumeToken:
    """Return a substitute for the resume token if the server sends none at opening: the start time."""
    value = {_TIME: BsonTimestamp(time.seconds, time.increment)}
    return ResumeToken(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS, separators=(",", ":")))


def position_at(time: Timestamp, definition: Definition, now: Timestamp | None = None) -> Position:
    """Return the position right before the first event at `time` or later.

    `now` is the deployment's operation time, which may precede `time` if the deployment is idle. The position's cluster
    time is never later: such a position would appear to belong to another deployment.
    """
    bound = min(time, now.next()) if now else time
    return Position(time_token(time), definition.fingerprint, bound, 0)


def position_after(text: str, time: Timestamp | None, definition: Definition) -> Position:
    """Return the position right after the event with this token: its document as JSON, or just its `_data`.

    Raises `MongoDBConfigurationError` if it is not a token, or if neither it nor `time` gives the event's time.
    """
    spelled = text if text.lstrip().startswith("{") else json.dumps({"_data": text.strip()})
    try:
        document = token_document(ResumeToken(spelled))
    except ValueError as error:
        raise MongoDBConfigurationError(
            f"the text is not a resume token: {error}", remedy="Pass the document in an event's _id or resume token."
        ) from None
    inside = time_of_token(document)
    if time is None and inside is not None and inside.seconds <= clock() + 86_400:  # else the token is opaque
        return Position(token_text(document), definition.fingerprint, inside, 1)
    if time is None:
        raise MongoDBConfigurationError(
            "this server's resume tokens do not contain their time", remedy="Add --at TIME: the event's, or earlier."
        )
    return Position(token_text(document), definition.fingerprint, time, 0)


def after_position(position: Position, what: str, *, option: str = "startAfter") -> Start:
    """Return a start right after the position, by its token. Raises `MongoDBPositionLostError` if that is damaged.

    `startAfter` is the default, since a post-batch resume token may be an invalidate's, which `resumeAfter` refuses.
    """
    try:
        document = token_document(position.resume_token)
    except ValueError as error:
        raise MongoDBPositionLostError(f"{what}: the saved resume token is damaged: {error}") from None
    if _TIME in document:
        return Start(_TIME, document[_TIME])
    return Start(option, document)


def time_reached(reply: Reply) -> Timestamp | None:
    """Return the time in a reply's token, before which every event was read; None if the token is opaque."""
    inside = time_of_token(reply.token) if reply.token else None
    if inside is None or inside > (reply.operation_time or inside).next():
        return None
    return inside


def high_water_mark(position: Position, token: dict[str, Any], text: ResumeToken, now: Timestamp | None) -> Position:
    """Return the position of a post-batch resume token, before which every event has been read.

    The time in a mongod's token is used if it is plausible. Tokens of other servers are opaque; then the position gets
    the smallest time after the last event.
    """
    last = position.cluster_time
    inside = time_of_token(token)
    if inside is not None and (last is None or inside >= last) and (now is None or inside <= now.next()):
        ordinal = position.ordinal if inside == last else 0
        return attrs.evolve(position, resume_token=text, cluster_time=inside, ordinal=ordinal)
    if position.ordinal and last is not None:
        return attrs.evolve(position, resume_token=text, cluster_time=last.next(), ordinal=0)
    return attrs.evolve(position, resume_token=text)
