"""The transform `schema`: a contract about the documents of collections."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Annotated, Any, Literal

import attrs
import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Reporter
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Notice, SchemaDrifted

from rigatoni_transforms.deviations import Actions, Deviation, Look
from rigatoni_transforms.documents import ARRAY, DOCUMENT, elements_of
from rigatoni_transforms.drift import Drift
from rigatoni_transforms.errors import SchemaError, UnreadableEventError
from rigatoni_transforms.fields import Element, Steps, document_of, joined, readings_of, steps_of
from rigatoni_transforms.schema_model import Schema, schema_of
from rigatoni_transforms.transform import RawTransform

Action = Literal["evolve", "reject", "drop_value", "drop_event", "stop"]
WholeAction = Literal["evolve", "reject", "drop_event", "stop"]

_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_OF_DOCUMENTS = (b"read", b"insert", b"update", b"replace", b"delete")
_SIZE = Struct("<i").pack
_NULL = b"\x0a"
_DROP = b"drop"
"""In the place of a value that is left out."""


def _check_collections(instance: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, Any]) -> None:
    for name, table in value.items():
        if not isinstance(table, Mapping):
            raise SchemaError(f"{name}: the schema of a collection is a table")
        schema_of(table, name)


@attrs.define(kw_only=True, eq=False)
class SchemaTransform(RawTransform, Reporter):
    """Compares documents and update descriptions with the schemas of their collections.

    What becomes of an event that deviates depends on the event and the options alone: the schema in force never
    changes by itself. `evolve` passes the deviation on and reports it.
    """

    collections: Annotated[
        Mapping[str, Any],
        "The schema of each collection by its name, such as `shop.orders`: MongoDB's `$jsonSchema`, or `columns` and "
        "`required`",
    ] = attrs.field(validator=_check_collections)
    new_field: Annotated[Action, "Action for a field that the schema does not have"] = "evolve"
    missing_field: Annotated[WholeAction, "Action for a missing required field"] = "reject"
    other_type: Annotated[Action, "Action for a value of another type"] = "reject"
    other_value: Annotated[Action, "Action for a value beyond the limits of the schema, such as `enum`"] = "reject"
    new_collection: Annotated[WholeAction, "Action for a collection without a schema"] = "evolve"
    _schemas: Mapping[str, Schema] = attrs.field(init=False, repr=False)
    _actions: Actions = attrs.field(init=False, repr=False)
    _drift: Drift = attrs.field(factory=Drift, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._schemas = {name: schema_of(table, name) for name, table in self.collections.items()}
        self._actions = Actions({kind: getattr(self, kind.value) for kind in Deviation})

    def transform(self, events: EventBatch) -> EventBatch:
        """See `Transform`."""
        with self._drift.of(events.stream):
            return super().transform(events)

    def reports(self, stream: Stream) -> Sequence[Notice]:
        """See `Reporter`."""
        return [SchemaDrifted(stream=stream, deviation=each) for each in self._drift.news(stream)]

    def raw(self, event: bytes) -> bytes | None:
        """See `RawTransform`."""
        parts = {key: (kind, value, after) for kind, key, value, after in elements_of(event, 0)}
        if b"operationType" not in parts:
            raise UnreadableEventError("it is no event; unwrap must be the last transform")
        _, value, after = parts[b"operationType"]
        if event[value + 4 : after - 1] not in _OF_DOCUMENTS or b"ns" not in parts:
            return event
        _, value, after = parts[b"ns"]
        look = Look(self._actions, _named(event[value:after]))
        schema = self._schemas.get(look.collection)
        if schema is None:
            look.finds(Deviation.NEW_COLLECTION, ())
            self._drift.add(look.passed)
            return None if look.dropped else event
        changed: dict[bytes, bytes] = {}
        for key, (kind, value, _) in parts.items():
            new = None
            if kind != DOCUMENT:
                continue
            if key == b"fullDocument":
                new = _document(look, event, value, schema, ())
            elif key == b"fullDocumentBeforeChange":
                new = _document(look.lenient(), event, value, schema, ())
            elif key == b"updateDescription":
                new = _delta(look, event, value, schema)
            if new is not None:
                changed[key] = new
        if look.dropped:
            return None
        self._drift.add(look.passed)
        return _replaced(event, parts, changed) if changed else event


def _replaced(event: bytes, parts: Mapping[bytes, tuple[int, int, int]], changed: Mapping[bytes, bytes]) -> bytes:
    pieces: list[bytes] = []
    copied = 4
    for key, (_, value, after) in parts.items():
        if key in changed:
            pieces += (event[copied:value], changed[key])
            copied = after
    body = b"".join([*pieces, event[copied:]])
    return _SIZE(len(body) + 4) + body


@lru_cache(4096)
def _named(namespace: bytes) -> str:
    names = bson.decode(namespace)
    return f"{names.get('db')}.{names.get('coll')}"


def _document(look: Look, raw: bytes, start: int, schema: Schema, path: Steps) -> bytes | None:
    """The document at `start` without what is left out; None if nothing is."""
    kept: list[Element] = []
    seen, changed = set(), False
    for kind, name, value, after in elements_of(raw, start):
        seen.add(name)
        new: bytes | None = None
        below = None if schema.properties is None else schema.properties.get(name)
        if below is not None:
            new = _value(look, raw, kind, value, after, below, (*path, name))
        elif schema.properties is not None and not schema.open and (path or name != b"_id"):
            new = _DROP if look.finds(Deviation.NEW_FIELD, (*path, name)) else None
        changed |= new is not None
        if new is not _DROP:
            kept.append((kind, name, raw[value:after] if new is None else new))
    for name in sorted(schema.required - seen):
        look.finds(Deviation.MISSING_FIELD, (*path, name))
    return document_of(kept) if changed else None


def _value(look: Look, raw: bytes, kind: int, value: int, after: int, schema: Schema, path: Steps) -> bytes | None:
    """A value without what is left out in it, `_DROP`, or None if it stays."""
    if schema.types is not None and kind not in schema.types:
        return _DROP if look.finds(Deviation.OTHER_TYPE, path) else None
    if schema.check is not None:
        given = bson.decode(document_of([(kind, b"v", raw[value:after])]), _CODEC)["v"]
        if not schema.check(given):
            return _DROP if look.finds(Deviation.OTHER_VALUE, path) else None
    if kind == DOCUMENT and (schema.properties is not None or schema.required):
        return _document(look, raw, value, schema, path)
    if kind == ARRAY and schema.items is not None:
        return _array(look, raw, value, schema.items, path)
    return None


def _array(look: Look, raw: bytes, start: int, items: Schema, path: Steps) -> bytes | None:
    """An array; elements that are left out become null, so that the others keep their index."""
    kept: list[Element] = []
    changed = False
    for index, (kind, name, value, after) in enumerate(elements_of(raw, start)):
        new = _value(look, raw, kind, value, after, items, (*path, index))
        changed |= new is not None
        kept.append((_NULL[0], name, b"") if new is _DROP else (kind, name, raw[value:after] if new is None else new))
    return document_of(kept) if changed else None


def _delta(look: Look, raw: bytes, start: int, schema: Schema) -> bytes | None:
    """An update description without the changed fields that are left out; None if nothing is."""
    readings = readings_of(raw, start)
    kept: list[Element] = []
    changed = False
    for kind, name, value, after in elements_of(raw, start):
        new: bytes | None = None
        if name == b"updatedFields" and kind == DOCUMENT:
            before = list(elements_of(raw, value))
            fields = list(_updated(look, raw, before, schema, readings))
            if fields != [(kind, name, raw[value:after]) for kind, name, value, after in before]:
                new = document_of(fields)
        elif name == b"removedFields" and kind == ARRAY:
            for _, _, place, stop in elements_of(raw, value):
                steps = steps_of(raw[place + 4 : stop - 1], readings)
                parent, found = _at(schema, steps[:-1])
                if parent is not None and len(found) == len(steps) - 1 and steps[-1] in parent.required:
                    look.finds(Deviation.MISSING_FIELD, steps)
        changed |= new is not None
        kept.append((kind, name, raw[value:after] if new is None else new))
    return document_of(kept) if changed else None


def _updated(
    look: Look, raw: bytes, fields: list[tuple[int, bytes, int, int]], schema: Schema, readings: Mapping[bytes, Steps]
) -> Iterator[Element]:
    for kind, name, value, after in fields:
        steps = steps_of(name, readings)
        found, path = _at(schema, steps)
        new: bytes | None = None
        if len(path) < len(steps):  # it ends at a field that is new, or that must be no document
            deviation = Deviation.NEW_FIELD if found is None else Deviation.OTHER_TYPE
            place = steps[: len(path) + 1] if found is None else path
            new = _DROP if look.finds(deviation, place) else None
        elif found is not None:
            new = _value(look, raw, kind, value, after, found, steps)
        if new is not _DROP:
            yield kind, joined(steps), raw[value:after] if new is None else new


def _at(schema: Schema, steps: Steps) -> tuple[Schema | None, Steps]:
    """The schema at a path, and how much of the path it covers.

    None with the whole path if anything may be there; None with a part of it if the next step is a new field. A
    schema with a part of the path is that of a value which can have no fields or elements.
    """
    now = schema
    for place, step in enumerate(steps):
        inner = {DOCUMENT, ARRAY} if isinstance(step, int) else {DOCUMENT}
        if now.types is not None and not now.types & inner:
            return now, steps[:place]
        named = step if isinstance(step, bytes) else b"%d" % step
        below = now.properties.get(named) if now.properties is not None else None
        if below is None and isinstance(step, int) and now.items is not None:
            below = now.items
        if below is None:
            closed = now.properties is not None and not now.open and (place or step != b"_id")
            return None, steps[:place] if closed and isinstance(step, bytes) else steps
        now = below
    return now, steps
