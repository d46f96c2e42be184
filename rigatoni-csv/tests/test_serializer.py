"""What the serializer promises in its options and its README."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import Int64, Timestamp, encode
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st
from rigatoni_bson.columns import COLUMNS
from rigatoni_bson.testing.examples import EXAMPLES
from rigatoni_bson.testing.reading import bson_document
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_csv.plugin import rigatoni_serializers
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import batch_of, event_document

MODES = ("relaxed", "canonical", "plain")


def rows_of(events, **options):
    content = CsvSerializer(**options).serialize(batch_of(events)).decode()
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True, delimiter=options.get("delimiter", ","))
    return list(reader)


@pytest.mark.parametrize("mode", MODES)
def test_C6_documents_are_the_json_serializers(mode):
    """So what rigatoni-json says of every type holds within cells, too."""
    document = bson_document((name.encode(), kind, value) for name, (kind, value) in EXAMPLES.items())
    event = encode(event_document(1, fullDocument=RawBSONDocument(encode({"v": RawBSONDocument(document)}))))
    events = [event_document(0), event, event_document(2), event_document(3)]  # the kit decodes the ends
    line = json.loads(JsonSerializer(mode=mode).serialize(batch_of(events)).splitlines()[1])
    row = rows_of(events, mode=mode)[1]
    assert json.loads(row["full_document"]) == line["fullDocument"]
    assert line["fullDocument"]["v"].keys() == EXAMPLES.keys()
    assert json.loads(row["document_key"]) == line["documentKey"]


@pytest.mark.parametrize(
    ("milliseconds", "cell"),
    [
        (1_714_564_805_123, "2024-05-01T12:00:05.123Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00Z"),
        (8_640_000_000_000_000, ""),
        (-62_198_755_200_000, ""),
    ],
)
def test_C6_a_wall_time_of_any_year_is_written(milliseconds, cell):
    (row,) = rows_of([encode(event_document(0, wallTime=DatetimeMS(milliseconds)))], mode="canonical")
    assert row["wall_time"] == cell
    rest = {"wallTime": {"$date": {"$numberLong": str(milliseconds)}}}
    assert row["unknown_fields"] == ("" if cell else json.dumps(rest, separators=(",", ":")))


def test_C8_five_thousand_events_of_one_second_keep_order_and_increment():
    events = [event_document(number, clusterTime=Timestamp(1_700_000_000, number + 1)) for number in range(5000)]
    rows = rows_of(events)
    assert {row["cluster_time"] for row in rows} == {"2023-11-14T22:13:20Z"}
    assert [int(row["cluster_time_increment"]) for row in rows] == list(range(1, 5001))
    assert {row["ordinal"] for row in rows} == {"0"}


def test_events_of_a_transaction_keep_their_ordinals_whatever_is_taken_out():
    events = [event_document(number, clusterTime=Timestamp(1_700_000_000, 1)) for number in range(1500)]
    batch = batch_of(events).without({0, 3})[1:]
    rows = csv.DictReader(io.StringIO(CsvSerializer().serialize(batch).decode(), newline=""))
    assert [int(row["ordinal"]) for row in rows] == [2, *range(4, 1500)]


def test_C9_unknown_operations_and_fields_are_kept():
    (row,) = rows_of([event_document(0, operationType="teleport", newer={"deep": 1}, wallTime="not a date")])
    assert row["operation"] == "teleport"
    assert json.loads(row["unknown_fields"]) == {"newer": {"deep": 1}, "wallTime": "not a date"}


def test_text_is_in_quotes_and_nothing_else_is():
    event = event_document(0, txnNumber=None)
    content = CsvSerializer(header=False, null="-").serialize(batch_of([event])).decode()
    assert content.endswith(
        '","insert","shop","orders",2023-11-14T22:13:20Z,1,-,"{""_id"":0}",'
        '"{""_id"":0,""value"":""value 0""}",-,-,-,-,"{""txnNumber"":null}",0\r\n'
    )


def test_the_header_is_the_vocabulary_and_can_be_left_out():
    with_header = CsvSerializer().serialize(batch_of([event_document(0)]))
    without = CsvSerializer(header=False).serialize(batch_of([event_document(0)]))
    header, rest = with_header.split(b"\r\n", 1)
    assert header.decode().split(",") == [column.name for column in COLUMNS]
    assert rest == without
    assert CsvSerializer().serialize(batch_of([])) == header + b"\r\n"
    assert CsvSerializer(header=False).serialize(batch_of([])) == b""


@given(name=st.sampled_from(["=1+1", "+1", "-1", "@a", "\tx", "\rx", "\nx", "'=x", "'", "orders", "", "1=1"]))
def test_spreadsheet_safe_takes_formulas_their_power_and_can_be_undone(name):
    event = event_document(0, ns={"db": "shop", "coll": name})
    (row,) = rows_of([event], spreadsheet_safe=True)
    found = row["collection"]
    assert not found.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0"))
    assert found.removeprefix("'") == name
    assert (found == name) == (name in ("orders", "", "1=1"))
    (row,) = rows_of([event])
    assert row["collection"] == name


def test_spreadsheet_safe_leaves_numbers_alone():
    (row,) = rows_of([event_document(0, txnNumber=Int64(-5))], spreadsheet_safe=True)
    assert row["txn_number"] == "-5"


@pytest.mark.parametrize("null", ["0", 'a"', "a,", "\n", "\r", "-1"])
def test_refuses_a_null_that_could_be_a_value(null):
    with pytest.raises(ValueError, match="digits, quotes, line ends and the delimiter are not allowed"):
        CsvSerializer(null=null)


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="mode is 'strict'; it must be one of relaxed, canonical, plain"):
        CsvSerializer(mode="strict")


def test_names_all_malformed_events_at_once():
    events = [encode(event_document(number, fullDocument={"flag": True})) for number in range(100)]
    events[3] = events[3].replace(b"\x08flag\0\1", b"\x08flag\0\2")
    events[70] = events[70][:-1] + b"\1"
    with pytest.raises(RejectedEventsError) as caught:
        CsvSerializer().serialize(batch_of(events))
    assert caught.value.events.keys() == {3, 70}
    assert caught.value.events[3].offset == events[3].index(b"\x08flag\0")
    kept = batch_of(events).without(caught.value.events)
    assert CsvSerializer().serialize(kept).count(b"\r\n") == 99


def test_the_same_events_give_the_same_bytes_and_a_part_its_part():
    events = [event_document(number) for number in range(1000)]
    serializer = CsvSerializer(header=False)
    batch = batch_of(events)
    rows = serializer.serialize(batch).splitlines(keepends=True)
    assert serializer.serialize(batch[700:900]) == b"".join(rows[700:900])
    assert CsvSerializer(header=False).serialize(batch_of(events)) == b"".join(rows)


def test_says_what_it_writes():
    serializer = CsvSerializer()
    assert isinstance(serializer, Serializer)
    assert (serializer.media_type, serializer.suffix) == ("text/csv", ".csv")
    assert (serializer.content_encoding, serializer.compressed) == (None, False)


def test_the_hook_yields_it():
    (component,) = rigatoni_serializers()
    assert component.name == "csv"
    assert component.load() is CsvSerializer


def test_threads_share_a_serializer():
    """Several workers write at once, each with documents of its own kind, and shapes are learned meanwhile."""
    batches = [batch_of([event_document(n, **{f"field {kind}": n}) for n in range(60)]) for kind in range(12)]
    serializer = CsvSerializer()
    expected = [CsvSerializer().serialize(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(serializer.serialize, batches * 3)) == expected * 3
