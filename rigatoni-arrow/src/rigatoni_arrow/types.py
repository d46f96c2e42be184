"""The types of nested columns, which split values into a column and a rest."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain
from typing import Any

import attrs
import pyarrow as pa
from bson.dbref import DBRef

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "MISSING"})()
"""Represents a field that a document does not have. None represents BSON's null."""

Rest = dict[int, Any]
"""The rest by row: the value itself if the column is null, else only the omitted parts."""


class Type(ABC):
    """A column's type."""

    arrow: pa.DataType

    @abstractmethod
    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
        """Return decoded BSON values as a column, in which values that do not fit are null, and the rest."""

    @abstractmethod
    def spelled(self) -> Any:
        """Return the type in the notation of schema files."""


@attrs.frozen
class Array(Type):
    """An array of one type. The rest of an array is a document with the rest of each element by its index."""

    item: Type

    @cached_property
    def arrow(self) -> pa.DataType:
        """Return the type as Arrow's list type."""
        return pa.list_(pa.field("element", self.item.arrow))

    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
        """See `Type`."""
        fits = [type(value) is list for value in values]
        lengths = [len(value) if fit else 0 for value, fit in zip(values, fits, strict=True)]
        ends = list(accumulate(lengths, initial=0))
        flat = list(chain.from_iterable(value for value, fit in zip(values, fits, strict=True) if fit))
        items, item_rest = self.item.column(flat)
        offsets = pa.array(ends, pa.int32())
        mask = None if all(fits) else pa.array([not fit for fit in fits])
        rest: Rest = {row: value for row, value in enumerate(values) if not fits[row] and value is not MISSING}
        row = 0
        for index in sorted(item_rest):
            value = item_rest[index]
            if value is None:  # null elements stay null
                continue
            while index >= ends[row + 1]:
                row += 1
            rest.setdefault(row, {})[str(index - ends[row])] = value
        return pa.ListArray.from_arrays(offsets, items, type=self.arrow, mask=mask), rest

    def spelled(self) -> list[Any]:
        """Return the type of the elements in a list."""
        return [self.item.spelled()]


@attrs.frozen
class Struct(Type):
    """A document of these fields (at least one). The rest is a document with the rest of each value by its field."""

    fields: Mapping[str, Type]

    @cached_property
    def arrow(self) -> pa.DataType:
        """Return the type as Arrow's struct type."""
        return pa.struct([pa.field(name, kind.arrow) for name, kind in self.fields.items()])

    def column(self, values: Sequence[Any]) -> tuple[pa.Array, Rest]:
        """See `Type`."""
        documents = [value.as_doc() if type(value) is DBRef else value for value in values]
        fits = [isinstance(document, dict) for document in documents]
        rest: Rest = {row: value for row, value in enumerate(values) if not fits[row] and value is not MISSING}
        mask = None
        if not all(fits):
            mask = pa.array([not fit for fit in fits])
            documents = [document if fit else {} for document, fit in zip(documents, fits, strict=True)]
        columns = []
        for name, kind in self.fields.items():
            column, field_rest = kind.column([document.get(name, MISSING) for document in documents])
            columns.append(column)
            for row, value in field_rest.items():
                rest.setdefault(row, {})[name] = value
        knows = frozenset(self.fields).issuperset
        for row, document in enumerate(documents):
            if not knows(document):
                others = {name: value for name, value in document.items() if name not in self.fields}
                rest.setdefault(row, {}).update(others)
        fields = list(self.arrow)
        return pa.StructArray.from_arrays(columns, fields=fields, mask=mask), rest

    def spelled(self) -> dict[str, Any]:
        """Return the types of the fields by name."""
        return {name: kind.spelled() for name, kind in self.fields.items()}
