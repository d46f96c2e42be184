"""The transform `filter`: keeps the events for which an expression is true."""

from typing import Annotated, Any

import attrs

from rigatoni_transforms.expression import compiled
from rigatoni_transforms.transform import RawTransform


def _check(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    compiled(value, "bool")


@attrs.define(kw_only=True, eq=False)
class FilterTransform(RawTransform):
    """Drops the events for which an expression is false.

    An event is kept if the value depends on a part that the event does not have, such as the document of a delete. An
    event on which the expression fails is rejected.
    """

    expression: Annotated[str, "A CEL expression, such as `document.total > 100.0`; its value is true or false"] = (
        attrs.field(validator=_check)
    )

    def raw(self, event: bytes) -> bytes | None:
        """See `RawTransform`."""
        return None if compiled(self.expression, "bool").evaluate(event) is False else event
