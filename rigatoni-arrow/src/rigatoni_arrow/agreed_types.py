"""The common types of nested columns in the files of one run without a schema."""

from threading import Lock

from rigatoni_arrow.types import Array, Struct, Type


class AgreedTypes:
    """The inferred types of one run. A field keeps its first type in all later files of the run.

    Files with different types cannot be read as one table. Values that do not fit their column are in the rest.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._types: dict[str, Struct] = {}
        self._lock = Lock()

    def on(self, column: str, found: Struct | None) -> Struct | None:
        """Return the type of this column in a file whose documents have the type `found`; None if no field remains."""
        if found is None:
            return None
        with self._lock:
            known = self._types.get(column, Struct({}))
            agreed = _agreed(known, found)
            if not isinstance(agreed, Struct):
                return None
            self._types[column] = _with(known, agreed)
        return agreed


def _agreed(known: Type, found: Type) -> Type | None:
    """Return the type `found` with the known types of its fields; None if no field remains."""
    match known, found:
        case Struct(), Struct():
            spelled = {name.casefold(): name for name in known.fields}
            fields = {
                name: _agreed(known.fields[name], kind) if name in known.fields else kind
                for name, kind in found.fields.items()
                if spelled.get(name.casefold(), name) == name  # readers do not distinguish such names
            }
            left = {name: kind for name, kind in fields.items() if kind is not None}
            return Struct(left) if left else None
        case Array(), Array():
            item = _agreed(known.item, found.item)
            return Array(item) if item is not None else None
        case _:
            return known


def _with(known: Struct, agreed: Struct) -> Struct:
    """Return the known fields, extended by those of a file."""
    added = {name: kind for name, kind in agreed.fields.items() if name not in known.fields}
    grown = {
        name: _grown(kind, agreed.fields[name]) if name in agreed.fields else kind
        for name, kind in known.fields.items()
    }
    return Struct(grown | added)


def _grown(known: Type, agreed: Type) -> Type:
    match known, agreed:
        case Struct(), Struct():
            return _with(known, agreed)
        case Array(), Array():
            return Array(_grown(known.item, agreed.item))
        case _:
            return known
