"""The errors of this distribution."""

from rigatoni_core.api.errors import RigatoniError


class MalformedEventError(RigatoniError):
    """An event's bytes are not BSON (bsonspec.org, version 1.1). `offset` is the first invalid byte of the event."""

    id = "malformed-event"
    default_remedy = (
        "The server or something between it and here damaged this event. Keep its raw bytes (the dead letter holds "
        "them) and compare with the document in the database; `db.collection.validate()` shows damage in storage."
    )

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"malformed BSON at byte {offset} of the event: {what}")
        self.offset = offset
