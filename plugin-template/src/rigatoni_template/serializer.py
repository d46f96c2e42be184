"""The serializer `template`: writes one line for each event."""

from typing import Annotated

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import ANY_FORMAT, Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import token_hash

from rigatoni_template.errors import TemplateUnreadableError


@attrs.define(kw_only=True, eq=False)
class TemplateSerializer(Serializer):
    """Writes the operation, the namespace and the hash of the resume token of each event."""

    separator: Annotated[str, "Separator between two fields"] = "\t"

    accepts = frozenset({ANY_FORMAT})  # it reads decoded events only
    media_type = "text/plain"
    suffix = ".txt"

    def serialize(self, events: EventBatch) -> bytes:
        """Return all events of the batch, or raise one error that names every unreadable event. See `Serializer`."""
        lines: list[str] = []
        rejected: dict[int, Exception] = {}
        for index in range(len(events)):
            try:
                event = events[index]
            except Exception as error:  # any error of the source's decoder on damaged bytes
                rejected[index] = TemplateUnreadableError(f"its bytes cannot be read: {type(error).__name__}")
                continue
            fields = (str(event.operation), str(event.namespace or ""), token_hash(event.resume_token))
            lines.append(self.separator.join(fields) + "\n")
        if rejected:
            raise RejectedEventsError(rejected, remedy=TemplateUnreadableError.default_remedy)
        return "".join(lines).encode("utf-8", "surrogatepass")
