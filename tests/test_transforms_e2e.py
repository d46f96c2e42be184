"""Transforms as users have them: a real server, the command, files."""

import json
import re

import pytest
import zstandard
from bson import json_util

TRANSFORMS = """
[[pipeline.transforms]]
type = "filter"
expression = 'operation != "insert" || document.status != "draft"'

[[pipeline.transforms]]
type = "rename"
fields = { mail = "email" }

[[pipeline.transforms]]
type = "cast"
fields = { total = "decimal" }

[[pipeline.transforms]]
type = "route"
collection = '"orders_of_" + (operation == "delete" ? "all" : document.region)'

[[pipeline.transforms]]
type = "schema"
new_field = "drop_value"

[pipeline.dead_letters]
type = "local"
path = "letters"
serializer = { type = "json" }
"""

SCHEMA = """
[pipeline.transforms.collections."{}.orders_of_eu"]
columns = {{ total = "decimal", email = "string", region = "string", status = "string" }}
"""


@pytest.fixture
def configured(place, tmp_path):
    """The text of the pipeline's file: of one collection, with folders by the names of each event."""
    text = (tmp_path / "pipeline.toml").read_text()
    folders = "database={event_database}/collection={event_collection}"
    text = text.replace("max_await", LOOKUP + "max_await")
    return text.replace('path = "lake"', f'path = "lake"\nfolder_template = "{folders}"')


LOOKUP = 'full_document = "updateLookup"\n'


def delivered(tmp_path):
    """The events in the lake by the name of their folder, in order."""
    found = {}
    for file in sorted((tmp_path / "lake").rglob("*.zst")):
        lines = zstandard.ZstdDecompressor().stream_reader(file.read_bytes()).read().splitlines()
        (collection,) = re.findall("collection=([^/]+)", str(file))
        found.setdefault(collection, []).extend(map(json_util.loads, lines))
    return found


def test_events_pass_through_every_transform_into_their_folders(place, configured, rigatoni, tmp_path):
    transforms = TRANSFORMS.replace('new_field = "drop_value"', 'new_field = "drop_value"' + SCHEMA.format(place.name))
    (tmp_path / "pipeline.toml").write_text(configured + transforms)
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    orders = place.orders
    orders.insert_one({"_id": 1, "total": "1.10", "mail": "a@example.org", "region": "eu", "status": "paid", "x": 1})
    orders.insert_one({"_id": 2, "total": "2", "region": "eu", "status": "draft"})
    orders.insert_one({"_id": 3, "total": "much", "region": "us", "status": "paid"})
    orders.insert_one({"_id": 4, "region": "us", "status": "paid"})
    orders.update_one({"_id": 1}, {"$set": {"total": "3", "x": 2}})
    orders.delete_one({"_id": 4})
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    found = delivered(tmp_path)
    assert {name: [event["documentKey"]["_id"] for event in events] for name, events in found.items()} == {
        "orders_of_eu": [1, 1],
        "orders_of_us": [4],
        "orders_of_all": [4],
    }
    inserted, updated = found["orders_of_eu"]
    assert inserted["ns"] == {"db": place.name, "coll": "orders_of_eu"}
    assert list(inserted["fullDocument"]) == ["_id", "total", "email", "region", "status"]
    assert str(inserted["fullDocument"]["total"]) == "1.10"
    assert {key: str(value) for key, value in updated["updateDescription"]["updatedFields"].items()} == {"total": "3"}
    (letter,) = json.loads(rigatoni("dlq", "list", "pipeline.toml", "--json").stdout)
    assert (letter["plugin"], letter["error_id"]) == ("rigatoni_transforms", "field")


WRONG = """
[[pipeline.transforms]]
type = "filter"
expression = 'documnt.total > 5.0'

[[pipeline.transforms]]
type = "python"
call = "no_such_module:clean"

[[pipeline.transforms]]
type = "cast"
fields = { total = "text", "a..b" = "int" }

[[pipeline.transforms]]
type = "schema"
collections = { "shop.orders" = { columns = { total = "money" } } }
"""


def test_validate_reports_wrong_transforms_with_line_and_place(configured, rigatoni, tmp_path):
    (tmp_path / "pipeline.toml").write_text(configured + WRONG)
    answer = rigatoni("validate", "--offline", "pipeline.toml")
    assert answer.returncode == 2
    line = configured.count("\n") + 4
    for message in (
        f"pipeline.toml:{line}: pipeline.transforms[0].expression: the expression cannot be compiled: line 1, column 8",
        'pipeline.transforms[1]: the module "no_such_module" cannot be imported',
        'pipeline.transforms[2].fields: the path "a..b" cannot be parsed at character 3',
        "pipeline.transforms[3].collections: shop.orders.total: unknown type money",
    ):
        assert message in answer.stderr
