"""Events of a known shape become what walking them gives, byte for byte; all others are walked."""

import struct

import pytest
from bson import Binary, Regex, encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_bson.testing.strategies import DOCUMENTS
from rigatoni_core.api.options import Secret
from rigatoni_testing.batches import event_document
from rigatoni_testing.strategies import damaged
from rigatoni_transforms.mask import MaskTransform
from rigatoni_transforms.select import SelectTransform

KEY = Secret("a key for tests that is no secret")
TRANSFORMS = {
    "include": SelectTransform(include=["a", "b.c"]),
    "exclude": SelectTransform(exclude=["a", "b.*", "l.x", "m.0"]),
    "mask": MaskTransform(
        fields={"a": "hash", "b.c": "redact", "l.x": "null", "b.d": "partial", "t": "date_to_year"}, key=KEY, key_id="1"
    ),
}


def outcome(call, raw):
    try:
        return call(raw)
    except Exception as error:
        return type(error), str(error)


def same_as_walking(transform, learned, raws):
    """Learn from these events, then compare."""
    closure = transform.closure()
    for raw in learned:
        outcome(closure.event, raw)
    for raw in raws:
        assert outcome(closure.event, raw) == outcome(closure.walked, raw)
    return closure


def event(number=0, **fields):
    full = {"_id": number, "a": "text", "b": {"c": 1, "d": "12345678"}, "l": [{"x": 1, "y": "é"}, {"x": 2, "y": ""}]}
    full["m"] = [1, "two"]
    return encode(event_document(number, fullDocument={**full, "n": None, "z": b"1", **fields}))


def test_events_of_the_shape_in_another_collection_stay():
    transform = SelectTransform(exclude=["a"], collections=["shop.users"])
    raws = [
        encode(event_document(n, collection=name, fullDocument={"a": 1})) for n in (1, 2) for name in ("users", "carts")
    ]
    for first in raws:
        closure = transform._closure
        outcome(closure.event, first)
        assert [closure.event(raw) == raw for raw in raws] == [False, True, False, True]
        assert [closure.walked(raw) == raw for raw in raws] == [False, True, False, True]
    assert transform._closure._shapes._known[0].uses > 8


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_event_of_the_shape_is_rewritten_without_walking_it(name, monkeypatch):
    closure = same_as_walking(TRANSFORMS[name], [event()], [event(number) for number in range(3)])
    wanted = [closure.walked(event(n, a="other" * n)) for n in range(5)]
    monkeypatch.setattr(closure, "walked", lambda raw: pytest.fail("it was walked"))
    assert [closure.event(event(n, a="other" * n)) for n in range(5)] == wanted


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize(
    "fields",
    [
        {"a": 1},
        {"a": "with a\0zero"},
        {"z": b"12"},
        {"z": Binary(b"1", 5)},
        {"z": Regex("a")},
        {"l": [{"x": 1, "y": "é"}]},
        {"b": {"d": "x", "c": 1}},
        {"new": 1},
    ],
)
def test_an_event_of_another_shape_is_walked(name, fields):
    same_as_walking(TRANSFORMS[name], [event()], [event(**fields), event(1, **fields)])
    same_as_walking(TRANSFORMS[name], [event(**fields)], [event(**fields), event(1, **fields), event()])


@pytest.mark.parametrize("name", TRANSFORMS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(raws=st.lists(DOCUMENTS, min_size=1, max_size=3), data=st.data())
def test_random_and_damaged_documents_become_what_walking_gives(name, raws, data):
    events = [event()]
    for raw in raws:  # the document of an event
        whole = event()
        start = whole.index(b"\3fullDocument\0") + 14
        (size,) = struct.unpack_from("<i", whole, start)
        body = whole[4:start] + raw + whole[start + size :]
        events.append(struct.pack("<i", len(body) + 4) + body)
    broken = [data.draw(damaged(*events)) for _ in range(4)]
    for first in (*events, *broken):
        same_as_walking(TRANSFORMS[name], [first], [*events, *broken])


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("length", [-(2**31), -40, -9, -1, 0, 2**31 - 1])
@pytest.mark.parametrize("field", [b"\2name\0", b"\5bytes\0", b"\3inner\0", b"\4list\0", b"\3fullDocument\0"])
def test_a_damaged_length_leads_nowhere(name, length, field):
    """Read as a negative number it led backwards, so that learning never ended and its notes filled the memory."""
    inner = {"x": 1, "y": {"z": 2}}
    whole = event(name="text", bytes=b"1234", inner=inner, list=[1, {"x": 3}])
    start = whole.index(field) + len(field)
    broken = whole[:start] + struct.pack("<i", length) + whole[start + 4 :]
    same_as_walking(TRANSFORMS[name], [broken], [event(), broken])


def test_shapes_that_are_not_used_are_forgotten_and_learning_pauses():
    transform = TRANSFORMS["exclude"]
    closure = transform.closure()
    for number in range(500):
        closure.event(event(**{f"new{number}": 1}))
    shapes = closure._shapes
    assert len(shapes._known) <= 8
    assert shapes._pause > 100
    for _ in range(2 * shapes._pause):
        closure.event(event())
    assert shapes._known[-1].uses > 100
