"""The scope of a watch: names, patterns, overlaps; regular expressions are tested with Python, which agrees here."""

import re
from typing import Any

import pytest
from rigatoni_core.api.bus import listening
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Invalidated
from rigatoni_mongodb.scope import Watch, parse_watches


def fits(pattern, name):
    collections: Any = Watch.parse(f"shop.{pattern}").collections
    return re.search(collections["$regex"], name) is not None


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("ord_*", ["ord_", "ord_1", "ord_a.b", "ord_ü\n"], ["ord", "xord_1", "Ord_1"]),
        ("*.log", ["a.log", ".log", "a.b.log"], ["alog", "a.logs", "a.log\n"]),
        ("a*b*c", ["abc", "a.b.c", "axbbxc"], ["ab", "acb"]),
        ("50%+(*)", ["50%+(1)"], ["50%%(1)", "5000(1)"]),
        ("ü*$[x]|y", ["üü$[x]|y"], ["ü$x", "ü$[x]"]),
        ("a?*", ["a?", "a?b"], ["ab", "a"]),
        ("back\\*", ["back\\", "back\\slash"], ["back*", "back"]),
    ],
)
def test_A11_a_pattern_has_one_special_character(pattern, inside, outside):
    assert [name for name in inside if not fits(pattern, name)] == []
    assert [name for name in outside if fits(pattern, name)] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shop.ord_*", "shop.ord_1"),
        ("shop.ord_*", "shop.*"),
        ("shop.ord_*", "*"),
        ("shop.ord_*", "shop.*_1"),
        ("shop.*a*", "shop.*b*"),
        ("shop.a*c", "shop.ab*bc"),
        ("shop.**", "shop.x"),
    ],
)
def test_A1_overlapping_patterns_are_refused(one, other):
    for names in ([one, other], [other, one]):
        with pytest.raises(ValueError, match="overlap: events would be delivered twice"):
            parse_watches(names)


def test_A1_what_does_not_overlap_is_taken():
    watches = parse_watches(["shop.ord_*", "shop.ord", "shop.inv_*", "other.ord_*"])
    assert [watch.database for watch in watches] == ["shop", "shop", "shop", "other"]
    parse_watches(["shop.a*x", "shop.a*y", "shop.b*x"])


@pytest.mark.parametrize("name", ["*.orders", "sh*p.orders", "shop.", ".ord_*", "orders", "sh/op.a*"])
def test_K8_what_is_no_namespace_is_said(name):
    with pytest.raises(ValueError, match="watch: "):
        Watch.parse(name)


async def test_A5_A6_a_pattern_takes_new_collections_drops_and_renames_in_one_stream(open_source, read, database):
    name, notices = f"{database.name}.ord_*", []

    class Heard:
        def notify(self, notice):
            notices.append(notice)

    async with open_source(name) as source, read(source, name) as reading:
        assert await source.streams() == [name]
        with listening([Heard()]):
            database["ord_1"].insert_one({"n": 1})
            database["other"].insert_one({"n": -1})
            database["ord_a.b%ü"].insert_one({"n": 2})
            database["xord_1"].insert_one({"n": -2})
            database["ord_1"].drop()
            database["other"].rename("ord_2")
            database["ord_2"].insert_one({"n": 3})
            database["ord_2"].rename("gone")
            database["gone"].insert_one({"n": -3})
            database["ord_1"].insert_one({"n": 4})
            events = await reading.rest()
        assert [event.full_document["n"] for event in events if event.full_document] == [1, 2, 3, 4]
        assert [event.operation for event in events if not event.full_document] == ["drop", "rename", "rename"]
        assert not [notice for notice in notices if isinstance(notice, Invalidated)]


async def test_A5_A7_a_pattern_outlives_its_database(open_source, read, database, client):
    name = f"{database.name}.ord_*"
    async with open_source(name) as source:
        async with read(source, name) as reading:
            database["ord_1"].insert_one({"n": 1})
            client.drop_database(database.name)
            events = await reading.events(4)
            operations = [event.operation for event in events]
            assert operations == ["insert", "drop", "dropDatabase", "invalidate"]
            await reading.next()
            position = reading.position
        database["ord_2"].insert_one({"n": 2})
        async with read(source, name, position) as reading:
            assert [event.full_document["n"] for event in await reading.rest()] == [2]


async def test_A2_a_pattern_goes_on_where_it_stopped(open_source, read, database):
    name = f"{database.name}.ord_*"
    async with open_source(name) as source:
        async with read(source, name) as reading:
            database["ord_1"].insert_many([{"n": n} for n in range(7)])
            await reading.events(7)
            position = reading.position
        for n in range(20):
            database[f"ord_{n}"].insert_one({"n": n})
            database[f"not_{n}"].insert_one({"n": n})
        async with read(source, name, position) as reading:
            assert [event.full_document["n"] for event in await reading.rest()] == list(range(20))


def test_A12_the_pattern_is_part_of_the_definition(open_source):
    one, other = (open_source(name).definition(Stream("p", name)) for name in ("shop.ord_*", "shop.or*"))
    assert one.details["watch"] == "shop.ord_*"
    assert one.fingerprint != other.fingerprint


async def test_C4_images_are_looked_for_in_the_collections_of_a_pattern(open_source, database):
    for name in ("ord_1", "ord_2", "other"):
        database.create_collection(name)
    watch = f"{database.name}.ord_*"
    async with open_source(watch, full_document="required") as source:
        errors = await source.examine(Stream("p", watch))
    assert sorted(str(error).split()[0] for error in errors) == [f"{database.name}.ord_1", f"{database.name}.ord_2"]
