"""The transform `template`: leaves out events by their operation."""

from typing import Annotated

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import ANY_FORMAT, Transform
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.options import texts

from rigatoni_template.errors import TemplateUndecodableError


@attrs.define(kw_only=True, eq=False)
class TemplateTransform(Transform):
    """Drops the events of some operations. The rest is passed on unchanged."""

    operations: Annotated[
        tuple[str, ...], "The operations whose events are left out, such as `delete` or `dropDatabase`"
    ] = attrs.field(converter=texts)

    accepts = frozenset({ANY_FORMAT})  # it looks at decoded events only

    def transform(self, events: EventBatch) -> EventBatch:
        """The batch without them. Rejects every event that cannot be read, all at once."""
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
