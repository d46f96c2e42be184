"""`select` and `mask` with the accelerator make of events what they make without it, byte for byte."""

import struct
from array import array
from itertools import accumulate
from typing import get_args

import attrs
import pytest
from bson import Code, Int64, ObjectId, encode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rigatoni_bson.testing.reading import bson_document, bson_string
from rigatoni_bson.testing.strategies import DAMAGED, SCALARS, VALUES
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import ConfigurationError, RejectedEventsError
from rigatoni_core.api.options import Secret
from rigatoni_core.api.segments import Segment
from rigatoni_native import fallbacks, rewriter
from rigatoni_testing.batches import START, STREAM, TestDecoder, event_document, recorded_events
from rigatoni_testing.strategies import damaged
from rigatoni_transforms.errors import PathError
from rigatoni_transforms.mask import MaskTransform
from rigatoni_transforms.methods import Method
from rigatoni_transforms.select import SelectTransform

KEY = Secret("a key for tests that is no secret")
NAMES = ["a", "b", "c", "0", "1", "x.y"]
PROPERTY = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


def unchecked(*segments):
    """A batch of any bytes, in segments: nothing is read from them."""
    parts = [
        Segment(memoryview(b"".join(events)), array("Q", accumulate(map(len, events), initial=0)))
        for events in segments
    ]
    return EventBatch(STREAM, first=attrs.evolve(START, ordinal=1000), end=START, segments=parts, decoder=TestDecoder())


def outcome(transform, *segments):
    """The events after the transform, and why which of them are rejected; or why it stops."""
    batch = unchecked(*segments)
    errors = {}
    while True:
        try:
            made = transform.transform(batch)
        except RejectedEventsError as error:
            for index, reason in error.events.items():
                errors[batch.indices[index]] = (type(reason), str(reason))
            batch = batch.without(error.events)
        except ConfigurationError as error:
            return type(error), str(error)
        else:
            return [bytes(made.raw(index)) for index in range(len(made))], list(made.indices), errors


def both(make, *segments):
    """The outcome by either way."""
    accelerated, pure = make(), make()
    assert accelerated._compiled is not None
    pure._compiled = None
    return outcome(accelerated, *segments), outcome(pure, *segments)


def grown(call):
    """Return the reasons whose counts grow during a call, with the growth."""
    before = fallbacks()
    call()
    return {reason: count - before[reason] for reason, count in fallbacks().items() if count != before[reason]}


def select(**options):
    return lambda: SelectTransform(**options)


def mask(paths, **options):
    return lambda: MaskTransform(fields=paths, key=KEY, key_id="1", **options)


def named(fields):
    return bson_document((name.encode(), *value) for name, value in fields)


def listed(values):
    return bson_document((b"%d" % index, *value) for index, value in enumerate(values))


_TEXTS = st.sampled_from([b"", b"1234567", b"12345678", "ééééöööö".encode(), b"a\xff", b"a\0b"]).map(bson_string)
_VALUES = st.recursive(
    SCALARS | st.tuples(st.just(0x02), _TEXTS),
    lambda inner: st.one_of(
        st.tuples(st.just(0x03), st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=4).map(named)),
        st.tuples(st.just(0x04), st.lists(inner, max_size=3).map(listed)),
        st.tuples(st.just(0x04), st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=2).map(named)),
    ),
    max_leaves=10,
)


DOCUMENTS = st.lists(st.tuples(st.sampled_from([*NAMES, "_id"]), _VALUES), max_size=5).map(named)
FIELDS = st.lists(st.sampled_from([*NAMES, "d"]), min_size=1, max_size=4).map(".".join)
_TEXT_OF_FIELD = FIELDS.map(lambda name: (0x02, bson_string(name.encode())))
_ENTRIES = st.lists(st.tuples(st.sampled_from(["field", "field", "newSize"]), _TEXT_OF_FIELD), max_size=2).map(
    lambda fields: (0x03, named(fields))
)
_STEPS = st.lists(
    st.sampled_from(NAMES).map(lambda name: (0x02, bson_string(name.encode())))
    | st.integers(-2, 2).map(lambda index: (0x10, struct.pack("<i", index))),
    max_size=3,
).map(lambda steps: (0x04, listed(steps)))
_ODD = st.tuples(st.sampled_from(["updatedFields", "removedFields", "truncatedArrays", "newer"]), VALUES)


@st.composite
def deltas(draw):
    """Update descriptions, mostly as a server sends them."""
    updated = draw(st.lists(st.tuples(FIELDS, _VALUES), max_size=4))
    removed, truncated = draw(st.lists(_TEXT_OF_FIELD, max_size=3)), draw(st.lists(_ENTRIES, max_size=2))
    parts = [
        ("updatedFields", (0x03, named(updated))),
        ("removedFields", (0x04, listed(removed))),
        ("truncatedArrays", (0x04, listed(truncated))),
    ]
    said = draw(st.sampled_from(["nothing", "nothing", "null", "empty", "paths"]))
    if said == "null":
        parts.append(("disambiguatedPaths", (0x0A, b"")))
    elif said != "nothing":
        paths = draw(st.lists(st.tuples(FIELDS, _STEPS), max_size=2)) if said == "paths" else []
        parts.append(("disambiguatedPaths", (0x03, named(paths))))
    return named([*parts, *draw(st.lists(_ODD, max_size=1) if draw(st.integers(0, 4)) == 0 else st.just([]))])


_NAMESPACES = st.fixed_dictionaries(
    {"db": st.sampled_from(["shop", "crm"]), "coll": st.sampled_from(["users", "carts", "x"])}
)
_PARTS = st.one_of(
    st.tuples(st.just("fullDocument"), st.tuples(st.just(0x03), DOCUMENTS)),
    st.tuples(st.just("fullDocumentBeforeChange"), st.tuples(st.just(0x03), DOCUMENTS)),
    st.tuples(st.just("updateDescription"), st.tuples(st.just(0x03), deltas())),
    st.tuples(st.just("ns"), st.tuples(st.just(0x03), _NAMESPACES.map(encode))),
    st.tuples(st.just("documentKey"), st.just((0x03, encode({"_id": 1})))),
    st.tuples(st.just("documentKey"), st.tuples(st.just(0x03), DOCUMENTS)),
    st.tuples(st.sampled_from(["operationType", "wallTime", "fullDocument", "newer", "lsid"]), VALUES),
    st.tuples(st.sampled_from(["fullDocument", "updateDescription"]), st.just((0x0A, b""))),
)
EVENTS = st.lists(_PARTS, max_size=6).map(named)


@st.composite
def transforms(draw):
    """What makes a transform with random paths; equal ones at each call."""
    step = st.sampled_from(["a", "b", "c", "0", "1", '"x.y"', "*"])
    path = st.builds(
        lambda first, rest: ".".join([first, *rest]), st.sampled_from(NAMES[:4]), st.lists(step, max_size=3)
    )
    paths = draw(st.lists(path, min_size=1, max_size=4, unique=True))
    where = {"collections": draw(st.sampled_from([[], ["shop.users"], ["shop.*"], ["*s", "crm.x"]]))}
    kind = draw(st.sampled_from(["include", "exclude", "mask", "mask"]))
    if kind == "mask":
        methods = draw(st.lists(st.sampled_from(get_args(Method)), min_size=len(paths), max_size=len(paths)))
        options = {"constant": draw(st.sampled_from(["***", "é"])), "length": draw(st.sampled_from([0, 3, 10**30]))}
        make = mask(dict(zip(paths, methods, strict=True)), **options, **where)
    else:
        make = select(**{kind: paths}, **where)
    try:
        make()
    except (PathError, ValueError):  # one path covers another
        return select(exclude=paths[:1], **where)
    return make


@PROPERTY
@given(make=transforms(), segments=st.lists(st.lists(EVENTS, max_size=4), min_size=1, max_size=3))
def test_events_of_any_shape_become_the_same(make, segments):
    accelerated, pure = both(make, *segments)
    assert accelerated == pure


@PROPERTY
@given(make=transforms(), events=st.lists(EVENTS, min_size=1, max_size=3), data=st.data())
def test_damaged_events_become_the_same_and_harm_no_neighbour(make, events, data):
    broken = [*data.draw(st.lists(damaged(*events) | DAMAGED, max_size=4)), *events]
    accelerated, pure = both(make, broken)
    assert accelerated == pure


@pytest.mark.parametrize("length", [-(2**31), -40, -9, -1, 0, 1, 4, 2**31 - 1])
@pytest.mark.parametrize("field", [b"\2name\0", b"\5bytes\0", b"\3inner\0", b"\4list\0", b"\3fullDocument\0", b"\2a\0"])
def test_a_damaged_length_leads_nowhere(length, field):
    inner = {"x": 1, "y": {"z": 2}}
    document = {"_id": 1, "a": "text", "name": "text", "bytes": b"1234", "inner": inner, "list": [1, {"x": 3}]}
    whole = encode(event_document(1, fullDocument=document))
    start = whole.index(field) + len(field)
    broken = whole[:start] + struct.pack("<i", length) + whole[start + 4 :]
    for make in (select(exclude=["inner.x", "list.x"]), select(include=["a", "inner.y"]), mask({"a": "hash"})):
        accelerated, pure = both(make, [whole, broken, whole])
        assert accelerated == pure


@PROPERTY
@given(
    method=st.sampled_from(get_args(Method)),
    kind_and_value=VALUES
    | st.tuples(st.just(0x01), st.floats().map(lambda number: struct.pack("<d", number)))
    | st.tuples(st.just(0x01), st.integers(-(10**40), 10**40).map(lambda number: struct.pack("<d", number)))
    | st.tuples(st.just(0x02), st.text(max_size=12).map(str.encode).map(bson_string))
    | st.tuples(st.just(0x09), st.integers(-(2**63), 2**63 - 1).map(lambda date: struct.pack("<q", date)))
    | st.tuples(st.just(0x09), st.integers(-(10**13), 10**13).map(lambda date: struct.pack("<q", date))),
)
@example(method="hash", kind_and_value=(0x01, struct.pack("<d", -0.0)))
@example(method="date_to_year", kind_and_value=(0x09, struct.pack("<q", -(2**63))))
def test_every_value_is_masked_alike(method, kind_and_value):
    event = named([("fullDocument", (0x03, named([("a", kind_and_value)])))])
    accelerated, pure = both(mask({"a": method}, length=5), [event])
    assert accelerated == pure


@pytest.mark.parametrize("depth", [100, 249, 250, 251, 400])
def test_nesting_that_is_too_deep_is_left_to_the_pure_path(depth):
    value = (0x02, bson_string(b"x"))
    for _ in range(depth):
        value = (0x04, listed([value]))
    event = named([("fullDocument", (0x03, named([("a", value)])))])
    for make in (mask({"a": "hash"}), select(exclude=["a.b"])):
        accelerated, pure = both(make, [event])
        assert accelerated == pure


def test_paths_with_more_states_than_the_accelerator_takes_are_left_to_the_pure_path():
    path = ".".join(["a", *["*"] * 11, "b", *["*"] * 11])
    transform = SelectTransform(exclude=[path])
    event = encode(event_document(1, fullDocument={"a": 1}))
    assert transform._compiled is None
    assert outcome(transform, [event])[0] == [event]


UPDATE = {
    "updatedFields": {"a": "x", "b.c": 1, "l.0": 1, "l.1.x": 2, "b": {"c": "x", "d": 1}},
    "removedFields": ["a", "z"],
    "truncatedArrays": [{"field": "l", "newSize": 1}],
}
DOCUMENT = {"_id": 1, "a": "text", "b": {"c": "12345678", "d": 1.5}, "l": [{"x": 1}, {"x": 2}], "o": ObjectId()}
USUAL = {
    "insert": event_document(1, fullDocument=DOCUMENT),
    "update": event_document(1, operationType="update", updateDescription=UPDATE, fullDocument=None),
    "expanded": event_document(1, updateDescription={**UPDATE, "disambiguatedPaths": {}}),
    "sharded": event_document(1, documentKey={"_id": 1, "zip": 1, "at": Int64(1)}, fullDocumentBeforeChange=DOCUMENT),
    "drop": {"_id": {"_data": "1"}, "operationType": "drop", "ns": {"db": "shop", "coll": "users"}},
}
MAKES = {
    "include": select(include=["a", "b.c", "zip", "at"]),
    "exclude": select(exclude=["a", "b.*", "l.x"], collections=["shop.*"]),
    "mask": mask({"a": "hash", "b.c": "redact", "l.x": "null", "b.d": "redact", "o": "hash"}),
}


def test_names_of_changed_fields_that_have_several_readings_are_the_same():
    updated = {"a.x.y.c": 1, "a.x.c": 2, "a.x.y": 3, "a.0.x.c": 4}
    event = encode(event_document(1, updateDescription={"updatedFields": updated}))
    for make in (select(exclude=["a.*.c"]), select(include=["a.*.c"]), mask({"a.*.c": "null"})):
        accelerated, pure = both(make, [event])
        assert accelerated == pure


def test_each_event_is_of_its_own_collection():
    names = ["users", "carts", "users"]
    events = [encode(event_document(1, collection=name, fullDocument={"a": 1})) for name in names]
    accelerated, pure = both(select(exclude=["a"], collections=["shop.users"]), events)
    assert accelerated == pure
    assert [made == event for made, event in zip(accelerated[0], events, strict=True)] == [False, True, False]


@pytest.mark.parametrize("event", USUAL)
@pytest.mark.parametrize("name", MAKES)
def test_usual_events_are_not_left_to_the_pure_path(name, event):
    events = [encode(USUAL[event])] * 3
    assert grown(lambda: outcome(MAKES[name](), events)) == {}
    accelerated, pure = both(MAKES[name], events)
    assert accelerated == pure


def test_recorded_events_of_a_real_server_are_the_same(recordings):
    for path in sorted(recordings.glob("*.bson")):
        for make in MAKES.values():
            accelerated, pure = both(make, recorded_events(path))
            assert accelerated == pure, path


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"fullDocument": {"a": {"x": 1}}}, "mask"),
        ({"fullDocument": {"a": Code("x", {})}}, "type"),
        ({"updateDescription": {"disambiguatedPaths": {"a.0": ["a", 0]}}}, "delta"),
        ({"updateDescription": {"updatedFields": 1}}, "delta"),
        ({"fullDocument": "text"}, "event"),
    ],
)
def test_events_left_to_the_pure_path_are_counted_by_reason(fields, reason):
    transform = mask({"a": "hash"})()
    assert grown(lambda: outcome(transform, [encode(event_document(1, **fields))])).get(reason) == 1


def test_a_batch_in_which_nothing_changes_is_the_same_object():
    batch = unchecked([encode(USUAL["drop"])], [encode(event_document(1))])
    assert SelectTransform(exclude=["nothing"]).transform(batch) is batch


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([(("shred", 0, b""), ([], None), ([], None))], "unknown rule"),
        ([(None, ([(b"a", 1)], None), ([], None))], "does not exist"),
        ([], "does not exist"),
    ],
)
def test_rules_that_cannot_be_are_refused(states, message):
    with pytest.raises(ValueError, match=message):
        rewriter(states, True, None)
