"""Events as columns: nothing of an event is lost, and damage is named."""

from pathlib import Path

import pytest
from bson import decode, encode
from hypothesis import example, given
from hypothesis import strategies as st
from rigatoni_bson.columns import COLUMNS, NULL, EventColumns
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.modes import Canonical
from rigatoni_bson.testing.reading import bson_document, bson_string
from rigatoni_bson.testing.rows import elements_of_event, elements_of_row
from rigatoni_bson.testing.strategies import EVENTS
from rigatoni_bson.texts import ColumnTexts
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_testing.batches import event_document, recorded_events

RECORDINGS = Path(__file__).parents[2] / "tests" / "recordings" / "mongod-5.0.7"
DOCUMENTS = ("resume_token", "document_key", "full_document", "full_document_before_change")
DOCUMENTS += ("update_description", "lsid", "unknown_fields")
CANONICAL = ColumnTexts("canonical")


def rows_of(columns):
    """Each event as a row, its documents as canonical texts."""
    values = {**columns.values, **{name: CANONICAL.write(columns, name) for name in DOCUMENTS}}
    columns.check()
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def namespaces(*documents):
    """An event that says its namespace several times; None is one that is a text."""
    values = [(b"ns", 0x02, bson_string(b"")) if names is None else (b"ns", 0x03, encode(names)) for names in documents]
    return bson_document(values)


def columns_of(raws):
    return EventColumns.of_raw(raws, range(7, 7 + len(raws)))


@given(raws=st.lists(EVENTS, max_size=5))
@example(raws=[namespaces({"db": "a"}, {"db": "a"}), namespaces({"db": "a"}, {}, {"db": "b"})])
@example(raws=[namespaces({"db": "a"}, {"db": "a", "x": 1}), namespaces({"db": "a", "x": 1}, {"db": "a"})])
@example(
    raws=[namespaces({"db": "a"}, None), namespaces(None, {"coll": "b", "db": "a"}, {"db": 1}), namespaces({"x": 1})]
)
def test_Z11_C6_the_columns_of_an_event_hold_all_of_it(raws):
    rows = rows_of(columns_of(raws))
    assert list(map(elements_of_row, rows)) == list(map(elements_of_event, raws))


def test_every_recorded_event_comes_back():
    count = 0
    for path in sorted(RECORDINGS.glob("*.bson")):
        events = recorded_events(path)
        rows = rows_of(columns_of(events))
        assert list(map(elements_of_row, rows)) == list(map(elements_of_event, events))
        count += len(rows)
    assert count > 3000


@given(raw=EVENTS, data=st.data())
def test_whatever_the_bytes_they_are_columns_or_the_walker_refuses_them_too(raw, data):
    place = data.draw(st.integers(0, len(raw) - 1))
    changed = bytearray(raw)
    changed[place] = data.draw(st.sampled_from([0, 0xFF, changed[place] ^ 1]))
    for damaged in (bytes(changed), raw[:place], raw + b"\0"):
        columns = columns_of([damaged])
        for name in DOCUMENTS:
            CANONICAL.write(columns, name)
        if columns.errors:
            with pytest.raises(MalformedEventError):
                Walker(Canonical()).line(damaged)
        else:
            assert Walker(Canonical()).line(damaged)


def test_an_event_of_a_transaction_column_by_column():
    (path,) = RECORDINGS.glob("transaction.bson")
    raw = next(raw for raw in recorded_events(path) if b"txnNumber" in raw)
    event = decode(raw)
    values = {name: column[0] for name, column in columns_of([raw]).values.items()}
    assert list(values) == [column.name for column in COLUMNS]
    assert values["ordinal"] == 7
    assert values["operation"] == event["operationType"]
    assert (values["database"], values["collection"]) == (event["ns"]["db"], event["ns"]["coll"])
    assert (values["cluster_time"], values["cluster_time_increment"]) == (
        event["clusterTime"].time,
        event["clusterTime"].inc,
    )
    assert decode(values["full_document"]) == event["fullDocument"]
    assert decode(values["document_key"]) == event["documentKey"]
    assert decode(values["lsid"]) == event["lsid"]
    assert values["txn_number"] == event["txnNumber"]
    assert decode(values["resume_token"]) == event["_id"]
    assert values["wall_time"] is values["unknown_fields"] is values["update_description"] is None


def test_null_is_not_absent():
    events = [event_document(0, fullDocument=None), event_document(1)]
    del events[1]["fullDocument"]
    columns = columns_of(list(map(encode, events)))
    assert columns.values["full_document"] == (NULL, None)
    assert CANONICAL.write(columns, "full_document") == [b"null", None]


def test_what_no_column_can_say_is_kept_in_order():
    event = event_document(0, to={"db": "a"}, operationType=7, wallTime=None)
    event["ns"]["more"] = 1
    values = {name: column[0] for name, column in columns_of([encode(event)]).values.items()}
    assert decode(values["unknown_fields"]) == {
        "operationType": 7,
        "to": {"db": "a"},
        "wallTime": None,
        "ns": {"db": "shop", "coll": "orders", "more": 1},
    }
    assert values["operation"] is values["wall_time"] is None
    assert (values["database"], values["collection"]) == ("shop", "orders")


@pytest.mark.parametrize("text", [b"\xff", b"a\0b"])
def test_an_operation_that_is_no_text_of_a_table_is_kept(text):
    raw = bson_document([(b"operationType", 0x02, bson_string(text))])
    values = columns_of([raw]).values
    assert values["operation"] == [None]
    assert values["unknown_fields"] == [raw]


@pytest.mark.parametrize(
    ("milliseconds", "kept"),
    [
        (-62_135_596_800_001, False),
        (-62_135_596_800_000, True),
        (253_402_300_799_999, True),
        (253_402_300_800_000, False),
        (-(2**63), False),
    ],
)
def test_C6_a_wall_time_that_readers_stumble_over_is_kept_elsewhere(milliseconds, kept):
    raw = bson_document([(b"wallTime", 0x09, milliseconds.to_bytes(8, "little", signed=True))])
    values = columns_of([raw]).values
    assert values["wall_time"] == [milliseconds if kept else None]
    assert values["unknown_fields"] == [None if kept else raw]


def test_malformed_events_are_named_all_at_once_each_with_its_byte():
    events = [encode(event_document(number, fullDocument={"flag": True})) for number in range(9)]
    events[2] = events[2].replace(b"\x08flag\0\1", b"\x08flag\0\2")
    events[5] = events[5][:-1] + b"\1"
    columns = columns_of(events)
    for name in DOCUMENTS:
        CANONICAL.write(columns, name)
    with pytest.raises(RejectedEventsError) as caught:
        columns.check()
    assert caught.value.events.keys() == {2, 5}
    assert caught.value.events[2].offset == events[2].index(b"\x08flag")
    assert caught.value.remedy
    assert {column[5] for name, column in columns.values.items() if name != "ordinal"} == {None}


def test_no_event_has_every_column():
    columns = columns_of([])
    assert [len(column) for column in columns.values.values()] == [0] * len(COLUMNS)
    columns.check()
