"""The transform `rename`: other names for fields."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import attrs

from rigatoni_transforms.documents import ARRAY, DOCUMENT, elements_of
from rigatoni_transforms.errors import FieldError, PathError
from rigatoni_transforms.fields import Change, FieldTransform, Step, Steps, document_of, field_paths
from rigatoni_transforms.matching import Rule, State, start_of
from rigatoni_transforms.paths import Path


def _check(instance: object, attribute: "attrs.Attribute[Any]", value: Mapping[str, str]) -> None:
    _names_of(value)


@attrs.define(kw_only=True, eq=False)
class RenameTransform(FieldTransform):
    """Gives fields other names; their values and their order stay.

    If a document would have two fields of one name, the event is rejected.
    """

    fields: Annotated[
        Mapping[str, str], 'The new name of each field by its path, such as `{ "address.zip" = "postcode" }`'
    ] = attrs.field(validator=_check)
    _top: State = attrs.field(init=False, repr=False)
    _names: Mapping[Rule, bytes] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        rules = [(path, Rule(lambda kind, value: (kind, value)), name) for path, name in _names_of(self.fields)]
        self._top = start_of([(path, rule) for path, rule, _ in rules])
        self._names = {rule: name for _, rule, name in rules}

    def document(self, raw: bytes, start: int) -> bytes | None:
        """See `FieldTransform`."""
        return self._renamed(raw, start, self._top, array=False)

    def path(self, steps: Steps) -> Steps:
        """See `FieldTransform`."""
        return self._walked(steps)[0]

    def changed(self, steps: Steps, kind: int, value: bytes) -> Iterable[Change]:
        """See `FieldTransform`."""
        path, state = self._walked(steps)
        new = self._renamed(value, 0, state, array=kind == ARRAY) if state and kind in (DOCUMENT, ARRAY) else None
        yield path, kind, value if new is None else new

    def _walked(self, steps: Steps) -> tuple[Steps, State | None]:
        """The path after the renames, and the state at its end; None if nothing below it is renamed."""
        state: State | None = self._top
        path: list[Step] = list(steps)
        for place, step in enumerate(steps):
            assert state is not None
            state = state.element_at(b"%d" % step) if isinstance(step, int) else state.field_named(step)
            if state is None:
                break
            if state.rule is not None:
                path[place] = self._names[state.rule]
                return tuple(path), None
        return tuple(path), state

    def _renamed(self, raw: bytes, start: int, state: State, *, array: bool) -> bytes | None:
        """The document or array at `start` after the renames; None if nothing changes."""
        below, other = (state.elements, state.any_element) if array else (state.fields, state.other)
        fields, changed = [], False
        for kind, name, value, after in elements_of(raw, start):
            found, new = below.get(name, other), None
            if found is not None and found.rule is not None:
                if array:
                    raise FieldError("a path of rename leads to an element of an array, which has no name")
                name, changed = self._names[found.rule], True
            elif found is not None and kind in (DOCUMENT, ARRAY):
                new = self._renamed(raw, value, found, array=kind == ARRAY)
                changed |= new is not None
            fields.append((kind, name, raw[value:after] if new is None else new))
        return document_of(fields) if changed else None


def _names_of(fields: Mapping[str, str]) -> list[tuple[Path, bytes]]:
    """The option `fields` with its paths and names read. Raises `PathError`."""
    paths = field_paths(fields)
    named = []
    for path, text in zip(paths, fields.values(), strict=True):
        name = Path.parse(text)
        if len(name.steps) > 1 or not isinstance(name.steps[0], str):
            raise PathError(
                f'"{text}" is no name: a field stays in its document',
                remedy="Give the new name only, without a path; quote it if it has a dot.",
            )
        if not isinstance(path.steps[-1], str):
            raise PathError(f'the path "{path.text}" ends in a star: fields would get the same name')
        if name.steps[0] == "_id" and len(path.steps) == 1:
            raise PathError(f'"{path.text}" cannot become "_id", which identifies the document')
        named.append((path, name.steps[0].encode()))
    return named
