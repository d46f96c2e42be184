"""The JSON Schema of a file agrees with what the configuration itself takes and refuses."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from rigatoni_core.api.components import Component
from rigatoni_core.config import InvalidConfigurationError, structure
from rigatoni_core.plugins.catalog import Catalog, Plugin, Provided
from rigatoni_ops.json_schema import schema

ROOT = Path(__file__).parent.parent.parent
(README,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
EXAMPLE = README.replace("[pipeline]\n", '[pipeline]\nbatch_size = 10_000\nbatch_bytes = "8 MiB"\nlease_ttl = 60\n', 1)
EXAMPLE += "\n[pipeline.retry]\nmax_retries = 5\n"
CATALOG = Catalog.discover()
SCHEMA = schema(CATALOG)
CHECK = Draft7Validator(SCHEMA)


def test_it_is_a_schema_and_plain_json():
    Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("text", [README, EXAMPLE], ids=["of the README", "with more settings"])
def test_an_example_fits(text):
    assert list(CHECK.iter_errors(tomllib.loads(text))) == []


def test_several_pipelines_and_defaults_fit():
    one = tomllib.loads(README)["pipeline"]
    assert list(CHECK.iter_errors({"pipeline": [one, one]})) == []
    assert list(CHECK.iter_errors({"pipeline": [{"name": "a"}], "defaults": one})) == []
    assert list(CHECK.iter_errors({"pipeline": [one, {"name": "a"}]}))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("batch_size = 10_000", "batchsize = 10_000"),
        ("batch_size = 10_000", 'batch_size = "many"'),
        ('batch_bytes = "8 MiB"', "batch_bytes = -1"),
        ('batch_bytes = "8 MiB"', 'batch_bytes = "8 megs"'),
        ('batch_timeout = "5 s"', 'batch_timeout = "5 sec"'),
        ("lease_ttl = 60", "lease_ttl = true"),
        ('name = "orders-to-lake"', ""),
        ('type = "mongodb"', 'type = "mongo"'),
        ('uri = { env = "MONGODB_URI" }', "uri = 5"),
        ('uri = { env = "MONGODB_URI" }', 'uri = { envy = "MONGODB_URI" }'),
        ('watch = ["shop.orders", "shop.users"]', 'watch = "shop.orders"'),
        ('watch = ["shop.orders", "shop.users"]', 'watch = ["a.b"]\nfull_document = "allways"'),
        ('inner = { type = "json" }', 'inner = { type = "json", mode = "odd" }'),
        ("[pipeline.retry]", "[pipeline.retires]"),
        ("[pipeline]", "[pipe]\n[pipeline]"),
    ],
)
def test_what_the_configuration_refuses_the_schema_refuses(right, wrong, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost/")
    assert right in EXAMPLE
    document = tomllib.loads(EXAMPLE.replace(right, wrong, 1))
    with pytest.raises(InvalidConfigurationError):
        structure(document, CATALOG)
    assert list(CHECK.iter_errors(document))


def test_a_name_that_clashes_is_only_offered_with_its_plugin():
    def plugin(name):
        component = Component("memory", dict(CATALOG.provided("state"))[builtin].component.load)
        return Plugin(name, f"rigatoni-{name}", "1", provides=(Provided("state", "memory", "", component),))

    (builtin,) = (each for each in CATALOG.plugins if each.name == "builtin")
    states = schema(Catalog((plugin("one"), plugin("two"))))["definitions"]["state"]["oneOf"]
    assert [each["properties"]["type"]["enum"] for each in states] == [["one/memory"], ["two/memory"]]


def test_help_and_defaults_are_there():
    (mongodb,) = (
        each for each in SCHEMA["definitions"]["source"]["oneOf"] if "mongodb" in each["properties"]["type"]["enum"]
    )
    assert mongodb["required"] == ["type", "uri", "watch"]
    assert mongodb["properties"]["batch_size"]["default"] == 1000
    assert all(option["description"] for option in mongodb["properties"].values())
