"""The layout: the folders of events, and its description, which later versions compare."""

import json
from typing import Annotated, Any

import attrs
import pytest
from bson import ObjectId
from bson.timestamp import Timestamp as BsonTimestamp
from hypothesis import given
from hypothesis import strategies as st
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_core.api.components import described
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret
from rigatoni_json.serializer import JsonSerializer
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.path_template import PathTemplate, Place
from rigatoni_objects.spelling import HIVE_NULL, LONGEST_VALUE, Spelling
from rigatoni_testing.batches import batch_of, event_document


@attrs.define(kw_only=True)
class Inner(Serializer):
    """A serializer with options of several types."""

    accepts = frozenset({"*"})
    media_type = "text/plain"
    suffix = ".txt"
    mode: Annotated[str, "How"] = "relaxed"
    columns: Annotated[tuple[str, ...], "Which"] = ("a", "b")
    key: Annotated[Secret | None, "A secret"] = None

    def serialize(self, events):
        return b""


@attrs.define(kw_only=True)
class Outer(Inner):
    """A serializer that wraps another one."""

    inner: Annotated[Serializer, "The inner one"] = attrs.field(factory=Inner)
    level: Annotated[int, "How much"] = 3


def recorded(serializer):
    return FileLayout(serializer).described()


def test_every_option_is_recorded_at_its_default_too_and_no_secret():
    record = described(Outer(key=Secret("sentinel")))
    assert record["level"] == 3
    assert record["inner"] == {"type": f"{__name__.partition('.')[0]}.Inner", "mode": "relaxed", "columns": ["a", "b"]}
    assert "sentinel" not in repr(record)
    assert "key" not in record


def test_a_changed_default_of_a_later_version_is_noticed():
    then = recorded(Outer())
    assert FileLayout(Outer()).matches(then)
    then["serializer"]["level"] = 1  # the default of the version that wrote the record
    assert not FileLayout(Outer()).matches(then)
    then = recorded(Outer())
    then["serializer"]["inner"]["mode"] = "plain"
    assert not FileLayout(Outer()).matches(then)


def test_a_record_that_leaves_defaults_out_still_means_the_same():
    kind = __name__.partition(".")[0]
    old: dict[str, Any] = {"serializer": {"type": f"{kind}.Outer"}, "partition_by": []}
    assert FileLayout(Outer()).matches(old)
    assert not FileLayout(Outer(level=4)).matches(old)
    assert not FileLayout(Outer(inner=Inner(mode="plain"))).matches(old)
    old["serializer"]["inner"] = {"type": f"{kind}.Inner", "mode": "plain"}
    assert FileLayout(Outer(inner=Inner(mode="plain"))).matches(old)


def test_a_removed_option_or_another_partition_is_another_layout():
    then = recorded(Outer())
    assert not FileLayout(Outer(), ("day",)).matches(then)
    assert not FileLayout(Inner()).matches(then)
    then["serializer"]["gone"] = 1
    assert not FileLayout(Outer()).matches(then)


def folders_of(layout, documents, stream="shop.*"):
    """Map each folder to the indices of its events."""
    batch = batch_of(documents, stream=Stream("p", stream))
    return {part.path.rpartition("/")[0]: list(part.indices) for part in layout.parts(batch)}


def test_a_field_decides_and_a_delete_goes_where_its_key_says_or_to_the_default():
    documents = [
        event_document(0, fullDocument={"_id": 0, "customer": {"country": "DE"}}),
        event_document(1, fullDocument={"_id": 1, "customer": {"country": True}}),
        event_document(2, fullDocument={"_id": 2, "customer": {"country": {"deep": 1}}}),
        event_document(3, operationType="delete", fullDocument=None, documentKey={"customer.country": "DE", "_id": 0}),
        event_document(4, operationType="delete", fullDocument=None),
        event_document(5, fullDocument=None, fullDocumentBeforeChange={"customer": {"country": "a/../b"}}),
    ]
    layout = FileLayout(Inner(), ("field:customer.country",))
    assert folders_of(layout, documents, "shop.orders") == {
        "country=DE": [0, 3],
        "country=true": [1],
        f"country={HIVE_NULL}": [2, 4],
        "country=a%2F..%2Fb": [5],
    }
    identity = ObjectId()
    by_id = FileLayout(Inner(), ("field:_id",))
    deleted = event_document(0, fullDocument=None, documentKey={"_id": identity})
    assert folders_of(by_id, [deleted]) == {f"%5Fid={identity}": [0]}


def test_a_template_names_its_own_folders():
    layout = FileLayout(Inner(), folder_template="raw/{database}/{collection}/{year}/{month}/{day}")
    documents = [event_document(n, ns={"db": "shop", "coll": "ab"[n % 2]}) for n in range(3)]
    assert folders_of(layout, documents) == {"raw/shop/a/2023/11/14": [0, 2], "raw/shop/b/2023/11/14": [1]}


def test_the_names_of_each_event_make_folders_even_if_the_stream_has_one_collection():
    documents = [event_document(n, ns={"db": "shop", "coll": "ab"[n % 2]}) for n in range(3)]
    by_stream = FileLayout(Inner(), folder_template="{database}/{collection}")
    assert folders_of(by_stream, documents, stream="shop.orders") == {"shop/orders": [0, 1, 2]}
    by_event = FileLayout(Inner(), folder_template="{event_database}/{event_collection}")
    assert folders_of(by_event, documents, stream="shop.orders") == {"shop/a": [0, 2], "shop/b": [1]}
    assert by_event.is_split(Stream("p", "shop.orders"))


def test_a_batch_ends_where_the_finest_unit_of_the_template_ends():
    layout = FileLayout(Inner(), folder_template="{hour}/{date}")
    times = [0, 3599, 3600, 86400]
    batch = batch_of(event_document(n, clusterTime=BsonTimestamp(t + 1_700_006_400, 1)) for n, t in enumerate(times))
    assert layout.split(batch) == 2
    assert layout.split(batch[2:]) == 1


def test_the_only_path_is_the_parts_path_where_there_can_be_but_one():
    batch = batch_of([event_document(0), event_document(1)])
    for layout in (
        FileLayout(Inner()),
        FileLayout(Inner(), ("namespace", "hour")),
        FileLayout(Inner(), folder_template="x/{date}"),
    ):
        (part,) = layout.parts(batch)
        assert layout.only_path(batch.first, batch.stream) == part.path
        assert len(part.path) <= layout.longest_path
    assert FileLayout(Inner(), ("namespace",)).only_path(batch.first, Stream("p", "shop.*")) is None
    assert FileLayout(Inner(), ("field:x",)).only_path(batch.first, batch.stream) is None


@pytest.mark.parametrize(
    "template",
    [
        *("a//b", "../{date}", "{database}/..", "_rigatoni/{date}", ".hidden", "a b/{date}", "{unknown}", "{field}"),
        *("{month}", "{day}", "{hour}", "{year}/{day}", "{date!r}", "{date:x}", "{", "{}", "{field:a{b}}"),
    ],
)
def test_a_template_that_leaves_its_place_or_mixes_times_is_refused(template):
    with pytest.raises(ValueError, match=r"folder_template"):
        FileLayout(Inner(), folder_template=template)


def test_only_one_of_partitions_and_template_is_taken():
    with pytest.raises(ValueError, match="set one of them"):
        FileLayout(Inner(), ("day",), "{date}")


texts = st.none() | st.text(st.characters(codec="utf-8"), max_size=200)
texts |= st.sampled_from([HIVE_NULL, "_rigatoni", "%5Frigatoni", "..", "", "x" * 120, "ü" * 61, "%" * 40, "a~0123abcd"])
SPELLINGS = [Spelling("hive"), Spelling("hive", folds_case=True), Spelling("percent")]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
@given(one=st.tuples(texts, texts), other=st.tuples(texts, texts))
def test_A11_fields_make_distinct_folders_that_stay_in_place(spelling, one, other):
    if spelling.name == "hive":  # readers of Hive take an empty text for null
        one, other = (tuple(text or None for text in fields) for fields in (one, other))
    for partitions, form in ((("field:a.x", "field:b.y"), ""), ((), "{field:x}/{field:y}")):
        template = PathTemplate.of(partitions, form, spelling)
        folders = [template.folder(Place(None, None, fields)) for fields in (one, other)]
        assert (folders[0] == folders[1]) == (one == other)
        for folder in folders:
            assert folder.isascii() or spelling.name == "hive"
            assert len(folder.encode()) <= template.longest
            levels = folder.removesuffix("/").split("/")
            assert len(levels) == 2
            assert all(len(level.encode()) <= LONGEST_VALUE + 3 for level in levels)
            assert not any(level == "" or level.startswith(".") or level == "_rigatoni" for level in levels)
            assert not set(folder) & set("\0\n\\:*?")


LAYOUTS = [
    *(FileLayout(Inner(), ("namespace",)), FileLayout(Inner(), ("field:country", "hour"))),
    *(FileLayout(Inner(), folder_template=it) for it in ("{database}", "{collection}/{date}", "{event_collection}")),
    FileLayout(Inner(), folder_template="{database}/{field:country}"),
]


@given(
    places=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["DE", "", None, "ü"])), min_size=1, max_size=12),
    rejected=st.sets(st.integers(0, 11)),
    layout=st.sampled_from(LAYOUTS),
    together=st.booleans(),
)
def test_A1_parts_hold_each_event_once_in_order_with_its_own_ordinal(places, rejected, layout, together):
    """Several places may share a folder, and all events one cluster time."""
    documents = [
        event_document(n, ns={"db": "shop", "coll": coll}, fullDocument={"country": country})
        for n, (coll, country) in enumerate(places)
    ]
    for document in documents if together else ():
        document["clusterTime"] = BsonTimestamp(1_700_000_000, 7)
    batch = batch_of(documents, stream=Stream("p", "shop.*"))
    rest = batch.without({index for index in rejected if index < len(documents)})
    parts = layout.parts(rest)
    assert sorted(index for part in parts for index in part.indices) == list(range(len(rest)))
    assert len({part.path for part in parts}) == len(parts)
    for part in parts:
        assert list(part.indices) == sorted(part.indices)
        raws = [bytes(part.events.raw(n)) for n in range(len(part.events))]
        assert raws == [bytes(rest.raw(n)) for n in part.indices]
        assert part.events.orders() == rest.orders().at(part.indices)
        assert part.events.orders().ordinals.tolist() == [rest.indices[n] if together else 0 for n in part.indices]


def test_a_serializer_that_was_recorded_by_its_class_is_the_same_and_no_change():
    layout = FileLayout(GzipSerializer(inner=JsonSerializer()))
    now = layout.described()
    assert now["serializer"]["type"] == "gzip"
    assert now["serializer"]["inner"]["type"] == "json"
    then = json.loads(json.dumps(now))
    then["serializer"]["type"] = "rigatoni_compression.GzipSerializer"
    then["serializer"]["inner"]["type"] = "rigatoni_json.JsonSerializer"
    assert layout.matches(then)
    assert layout.serializer_change(then) == ""
    then["serializer"]["inner"]["type"] = "rigatoni_csv.CsvSerializer"
    assert not layout.matches(then)
    assert "rigatoni_csv.CsvSerializer" in layout.serializer_change(then)
