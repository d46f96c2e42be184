"""Whichever way an event takes, shapes, PyMongo with orjson, or the walker: the line is the same."""

import struct
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from bson import Decimal128, Int64, ObjectId, decode, encode
from bson.binary import Binary
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_bson.decoded import Decoded
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.json_template import NoShapeError, Shape
from rigatoni_bson.modes import MODES
from rigatoni_bson.template_cache import Shapes
from rigatoni_bson.testing.reading import bson_document, bson_string
from rigatoni_bson.testing.strategies import DOCUMENTS, NAMES, NOT_UTF8, UTF8
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import batch_of, event_document, recorded_events

EVERY = {name: mode() for name, mode in MODES.items()}
WALKERS = {name: Walker(mode) for name, mode in EVERY.items()}
DECODED = {name: Decoded(EVERY[name]) for name in ("relaxed", "plain")}


def insert(number: int) -> bytes:
    """An ordinary event with ordinary types; all of them have one shape."""
    document = {
        "_id": ObjectId(number.to_bytes(12, "big")),
        "name": f"näme {number}" + '"\\\n' * (number % 7 == 0),
        "count": Int64(2**53 + number),
        "small": -number,
        "price": number / 7,
        "exact": Decimal128(f"{number}.10"),
        "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(milliseconds=250 * number),
        "flag": number % 2 == 0,
        "nothing": None,
        "uuid": Binary(number.to_bytes(16, "big"), 4),
        "tags": ["a", "", f"tag {number}"],
        "address": {"city": "x" * (number % 40), "geo": {"lat": 1.5, "lon": -0.0}, "empty": {}, "none": []},
    }
    return encode(event_document(number, fullDocument=document))


@pytest.mark.parametrize("mode", EVERY)
def test_ordinary_events_are_of_one_shape(mode):
    raws = [insert(number) for number in range(300)]
    lines = Shapes(EVERY[mode], WALKERS[mode]).lines(raws)
    assert lines == [WALKERS[mode].line(raw) for raw in raws]


@pytest.mark.parametrize("mode", DECODED)
def test_ordinary_events_are_faithful_by_way_of_pymongo(mode):
    for number in range(50):
        assert DECODED[mode].line(insert(number)) == WALKERS[mode].line(insert(number))


@pytest.mark.parametrize("mode", DECODED)
@given(raw=DOCUMENTS)
def test_what_pymongo_may_write_is_what_the_walker_writes(mode, raw):
    line = DECODED[mode].line(raw)
    assert line is None or line == WALKERS[mode].line(raw)


_FLOATS = st.floats().map(lambda number: struct.pack("<d", number))
_LONGS = st.integers(-(2**63), 2**63 - 1).map(lambda number: struct.pack("<q", number))
_OF_TYPE = {
    0x01: _FLOATS | st.binary(min_size=8, max_size=8),
    0x02: (UTF8 | st.sampled_from([b"a\0b", b'"']) | NOT_UTF8).map(bson_string),
    0x05: st.binary(min_size=3, max_size=3).map(lambda data: b"\x03\0\0\0\x80" + data),
    0x07: st.binary(min_size=12, max_size=12),
    0x08: st.sampled_from([b"\0", b"\1"]),
    0x09: _LONGS | st.integers(0, 2**42).map(lambda number: struct.pack("<q", number)),
    0x0A: st.just(b""),
    0x10: st.binary(min_size=4, max_size=4),
    0x11: st.binary(min_size=8, max_size=8),
    0x12: _LONGS,
    0x13: st.binary(min_size=16, max_size=16),
}


def _bodies(names: list[tuple[bytes, int]]) -> st.SearchStrategy[bytes]:
    """Documents with these names and types."""
    return st.tuples(*(_OF_TYPE[kind] for _, kind in names)).map(
        lambda values: bson_document((name, kind, value) for (name, kind), value in zip(names, values, strict=True))
    )


@st.composite
def alike(draw: st.DrawFn) -> list[bytes]:
    """Documents of the same names and types, with a document inside, and any values."""
    fields = st.lists(st.tuples(NAMES, st.sampled_from(sorted(_OF_TYPE))), max_size=5)
    outer, inner, kind = draw(fields), draw(fields), draw(st.sampled_from([0x03, 0x04]))
    if kind == 0x04:
        inner = [(b"%d" % index, kind) for index, (_, kind) in enumerate(inner)]
    count = draw(st.integers(1, 6))
    insides = draw(st.lists(_bodies(inner), min_size=count, max_size=count))
    outsides = draw(st.lists(_bodies(outer), min_size=count, max_size=count))
    return [
        bson_document([(b"inside", kind, inside), (b"outside", 0x03, outside)])
        for inside, outside in zip(insides, outsides, strict=True)
    ]


def written(shape: Shape, raws: list[bytes]) -> dict[int, bytes]:
    """The lines of those documents that are of this shape, by index."""
    rows = {index: row for index, raw in enumerate(raws) if (row := shape.match(raw))}
    lines = shape.lines(list(rows.values())) if rows else []
    return {index: line for index, line in zip(rows, lines, strict=True) if line is not None}


@pytest.mark.parametrize("mode", EVERY)
@given(raws=alike())
def test_a_shape_writes_what_the_walker_writes(mode, raws):
    try:
        shape = Shape(raws[0], EVERY[mode])
    except NoShapeError:
        return
    for index, line in written(shape, raws).items():
        assert line == WALKERS[mode].line(raws[index])


@pytest.mark.parametrize("mode", EVERY)
@given(raws=alike(), data=st.data())
def test_damaged_documents_are_not_of_the_shape(mode, raws, data):
    """Any byte of the document may be wrong, a length above all: a shape takes only what the walker takes."""
    try:
        shape = Shape(raws[0], EVERY[mode])
    except NoShapeError:
        return
    damaged = []
    for raw in raws:
        changed = bytearray(raw)
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(raw) - 1))
            changed[place] = data.draw(st.sampled_from([changed[place] ^ 1, (changed[place] + 1) % 256, 0, 0xFF]))
        damaged.append(bytes(changed))
    for index, line in written(shape, damaged).items():
        assert line == WALKERS[mode].line(damaged[index])


def test_a_shape_checks_every_length():
    """A string's length one too long and its neighbour's one too short: the sums still agree, the shape does not."""
    good = bson_document([(b"a", 0x02, bson_string(b"xx")), (b"b", 0x02, bson_string(b"yy"))])
    shape = Shape(good, EVERY["relaxed"])
    bad = good.replace(b"\x03\0\0\0xx", b"\x04\0\0\0xx").replace(b"\x03\0\0\0yy", b"\x02\0\0\0yy")
    inner = bson_document([(b"d", 0x03, good), (b"e", 0x03, good)])
    outer = Shape(inner, EVERY["relaxed"])
    size = struct.pack("<i", len(good))
    bad_inner = inner.replace(b"d\0" + size, b"d\0" + struct.pack("<i", len(good) + 1))
    assert bad != good
    assert bad_inner != inner
    assert written(shape, [good, bad, good]).keys() == {0, 2}
    assert written(outer, [bad_inner, inner]).keys() == {1}


@pytest.mark.parametrize("mode", EVERY)
@settings(max_examples=25)
@given(odd=st.lists(DOCUMENTS, max_size=6), data=st.data())
def test_a_batch_of_everything(mode, odd, data):
    """Many alike, some not, some damaged: each line is the walker's, each damaged event is named, in one go."""
    odd_events = [encode(event_document(0))[:-1] + raw[4:] for raw in odd]
    odd_events = [struct.pack("<i", len(raw)) + raw[4:] for raw in odd_events]
    events = [insert(number) for number in range(40)]
    for raw in odd_events:
        events.insert(data.draw(st.integers(1, len(events) - 2)), raw)  # the kit decodes the ends
    lines = JsonSerializer(mode=mode).serialize(batch_of(events)).split(b"\n")
    assert lines.pop() == b""
    assert lines == [WALKERS[mode].line(raw) for raw in events]


@pytest.mark.parametrize("mode", EVERY)
def test_recorded_events(mode, recordings):
    serializer = JsonSerializer(mode=mode)
    for path in sorted(recordings.glob("*.bson")):
        events = recorded_events(path)
        lines = serializer.serialize(batch_of(events)).splitlines()
        assert lines == [WALKERS[mode].line(raw) for raw in events]


@pytest.mark.parametrize("mode", EVERY)
def test_threads_share_a_serializer(mode):
    """Several workers write at once, each with shapes of its own, and the shapes are learned meanwhile."""
    serializer = JsonSerializer(mode=mode)
    batches = [
        [encode(event_document(number, **{f"field {kind}": number, "text": "x" * number})) for number in range(60)]
        for kind in range(12)
    ]
    expected = [b"".join(WALKERS[mode].line(raw) + b"\n" for raw in batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(serializer.serialize, map(batch_of, batches * 3)))
    assert found == expected * 3


def test_shapes_come_and_go():
    """More shapes than are kept, one after another: all lines are right, and each shape is learned when it is there."""
    shapes = Shapes(EVERY["relaxed"], WALKERS["relaxed"])
    for kind in range(30):
        raws = [encode({"_id": number, f"field {kind}": "x" * number}) for number in range(40)]
        assert shapes.lines(raws) == [WALKERS["relaxed"].line(raw) for raw in raws]


@pytest.mark.parametrize("mode", EVERY)
def test_names_all_malformed_events_at_once(mode):
    events = [insert(number) for number in range(1200)]
    events[3] = events[3][:-20] + b"\xfe" * 20
    events[700] = events[700].replace(b"\x02name\0", b"\x42name\0")
    events[1100] = events[1100].replace(b"\x08flag\0\1", b"\x08flag\0\2")
    with pytest.raises(RejectedEventsError) as caught:
        JsonSerializer(mode=mode).serialize(batch_of(events))
    errors = caught.value.events
    assert errors.keys() == {3, 700, 1100}
    assert all(isinstance(error, MalformedEventError) for error in errors.values())
    assert errors[700].offset == events[700].index(b"\x42name\0")
    assert str(errors[700]) == f"malformed BSON at byte {errors[700].offset} of the event: unknown BSON type 0x42"
    assert "event 3 of the batch was rejected and 2 more" in str(caught.value)
    assert caught.value.remedy
    kept = batch_of(events).without(errors)
    assert len(JsonSerializer(mode=mode).serialize(kept).splitlines()) == 1197


@pytest.mark.parametrize("mode", EVERY)
@given(raw=DOCUMENTS, data=st.data())
def test_whatever_the_bytes_it_is_a_line_or_malformed(mode, raw, data):
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(MalformedEventError):
        WALKERS[mode].line(raw[:cut])
    changed = bytearray(raw)
    changed[cut] = data.draw(st.integers(0, 255))
    for damaged in (bytes(changed), raw[cut:], raw[:cut] + raw):
        assert outcome(WALKERS[mode], damaged)


def outcome(walker: Walker, raw: bytes) -> bool:
    """Whether it is one JSON object, or malformed at a byte that exists; any other exception is a defect."""
    try:
        return isinstance(orjson.loads(walker.line(raw)), dict)
    except MalformedEventError as error:
        return 0 <= error.offset <= len(raw)


def test_too_deep_is_said_and_not_a_crash():
    document = bson_document([])
    for _ in range(5000):
        document = bson_document([(b"", 0x03, document)])
    with pytest.raises(MalformedEventError, match="more than 250 levels"):
        WALKERS["relaxed"].line(document)


@pytest.mark.parametrize("mode", DECODED)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_orjson_never_makes_null_of_a_number(mode, value):
    raw = encode({"a": {"b": [1.0, value]}, "c": None})
    assert DECODED[mode].line(raw) is None
    assert b"null]" not in JsonSerializer(mode=mode).serialize(batch_of([encode(event_document(0, x=value))] * 30))


@pytest.mark.parametrize("mode", EVERY)
def test_long_field_names_and_large_documents(mode):
    """Beyond what is remembered or learned from."""
    raws = [encode({"n" * 200: number, f"{number}" * 300: "x" * 70_000, "many": ["y"] * 900}) for number in range(20)]
    raws += [encode({"many": ["y"] * 900, "number": number}) for number in range(20)]
    lines = JsonSerializer(mode=mode).serialize(batch_of([encode(event_document(0, d=decode(raw))) for raw in raws]))
    assert Shapes(EVERY[mode], WALKERS[mode]).lines(raws) == [None] * 40
    for line, raw in zip(lines.splitlines(), raws, strict=True):
        assert WALKERS[mode].line(raw) in line
