"""The transform `unwrap`: rows instead of events."""

from collections.abc import Iterator
from struct import Struct
from typing import Annotated, Any, Literal

import attrs
from rigatoni_core.api.options import texts

from rigatoni_transforms.documents import DOCUMENT, elements_of
from rigatoni_transforms.errors import UnreadableEventError, UnwrapError
from rigatoni_transforms.fields import Element, document_of
from rigatoni_transforms.transform import RawTransform

_BOOL, _DATE, _NULL, _TIMESTAMP = 0x08, 0x09, 0x0A, 0x11
_TIME = Struct("<II").unpack_from
_MILLISECONDS = Struct("<q").pack
_ADDED = ("operation", "time", "cluster_time", "wall_time", "database", "collection", "deleted")
_WITH_DOCUMENT = (b"read", b"insert", b"replace", b"update")
_NOTHING = (_NULL, b"")


def _check_added(instance: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for name in value:
        if name not in _ADDED:
            raise ValueError(f'unknown name "{name}"; known are {", ".join(_ADDED)}')
    if len(set(value)) < len(value):
        raise ValueError("names a field twice")


@attrs.define(kw_only=True, eq=False)
class UnwrapTransform(RawTransform):
    """Replaces each event by the document after the change, with some fields of the event added at its end.

    An insert, a replace, an update and a row of a snapshot become the document. A delete becomes the document before
    the change if the event has it, otherwise the document key. An update whose look-up found no document is dropped:
    its delete follows in the stream. An update without a look-up is rejected. It must be the last transform.
    """

    add: Annotated[
        tuple[str, ...],
        "What is added of the event: `operation`, `time` (a date), `cluster_time` (a timestamp), `wall_time`, "
        "`database`, `collection`, `deleted`",
    ] = attrs.field(default=("operation", "time"), converter=texts, validator=_check_added)
    prefix: Annotated[str, "What the names of added fields begin with"] = "__"
    deletes: Annotated[Literal["row", "drop"], "Whether a delete is a row or is dropped"] = "row"
    other_events: Annotated[
        Literal["drop", "reject"], "What becomes of events without a document, such as the drop of a collection"
    ] = "drop"

    def raw(self, event: bytes) -> bytes | None:
        """See `RawTransform`."""
        parts = {key: (kind, event[value:after]) for kind, key, value, after in elements_of(event, 0)}
        if b"operationType" not in parts:
            raise UnreadableEventError("it is no event; unwrap must be the last transform")
        operation = parts[b"operationType"][1][4:-1]
        document = self._document(operation, parts)
        if document is None:
            return None
        fields = [(kind, key, document[value:after]) for kind, key, value, after in elements_of(document, 0)]
        return document_of([*fields, *self._added(operation, parts)])

    def _document(self, operation: bytes, parts: dict[bytes, tuple[int, bytes]]) -> bytes | None:
        """The document of the row; None if the event is dropped."""
        if operation in _WITH_DOCUMENT:
            kind, document = parts.get(b"fullDocument", (0, b""))
            if kind == _NULL:
                return None
            if kind != DOCUMENT:
                raise UnwrapError(f"the {operation.decode()} has no document")
            return document
        if operation == b"delete":
            if self.deletes == "drop":
                return None
            for name in (b"fullDocumentBeforeChange", b"documentKey"):
                kind, document = parts.get(name, _NOTHING)
                if kind == DOCUMENT:
                    return document
            raise UnwrapError("the delete has neither a document before the change nor a document key")
        if self.other_events == "reject":
            raise UnwrapError(
                "the event has no document", remedy='Set other_events = "drop" to leave out events without a document.'
            )
        return None

    def _added(self, operation: bytes, parts: dict[bytes, tuple[int, bytes]]) -> Iterator[Element]:
        names = parts.get(b"ns", _NOTHING)
        space = (
            {key: (kind, names[1][value:after]) for kind, key, value, after in elements_of(names[1], 0)}
            if names[0] == DOCUMENT
            else {}
        )
        time = parts.get(b"clusterTime", _NOTHING)
        found = {
            "operation": parts[b"operationType"],
            "time": (_DATE, _MILLISECONDS(_TIME(time[1])[1] * 1000)) if time[0] == _TIMESTAMP else _NOTHING,
            "cluster_time": time,
            "wall_time": parts.get(b"wallTime", _NOTHING),
            "database": space.get(b"db", _NOTHING),
            "collection": space.get(b"coll", _NOTHING),
            "deleted": (_BOOL, bytes([operation == b"delete"])),
        }
        for name in self.add:
            kind, value = found[name]
            yield kind, f"{self.prefix}{name}".encode(), value
