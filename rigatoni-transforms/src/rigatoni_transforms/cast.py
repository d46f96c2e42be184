"""The transform `cast`: values of another type."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any

import attrs

from rigatoni_transforms.conversions import CONVERSIONS, converted
from rigatoni_transforms.documents import SAME, Rewriter
from rigatoni_transforms.errors import FieldError
from rigatoni_transforms.fields import Change, FieldTransform, Steps, field_paths
from rigatoni_transforms.matching import Element, Rule, State, start_of
from rigatoni_transforms.paths import Path


def _check(instance: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, str]) -> None:
    field_paths(value)
    for path, kind in value.items():
        if kind not in CONVERSIONS:
            raise ValueError(f'unknown type "{kind}" for "{path}"; known are {", ".join(CONVERSIONS)}')


@attrs.define(kw_only=True, eq=False)
class CastTransform(FieldTransform):
    """Converts values to another type. An event with a value that has no counterpart in it is rejected.

    Null and missing values stay as they are.
    """

    fields: Annotated[
        Mapping[str, str],
        'The type of each field by its path, such as `{ total = "decimal" }`: `int`, `long`, `double`, `decimal`, '
        "`string`, `bool`, `date`, `objectId`",
    ] = attrs.field(validator=_check)
    _top: State = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._top = start_of(
            [
                (path, Rule(partial(_cast, path, kind)))
                for path, kind in zip(field_paths(self.fields), self.fields.values(), strict=True)
            ]
        )

    def document(self, raw: bytes, start: int) -> bytes | None:
        """See `FieldTransform`."""
        return _REWRITER.document(raw, start, self._top)

    def path(self, steps: Steps) -> Steps:
        """See `FieldTransform`."""
        return steps

    def changed(self, steps: Steps, kind: int, value: bytes) -> Iterable[Change]:
        """See `FieldTransform`."""
        state: State | None = self._top
        for step in steps:
            assert state is not None
            if state.rule is not None:
                raise FieldError("an update changes a part of a value that is cast")
            state = state.element_at(b"%d" % step) if isinstance(step, int) else state.field_named(step)
            if state is None:
                break
        new = SAME if state is None else _REWRITER.value(value, kind, 0, len(value), state)
        yield (steps, kind, value) if new is None or new is SAME else (steps, *new)


_REWRITER = Rewriter(keeps_others=True)


def _cast(path: Path, name: str, kind: int, value: bytes) -> Element:
    try:
        return converted(name, kind, value)
    except ValueError as error:
        raise FieldError(f'the field "{path.text}" cannot be cast to {name}: {error}') from None
