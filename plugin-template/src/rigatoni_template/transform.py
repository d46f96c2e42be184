"""The transform `template`: drops events by their operation."""

from typing import Annotated

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import ANY_FORMAT, Transform
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.options import texts

from rigatoni_template.errors import TemplateUndecodableError


@attrs.define(kw_only=True, eq=False)
class TemplateTransform(Transform):
    """Drops the events of some operations, and passes on the others unchanged."""

    operations: Annotated[
        tuple[str, ...], "Operations whose events are dropped, such as `delete` or `dropDatabase`"
    ] = attrs.field(converter=texts)

    accepts = frozenset({ANY_FORMAT})  # it reads decoded events only

    def transform(self, events: EventBatch) -> EventBatch:
        """Return the batch without them, or raise one error that names every unreadable event. See `Transform`."""
        dropped: set[int] = set()
        rejected: dict[int, Exception] = {}
        for index in range(len(events)):
            try:
                if str(events[index].operation) in self.operations:
                    dropped.add(index)
            except Exception as error:  # any error of the source's decoder on damaged bytes
                rejected[index] = TemplateUndecodableError(f"its bytes cannot be read: {type(error).__name__}")
        if rejected:
            raise RejectedEventsError(rejected, remedy=TemplateUndecodableError.default_remedy)
        return events.without(dropped) if dropped else events
