"""No sentinel leaves: over random documents, deltas and paths, in every format, through rejections, kills and replays.

Everything that must not leave is a sentinel, by a second, simple reading of paths.
"""

from typing import get_args

import attrs
from bson import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.options import Secret
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_transforms.mask import MaskTransform
from rigatoni_transforms.methods import Method
from rigatoni_transforms.paths import ANY, Path
from rigatoni_transforms.select import SelectTransform

SENTINEL = "SENTINEL"
NAMES = ["a", "b", "c", "0", "1", "x.y"]
_VALUES = st.recursive(
    st.sampled_from(["text", 7, None, True, 1.5]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        st.lists(st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=2), min_size=1, max_size=2),
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), _VALUES, min_size=1, max_size=4)

Place = tuple[str | int, ...]
"""Where a value is in a document: names of fields, and indexes of arrays."""


@st.composite
def paths(draw, documents):
    """Up to three paths to values of the documents, none of which covers another."""
    known = sorted({place for document in documents for place, _ in places(document)}, key=repr)
    found: list[Path] = []
    for place in draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)):
        steps = [f'"{place[0]}"']
        for step in place[1:]:
            kept = draw(st.sampled_from(["kept", "kept", "star", "left out"]))
            if kept == "star":
                steps.append("*")
            elif isinstance(step, str) or kept == "kept":
                steps.append(f'"{step}"')
        path = Path.parse(".".join(steps))
        if not any(each.covers(path) or path.covers(each) for each in found):
            found.append(path)
    return [path.text for path in found]


def reaches(steps, place: Place) -> bool:
    """Whether the steps name the value at this place, or one that contains it."""
    if not steps:
        return True
    if not place:
        return False
    head, rest = place[0], place[1:]
    named = steps[0] is ANY or steps[0] == str(head)
    if isinstance(head, int):
        return reaches(steps, rest) or (named and reaches(steps[1:], rest))
    return named and reaches(steps[1:], rest)


def leads(steps, place: Place) -> bool:
    """Whether the steps may name a value inside the one at this place."""
    if not place or not steps:
        return bool(steps)
    head, rest = place[0], place[1:]
    named = steps[0] is ANY or steps[0] == str(head)
    if isinstance(head, int):
        return leads(steps, rest) or (named and leads(steps[1:], rest))
    return named and leads(steps[1:], rest)


@attrs.frozen
class Hidden:
    """What must not leave: what the paths name, or, with `include`, all that they do not."""

    paths: tuple[Path, ...]
    include: bool = False

    def __call__(self, place: Place, *, scalar: bool) -> bool:
        if not self.include or not place:
            return any(reaches(path.steps, place) for path in self.paths)
        if any(reaches(path.steps, place) for path in self.paths):
            return False
        return scalar or not any(leads(path.steps, place) for path in self.paths)

    def marked(self, value, place: Place = ()):
        """The value with sentinels for all that must not leave: values, and the names inside."""
        inside = self(place, scalar=not isinstance(value, (dict, list)))
        if isinstance(value, dict):
            mark = SENTINEL if inside else ""
            return {mark + name: self.marked(item, (*place, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.marked(item, (*place, index)) for index, item in enumerate(value)]
        return f"{SENTINEL} {value}" if inside else value

    def name(self, place: Place) -> list[str | int]:
        """The steps of a changed field, with sentinels for the names that must not leave."""
        return [
            SENTINEL + step if isinstance(step, str) and self(place[:at], scalar=False) else step
            for at, step in enumerate(place)
        ]


def places(value, place: Place = ()):
    """Every place in a value but its top."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key), item
        yield from places(item, (*place, key))


@st.composite
def events(draw, number: int, before, after, hidden: Hidden):
    """An event of a document, before and after, with changes of some of its places."""
    changes = draw(st.lists(st.sampled_from(list(places(after))), max_size=4))
    description = {"updatedFields": {}, "removedFields": [], "truncatedArrays": []}
    readings = {}
    for place, value in changes:
        steps = hidden.name(place)
        name = ".".join(map(str, steps))
        if any(isinstance(step, str) and ("." in step or step.isdigit()) for step in steps):
            readings[name] = steps
        kind = draw(st.sampled_from(list(description)))
        if kind == "updatedFields":
            description[kind][name] = hidden.marked(value, place)
        elif kind == "removedFields":
            description[kind].append(name)
        else:
            description[kind].append({"field": name, "newSize": 2})
    if hidden.include or draw(st.booleans()):
        description["disambiguatedPaths"] = readings
    return encode(
        event_document(
            number,
            operationType=draw(st.sampled_from(["update", "replace", "insert", "read"])),
            fullDocument={"_id": number, **hidden.marked(after)},
            fullDocumentBeforeChange={"_id": number, **hidden.marked(before)},
            updateDescription=description,
            newer={"field": SENTINEL},
        )
    )


@st.composite
def cases(draw, most: int = 3):
    """A transform, and events with what it must hide."""
    kind = draw(st.sampled_from(["include", "exclude", *get_args(Method)]))
    documents = draw(st.lists(st.tuples(DOCUMENTS, DOCUMENTS), min_size=1, max_size=most))
    texts = draw(paths([each for pair in documents for each in pair]))
    if kind in ("include", "exclude"):
        transform = SelectTransform(**{kind: texts})
    else:
        transform = MaskTransform(paths=dict.fromkeys(texts, kind), key=KEY, key_id="1", length=0)
    hidden = Hidden(tuple(map(Path.parse, texts)), kind == "include")
    return transform, [draw(events(number, *pair, hidden)) for number, pair in enumerate(documents)]


KEY = Secret("a key for tests that is no secret")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_no_sentinel_is_in_an_event_or_an_error(case):
    transform, raws = case
    try:
        batch = transform.transform(batch_of(raws))
    except RejectedEventsError as error:
        assert SENTINEL not in f"{error!r} {error} {error.remedy} {error.events!r}"
        batch = transform.transform(batch_of(raws).without(error.events))
    assert SENTINEL.encode() not in bytes(batch.documents)
