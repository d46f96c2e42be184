"""The transform `flatten`: fields of inner documents become fields at the top."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import attrs

from rigatoni_transforms.documents import DOCUMENT, elements_of
from rigatoni_transforms.fields import Change, Element, FieldTransform, Steps, document_of


def _check_separator(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not value or "\0" in value:
        raise ValueError("must not be empty, nor hold a zero character")


def _check_depth(instance: object, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("must be a whole number from 1; leave it out to flatten all levels")


@attrs.define(kw_only=True, eq=False)
class FlattenTransform(FieldTransform):
    """Replaces inner documents by their fields: `address.street` becomes `address_street`.

    Arrays, empty documents and `_id` stay. If two fields get the same name, the event is rejected.
    """

    separator: Annotated[str, "What stands between the names"] = attrs.field(default="_", validator=_check_separator)
    depth: Annotated[int | None, "How many levels of inner documents are replaced; all unless given"] = attrs.field(
        default=None, validator=_check_depth
    )

    def document(self, raw: bytes, start: int) -> bytes | None:
        """See `FieldTransform`."""
        if not any(self._opens(raw, kind, key, value, 0) for kind, key, value, _ in elements_of(raw, start)):
            return None
        return document_of(self._fields(raw, start, (), 0))

    def path(self, steps: Steps) -> Steps:
        """See `FieldTransform`."""
        if steps[0] == b"_id":
            return steps
        most = len(steps) if self.depth is None else self.depth + 1
        names: list[bytes] = []
        for step in steps[:most]:
            if isinstance(step, int):
                break
            names.append(step)
        return (self.separator.encode().join(names), *steps[len(names) :]) if names else steps

    def changed(self, steps: Steps, kind: int, value: bytes) -> Iterable[Change]:
        """See `FieldTransform`."""
        names = tuple(step for step in steps if not isinstance(step, int))
        if len(names) == len(steps) and self._opens(value, kind, names[0], 0, len(steps) - 1):
            for inner, name, found in self._fields(value, 0, names, len(steps)):
                yield (name,), inner, found
        else:
            yield self.path(steps), kind, value

    def _fields(self, raw: bytes, start: int, above: tuple[bytes, ...], level: int) -> Iterator[Element]:
        """The fields of the document at `start`, whose own names are `above`."""
        for kind, key, value, after in elements_of(raw, start):
            if self._opens(raw, kind, above[0] if above else key, value, level):
                yield from self._fields(raw, value, (*above, key), level + 1)
            else:
                yield kind, self.separator.encode().join((*above, key)), raw[value:after]

    def _opens(self, raw: bytes, kind: int, top: bytes, value: int, level: int) -> bool:
        """Whether a value at this level is replaced by its fields."""
        return (
            kind == DOCUMENT
            and top != b"_id"
            and (self.depth is None or level < self.depth)
            and raw[value : value + 4] != b"\x05\0\0\0"  # an empty document has no fields
        )
