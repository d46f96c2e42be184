"""Watched names that match no collection are reported with the most similar name, if collections can be listed."""

import pytest
from rigatoni_core.api.settings import Settings
from rigatoni_mongodb.missing_collections import missing_collections
from rigatoni_mongodb.scope import parse_watches

COLLECTIONS = {"shop": ["orders", "order_lines", "Users", "system.views"], "shopping": ["carts"], "hidden": None}


async def warnings_for(*names):
    async def collections(database):
        return COLLECTIONS.get(database, [])

    async def databases():
        return list(COLLECTIONS)

    return await missing_collections(parse_watches(names), collections, databases)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shop.oders", 'no collection "shop.oders" exists; did you mean "shop.orders"?'),
        ("shop.users", 'no collection "shop.users" exists; did you mean "shop.Users"?'),
        ("shop.invoices", 'no collection "shop.invoices" exists. Until one is created'),
        ("shpo.orders", 'no collection "shpo.orders" exists; did you mean "shop.orders"?'),
        ("Shop.oders", 'no collection "Shop.oders" exists; did you mean "shop.orders"?'),
        ("shoping.*", 'no collection in the database "shoping" exists; did you mean "shopping.*"?'),
        ("shop.oder_*", 'no collection that matches "shop.oder_*" exists; did you mean "shop.orders"?'),
        ("nowhere.near", 'no collection "nowhere.near" exists. Until one is created'),
    ],
)
async def test_a_name_that_nothing_fits_is_said_with_the_nearest_that_exists(name, words):
    (text,) = await warnings_for("shop.order_lines", name)
    assert words in text
    assert f'the stream "{name}" has no events' in text


async def test_what_exists_or_cannot_be_listed_is_not_mentioned():
    assert await warnings_for("shop.orders", "shop.order_*", "shopping.*", "hidden.orders") == ()
    assert await warnings_for("*") == ()


async def test_the_source_says_it_once_it_is_entered(open_source, database):
    database.orders.insert_one({})
    async with open_source(f"{database.name}.oders") as source:
        assert any(f'did you mean "{database.name}.orders"?' in text for text in source.advice(Settings()))
    async with open_source(f"{database.name}.orders") as source:
        assert source.advice(Settings()) == ()
