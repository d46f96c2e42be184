"""The errors of this distribution."""

from rigatoni_core.api.errors import RigatoniError


class NotKeptError(RigatoniError):
    """A dead letter names an event, but does not hold its content."""

    id = "not-kept"
    default_remedy = (
        "Fix the mask, then change the document in the database, so that its next event is delivered; or export the "
        "document with other tools."
    )


class NotComparableError(RigatoniError):
    """A stream cannot be compared with its collections now."""

    id = "not-comparable"
    default_remedy = "Run `rigatoni verify` again."
