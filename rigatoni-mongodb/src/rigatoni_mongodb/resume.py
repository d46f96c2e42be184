"""Where a change stream begins: the options of `$changeStream`, and the positions that stand for them."""

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
    """One way to begin: `option` is startAfter, resumeAfter or startAtOperationTime; None begins at now."""

    option: str | None = None
    value: Any = None

    @property
    def stage(self) -> dict[str, Any]:
        """Return the options of `$changeStream` that express this start."""
        return {self.option: self.value} if self.option else {}


def at_time(time: Timestamp) -> Start:
    """From the first event at `time` or later."""
    return Start(_TIME, BsonTimestamp(time.seconds, time.increment))


def time_token(time: Timestamp) -> ResumeToken:
    """What stands for a resume token where a server sends none at opening: the time to begin at."""
    value = {_TIME: BsonTimestamp(time.seconds, time.increment)}
    return ResumeToken(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS, separators=(",", ":")))


def position_at(time: Timestamp, definition: Definition, now: Timestamp | None = None) -> Position:
    """Right before the first event at `time` or later.

    `now` is the deployment's operation time, which may lie before `time` if the deployment is idle. The position's
    cluster time never lies after it: such a position would look like one of another deployment.
    """
    bound = min(time, now.next()) if now else time
    return Position(time_token(time), definition.fingerprint, bound, 0)


def position_after(text: str, time: Timestamp | None, definition: Definition) -> Position:
    """Right after the event with this token: its document as JSON, or only the text of its `_data`.

    Raises `MongoDBConfigurationError` where it is none, or where neither it nor `time` tells when it was.
    """
    spelled = text if text.lstrip().startswith("{") else json.dumps({"_data": text.strip()})
    try:
        document = token_document(ResumeToken(spelled))
    except ValueError as error:
        raise MongoDBConfigurationError(
            f"this is no resume token: {error}", remedy="Give the document that the server calls _id or resume token."
        ) from None
    inside = time_of_token(document)
    if time is None and inside is not None and inside.seconds <= clock() + 86_400:  # else the token is opaque
        return Position(token_text(document), definition.fingerprint, inside, 1)
    if time is None:
        raise MongoDBConfigurationError(
            "this server's tokens do not tell their time", remedy="Say it too: --at TIME, that of the event or earlier."
        )
    return Position(token_text(document), definition.fingerprint, time, 0)


def after_position(position: Position, what: str, *, option: str = "startAfter") -> Start:
    """From right after the position, by its token. Raises `MongoDBPositionLostError` where it holds none.

    `startAfter` comes first, since a post-batch resume token may be an invalidate's, which `resumeAfter` refuses.
    """
    try:
        document = token_document(position.resume_token)
    except ValueError as error:
        raise MongoDBPositionLostError(f"{what}: the saved resume token is damaged: {error}") from None
    if _TIME in document:
        return Start(_TIME, document[_TIME])
    return Start(option, document)


def time_reached(reply: Reply) -> Timestamp | None:
    """The time inside a reply's token: every event before it was read. None if the token is opaque."""
    inside = time_of_token(reply.token) if reply.token else None
    if inside is None or inside > (reply.operation_time or inside).next():
        return None
    return inside


def high_water_mark(position: Position, token: dict[str, Any], text: ResumeToken, now: Timestamp | None) -> Position:
    """The position that a post-batch resume token stands for: every event before it has been read.

    The time inside a mongod's token is taken where it is plausible; other servers' tokens are opaque, and then the
    smallest time after the last event is all that is known.
    """
    last = position.cluster_time
    inside = time_of_token(token)
    if inside is not None and (last is None or inside >= last) and (now is None or inside <= now.next()):
        ordinal = position.ordinal if inside == last else 0
        return attrs.evolve(position, resume_token=text, cluster_time=inside, ordinal=ordinal)
    if position.ordinal and last is not None:
        return attrs.evolve(position, resume_token=text, cluster_time=last.next(), ordinal=0)
    return attrs.evolve(position, resume_token=text)
