"""A serializer for tests of destinations: its output can be counted, and it rejects poison."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import ANY_FORMAT, EventSerializer, Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import ResumeToken

from rigatoni_testing.batches import event_document


@attrs.define(kw_only=True, eq=False)
class TokenLines(Serializer, EventSerializer):
    """Writes one resume token per line; rejects events that contain the word `POISON`."""

    reject: Annotated[bool, "Whether poison is rejected"] = True
    padding: Annotated[int, "Bytes appended to the lines, to make contents large"] = 0

    accepts = frozenset({ANY_FORMAT})
    media_type = "text/plain"
    suffix = ".txt"
    POISON: ClassVar[str] = "poison"

    def serialize(self, events: EventBatch) -> bytes:
        """See `Serializer`. Rejects events that contain `POISON`."""
        return b"".join(self.each(events)) + b"#" * self.padding

    def each(self, events: EventBatch) -> Sequence[bytes]:
        """See `EventSerializer`."""
        poison = self.POISON.encode()
        rejected = {n: ValueError(self.POISON) for n in range(len(events)) if poison in bytes(events.raw(n))}
        if self.reject and rejected:
            raise RejectedEventsError(rejected, remedy="It is meant to be rejected.")
        return [f"{events.token_and_time(index)[0]}\n".encode() for index in range(len(events))]

    @staticmethod
    def tokens_in(content: bytes) -> list[ResumeToken]:
        """Return the resume tokens in one or more concatenated results of `serialize`.

        Args:
            content: The concatenated results.
        """
        return [ResumeToken(line) for line in content.decode().replace("#", "").splitlines()]

    @classmethod
    def poisoned(cls, number: int) -> dict[str, object]:
        """Returns event document `number` as one that is rejected."""
        return event_document(number, fullDocument={"_id": number, "value": cls.POISON})
