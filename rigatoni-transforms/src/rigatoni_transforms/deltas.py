"""Update descriptions rewritten by the rules for documents, so that no delta says what the document does not."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import attrs

from rigatoni_transforms.documents import ARRAY, DOCUMENT, NULL, SAME, STRING, Rewriter, document_of, elements_of
from rigatoni_transforms.errors import MaskError
from rigatoni_transforms.matching import KEEP, REMOVE, State


@attrs.frozen
class Reading:
    """What is known of the name of a changed field.

    Attributes:
        steps: Its steps, if `disambiguatedPaths` has them: names of fields, and indexes of arrays.
        plain: Whether each dot separates two steps. Unknown if the event has no `disambiguatedPaths`.
    """

    steps: tuple[bytes | int, ...] = ()
    plain: bool = False


_REMEMBERED = 4096
_PARTS = {
    b"updatedFields": DOCUMENT,
    b"removedFields": ARRAY,
    b"truncatedArrays": ARRAY,
    b"disambiguatedPaths": DOCUMENT,
}
_INT32, _INT64 = 0x10, 0x12


@attrs.frozen
class Place:
    """Where the name of a changed field leads.

    Attributes:
        state: The state there, or that of the first place above with a rule; None if no path leads there.
        above: The name of that place above, if there is one.
        by_index: Whether all steps from there are indexes.
    """

    state: State | None
    above: bytes | None = None
    by_index: bool = False


class DeltaRewriter:
    """Applies rules to update descriptions (MongoDB manual, "Change Events", `update`).

    The name of a changed field is a path, `address.street.0`, which is ambiguous if a field has a dot or only digits
    in its name. `disambiguatedPaths` says what is meant. In an event without it every reading counts if paths name
    what is changed or removed, and the plain one if they name what is kept.
    """

    def __init__(self, rewriter: Rewriter, top: State) -> None:
        self._rewriter = rewriter
        self._top = top
        self.place = lru_cache(_REMEMBERED)(self._find)

    def description(self, raw: bytes, start: int) -> bytes:
        """Return the update description at `start` after the rules. Parts that are not known are removed.

        Raises:
            MaskError: A rule cannot be applied, or a part is not as MongoDB documents it.
            ValueError, IndexError, struct.error: The bytes are no BSON.
        """
        parts = elements_of(raw, start)
        readings = _Readings.of(raw, parts)
        written: list[bytes] = []
        for kind, name, value, after in parts:
            if name not in _PARTS:
                continue
            if kind == NULL:
                new = raw[value:after]
            elif kind != _PARTS[name]:
                raise MaskError(f"{name.decode()} of the update description has another type than MongoDB documents")
            elif name == b"updatedFields":
                new = document_of(self._updated(raw, value, readings))
            elif name == b"removedFields":
                new = _array(self._removed(raw, value, readings))
            elif name == b"truncatedArrays":
                new = _array(self._truncated(raw, value, readings))
            else:
                new = document_of(self._disambiguated(raw, value, readings))
            written.append(b"%c%b\0%b" % (kind, name, new))
        return document_of(written)

    def _updated(self, raw: bytes, start: int, readings: "_Readings") -> Iterator[bytes]:
        replaced: set[bytes] = set()
        for kind, name, value, after in elements_of(raw, start):
            place = self.place(name, readings[name])
            if self._may_name(place):
                new = SAME if place.state is None else self._rewriter.value(raw, kind, value, after, place.state)
                if new is SAME:
                    yield raw[value - len(name) - 2 : after]
                elif new is not None:
                    yield b"%c%b\0%b" % (new[0], name, new[1])
            elif place.above is not None and place.state is not None and place.state.rule is not REMOVE:
                # A change inside a masked value: what is written is the masked value, once.
                new = self._rewriter.value(raw, DOCUMENT, value, after, place.state)
                if new is not None and place.above not in replaced:
                    replaced.add(place.above)
                    yield b"%c%b\0%b" % (new[0], place.above, new[1])

    def _removed(self, raw: bytes, start: int, readings: "_Readings") -> Iterator[tuple[int, bytes]]:
        for kind, _, value, after in elements_of(raw, start):
            name = _text(raw, kind, value, after)
            if self._may_name(self.place(name, readings[name])):
                yield kind, raw[value:after]

    def _truncated(self, raw: bytes, start: int, readings: "_Readings") -> Iterator[tuple[int, bytes]]:
        for kind, _, value, after in elements_of(raw, start):
            if kind != DOCUMENT:
                raise MaskError("an entry of truncatedArrays is no document")
            fields = elements_of(raw, value)
            names = [_text(raw, kind, *where) for kind, field, *where in fields if field == b"field"]
            if names and all(self._may_tell_length(self.place(name, readings[name])) for name in names):
                yield kind, raw[value:after]

    def _disambiguated(self, raw: bytes, start: int, readings: "_Readings") -> Iterator[bytes]:
        for _, name, value, after in elements_of(raw, start):
            if self._may_name(self.place(name, readings[name])):
                yield raw[value - len(name) - 2 : after]

    def _may_name(self, place: Place) -> bool:
        """Return whether the name of the changed field may be written."""
        if place.state is None:
            return self._rewriter.keeps_others
        rule = place.state.rule
        if rule is None or rule is KEEP:
            return True
        return rule is not REMOVE and (place.above is None or (place.by_index and not rule.whole))

    def _may_tell_length(self, place: Place) -> bool:
        """Return whether the length of the changed array may be written, too."""
        rule = place.state.rule if place.state is not None else None
        return self._may_name(place) and (rule is None or not rule.whole)

    def _find(self, name: bytes, reading: Reading) -> Place:
        return self._exact(reading.steps) if reading.steps else self._split(name, plain=reading.plain)

    def _exact(self, names: tuple[bytes | int, ...]) -> Place:
        state: State | None = self._top
        for place, step in enumerate(names, 1):
            assert state is not None
            state = state.element_at(b"%d" % step) if isinstance(step, int) else state.field_named(step)
            if state is None:
                break
            if state.rule is not None:
                above = b".".join(b"%d" % each if isinstance(each, int) else each for each in names[:place])
                rest = names[place:]
                return Place(state, above if rest else None, all(isinstance(each, int) for each in rest))
        return Place(state)

    def _split(self, name: bytes, *, plain: bool) -> Place:
        """Each dot separates two steps, or, if not `plain`, may be part of a name."""
        steps = name.split(b".")
        reached: list[State | None] = [self._top, *([None] * len(steps))]
        for place, state in enumerate(reached):
            if state is None:
                continue
            if state.rule is not None:
                rest = steps[place:]
                above = b".".join(steps[:place])
                return Place(state, above if rest else None, all(step.isdigit() for step in rest))
            for stop in range(place + 1, min(place + 1, len(steps)) + 1 if plain else len(steps) + 1):
                joined = b".".join(steps[place:stop])
                if stop == place + 1:
                    below = state.either(joined)
                elif self._rewriter.keeps_others:
                    below = state.field_named(joined)
                else:
                    below = state.fields.get(joined)
                if below is not None:
                    reached[stop] = below.joined(reached[stop])
        return Place(reached[-1])


class _Readings(dict[bytes, Reading]):
    """What an event says about the names of its changed fields."""

    otherwise = Reading()

    def __missing__(self, name: bytes) -> Reading:
        return self.otherwise

    @classmethod
    def of(cls, raw: bytes, parts: Iterable[tuple[int, bytes, int, int]]) -> "_Readings":
        readings = cls()
        for kind, name, value, _ in parts:
            if name == b"disambiguatedPaths" and kind == DOCUMENT:
                readings.otherwise = Reading(plain=True)
                for inner, field, start, _ in elements_of(raw, value):
                    if inner != ARRAY:
                        raise MaskError("an entry of disambiguatedPaths is no array")
                    readings[field] = Reading(tuple(_name(raw, *step) for step in elements_of(raw, start)))
        return readings


def _name(raw: bytes, kind: int, _: bytes, value: int, after: int) -> bytes | int:
    if kind in (_INT32, _INT64):
        return int.from_bytes(raw[value:after], "little", signed=True)
    return _text(raw, kind, value, after)


def _text(raw: bytes, kind: int, value: int, after: int) -> bytes:
    if kind != STRING:
        raise MaskError("the name of a changed field is no text")
    return raw[value + 4 : after - 1]


def _array(values: Iterable[tuple[int, bytes]]) -> bytes:
    """An array of these values, by type and bytes."""
    return document_of(b"%c%d\0%b" % (kind, index, value) for index, (kind, value) in enumerate(values))
