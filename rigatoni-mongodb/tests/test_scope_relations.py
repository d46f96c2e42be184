"""Which collections several scopes share, and which events a scope includes."""

import pytest
from bson import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_mongodb.decoding import namespaces
from rigatoni_mongodb.scope import Watch
from rigatoni_mongodb.scope_relations import included, matches, shared
from rigatoni_testing.batches import batch_of, event_document

NAMES = [f"{one}{two}{three}" for one in "abX" for two in ("", *"abX") for three in ("", *"abX")]
globs = st.text("ab*", min_size=1, max_size=4)
scopes = st.one_of(
    st.just("*"), st.tuples(st.sampled_from(["shop", "crm"]), globs).map(lambda parts: f"{parts[0]}.{parts[1]}")
)


def relation(scope, *others):
    return {frozenset(names) for names in shared(Watch.parse(scope), [Watch.parse(other) for other in others])}


def sets(*several):
    return {frozenset(names) for names in several}


@pytest.mark.parametrize(
    ("scope", "others", "expected"),
    [
        ("shop.*", ["shop.orders"], [(), ("shop.orders",)]),
        ("shop.orders", ["shop.*", "shop.users"], [("shop.*",)]),
        ("shop.orders", ["crm.*"], [()]),
        ("shop.ord_*", ["shop.ord*"], [("shop.ord*",)]),
        ("shop.ord*", ["shop.ord_*", "shop.ord_1"], [(), ("shop.ord_*",), ("shop.ord_*", "shop.ord_1")]),
        ("shop.*", ["shop.a*", "shop.*b"], [(), ("shop.a*",), ("shop.*b",), ("shop.a*", "shop.*b")]),
        ("*", ["shop.orders", "crm.*"], [(), ("shop.orders",), ("crm.*",)]),
        ("*", ["*"], [("*",)]),
        ("shop.a*", ["shop.b*"], [()]),
    ],
)
def test_for_each_possible_collection_the_scopes_that_include_it(scope, others, expected):
    assert relation(scope, *others) == sets(*expected)


@settings(max_examples=300, deadline=None)
@given(scopes, st.lists(scopes, max_size=4, unique=True))
def test_every_combination_that_some_name_shows_is_found(scope, others):
    def includes(watch, database, name):
        return watch.database in (None, database) and matches(watch.glob, name)

    watches = [Watch.parse(other) for other in others]
    shown = {
        frozenset(watch.name for watch in watches if includes(watch, database, name))
        for database in ("shop", "crm", "hr")
        for name in NAMES
        if includes(Watch.parse(scope), database, name)
    }
    assert shown <= relation(scope, *others)


def test_a_hundred_collections_and_a_few_patterns_are_compared_at_once():
    others = [f"shop.collection_{number}" for number in range(150)] + ["shop.coll*", "shop.*_1*", "shop.x*"]
    assert frozenset({"shop.collection_17", "shop.coll*", "shop.*_1*"}) in relation("shop.*", *others)


def test_a_name_that_is_no_streams_is_an_error():
    with pytest.raises(ValueError, match="is not a namespace"):
        relation("shop.*", "orders")


RENAME = event_document(3, collection="tmp", operationType="rename", to={"db": "shop", "coll": "orders"})
DROPPED = {**event_document(4, operationType="dropDatabase"), "ns": {"db": "shop"}}
INVALIDATE = {key: value for key, value in event_document(5, operationType="invalidate").items() if key != "ns"}
EVENTS = [event_document(0), event_document(1, collection="users"), event_document(2, database="crm"), RENAME, DROPPED]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("shop.orders", [0, 3, 5]),
        ("shop.ord*", [0, 3, 4, 5]),
        ("shop.*", [0, 1, 3, 4, 5]),
        ("*", [0, 1, 2, 3, 4, 5]),
        ("shop.users", [1, 5]),
        ("shop.tmp", [3, 5]),
    ],
)
def test_a_scope_includes_what_its_stream_delivers(scope, expected):
    assert list(included(Watch.parse(scope), batch_of([*EVENTS, INVALIDATE]))) == expected


def test_a_damaged_event_belongs_to_no_scope():
    batch = batch_of([event_document(0), event_document(1)])
    raw = bytearray(encode(event_document(0)))
    at = raw.index(b"\x03ns\0") + 4
    raw[at : at + 4] = b"\xff\xff\xff\x7f"
    damaged = batch_of([encode(event_document(0)), bytes(raw), encode(event_document(2))])
    assert len(batch) == 2
    assert list(included(Watch.parse("*"), damaged)) == [0, 2]


def test_the_namespaces_of_a_rename_are_two():
    assert [str(name) for name in namespaces(memoryview(encode(RENAME)))] == ["shop.tmp", "shop.orders"]
