"""Infers the types of nested columns from the documents of one batch.

Inferring twice from the same documents gives the same types, in the order in which fields first appear.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Self

import attrs
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from rigatoni_arrow.scalars import SCALARS
from rigatoni_arrow.schemas import DEEPEST, usable
from rigatoni_arrow.types import Array, Struct, Type

MOST_COLUMNS = 1000
"""The maximum number of document columns of a file. More columns make files slow to write and to open."""

RARE = 100
"""A field gets a column if at least one in this many documents has it, because names may be data (ids, dates)."""

MOST_NAMES = 10_000
"""The maximum number of names that are inspected, of all levels together, which bounds memory."""

_GROUPS: dict[type, str] = {
    str: "string",
    int: "number",
    Int64: "number",
    float: "number",
    bool: "bool",
    datetime: "date",
    DatetimeMS: "date",
    ObjectId: "objectId",
    Decimal128: "decimal",
    bytes: "binData",
    Binary: "uuid",
    dict: "document",
    DBRef: "document",
    list: "array",
}
_EXACT = 2**53


@attrs.define(eq=False)
class _Room:
    """The rest of `MOST_NAMES`."""

    left: int = MOST_NAMES


@attrs.define(eq=False)
class Findings:
    """The findings about one place in the documents. Nested places share the room for names."""

    _room: _Room = attrs.field(factory=_Room)
    kinds: Counter[str] = attrs.field(factory=Counter)
    """The number of values by group of types."""
    floats: int = 0
    """The number of doubles among the numbers."""
    large: bool = False
    """Whether an integer occurred that a double may not represent."""
    fields: dict[str, "Findings"] = attrs.field(factory=dict)
    item: "Findings | None" = None

    @classmethod
    def of(cls, said: Any) -> Self:
        """Return the findings of the accelerator, in its notation. They are complete."""
        kinds, floats, large, fields, item = said
        return cls(
            kinds=Counter(dict(kinds)),
            floats=floats,
            large=large,
            fields={name: cls.of(inner) for name, inner in fields},
            item=cls.of(item) if item is not None else None,
        )

    def note(self, values: Sequence[Any], depth: int = 0) -> None:
        """Add the decoded values at this place. May be called several times."""
        classes = Counter(map(type, values))
        for cls, count in classes.items():
            if cls in _GROUPS:
                self.kinds[_GROUPS[cls]] += count
        self.floats += classes[float]
        if not self.large and (int in classes or Int64 in classes):
            self.large = any(isinstance(value, int) and not -_EXACT <= value <= _EXACT for value in values)
        if Binary in classes:
            uuids = sum(isinstance(value, Binary) and value.subtype == 4 and len(value) == 16 for value in values)
            self.kinds["uuid"] += uuids - classes[Binary]
        if depth < DEEPEST and (dict in classes or DBRef in classes):
            self._note_documents(values, depth + 1)
        if depth < DEEPEST and list in classes:
            self.item = self.item or Findings(self._room)
            self.item.note(list(chain.from_iterable(value for value in values if type(value) is list)), depth + 1)

    def _note_documents(self, values: Iterable[Any], depth: int) -> None:
        columns: defaultdict[str, list[Any]] = defaultdict(list)
        for value in values:
            document = value.as_doc() if type(value) is DBRef else value
            if isinstance(document, dict):
                for name, inner in document.items():
                    columns[name].append(inner)
        for name, column in columns.items():
            if name not in self.fields:
                if self._room.left == 0:
                    continue
                self._room.left -= 1
                self.fields[name] = Findings(self._room)
            self.fields[name].note(column, depth)


def inferred(found: Findings) -> Struct | None:
    """Return the type of the documents; None if no column can represent any of their fields."""
    kind = _Inference().of(found)
    return kind if isinstance(kind, Struct) else None


class _Inference:
    def __init__(self) -> None:
        self._left = MOST_COLUMNS

    def of(self, found: Findings) -> Type | None:
        """Return the type of most values at a place. These get the column; the others stay in the rest."""
        (group, count), *_ = found.kinds.most_common(1) or [("", 0)]
        if count == 0:
            return None
        if group == "document":
            return self._document(found, count)
        if group == "array":
            item = self.of(found.item) if found.item else None
            return Array(item) if item else None
        if self._left == 0:
            return None
        self._left -= 1
        if group == "number":
            integers = found.large and found.floats * 2 < count
            group = "double" if found.floats and not integers else "long"
        return SCALARS[group]

    def _document(self, found: Findings, count: int) -> Struct | None:
        often = {name: inside.kinds.total() for name, inside in found.fields.items()}
        usual = sorted((name for name in often if often[name] * RARE >= count), key=lambda name: -often[name])
        kept = set(usable(usual))
        kinds = {name: self.of(inside) for name, inside in found.fields.items() if name in kept}
        fields = {name: kind for name, kind in kinds.items() if kind}
        return Struct(fields) if fields else None
