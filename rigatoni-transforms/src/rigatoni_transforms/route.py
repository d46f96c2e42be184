"""The transform `route`: gives events another database or collection."""

from struct import Struct
from typing import Annotated, Any

import attrs
import bson
from rigatoni_bson.elements import elements

from rigatoni_transforms.errors import ExpressionError, RouteError
from rigatoni_transforms.expression import Undecided, compiled
from rigatoni_transforms.transform import RawTransform

_SIZE = Struct("<i").pack
_OF_DOCUMENTS = {"read", "insert", "update", "replace", "delete"}


def _check(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if value:
        compiled(value, "string")


@attrs.define(kw_only=True, eq=False)
class RouteTransform(RawTransform):
    """Sets the database or the collection of events by expressions.

    Columns of tables have the new names, and so have folders if the stream has several collections or the template
    names those of the event. The stream and its position stay.
    """

    database: Annotated[
        str, 'A CEL expression for the database, such as `database + "_eu"`; unchanged unless given'
    ] = attrs.field(default="", validator=_check)
    collection: Annotated[
        str, 'A CEL expression for the collection, such as `"orders_" + document.region`; unchanged unless given'
    ] = attrs.field(default="", validator=_check)

    def __attrs_post_init__(self) -> None:
        if not (self.database or self.collection):
            raise ExpressionError(
                "route needs database or collection, or both", remedy="Give an expression for one of them."
            )

    def raw(self, event: bytes) -> bytes | None:
        """See `RawTransform`."""
        operation, place = "", None
        for _, key, value, after in elements(event):
            if key == b"operationType":
                operation = event[value + 4 : after - 1].decode()
            elif key == b"ns":
                place = value, after
        if place is None:  # an event about the whole deployment, such as an invalidation
            return event
        names = bson.decode(event[slice(*place)])
        routed = dict(names)
        for name, expression in (("db", self.database), ("coll", self.collection)):
            if expression and name in names:
                found = compiled(expression, "string").evaluate(event)
                if isinstance(found, Undecided):
                    if operation in _OF_DOCUMENTS:
                        raise RouteError(f"the {operation} has no part that the expression for {_WORDS[name]} needs")
                    return event
                routed[name] = _checked(str(found), _WORDS[name])
        if routed == names:
            return event
        head, tail = event[4 : place[0]], event[place[1] :]
        body = head + bson.encode(routed) + tail
        return _SIZE(len(body) + 4) + body


_WORDS = {"db": "the database", "coll": "the collection"}


def _checked(name: str, what: str) -> str:
    if not name or "\0" in name:
        raise RouteError(f"the expression for {what} gave an empty name or one with a zero character")
    return name
