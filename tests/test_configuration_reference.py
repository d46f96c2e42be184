"""The configuration reference lists every option with a meaning, and each of its examples is valid."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from rigatoni_core.api.settings import RetrySettings, SnapshotSettings
from rigatoni_core.config import InvalidConfigurationError, PipelineTable, options_of, structure
from rigatoni_core.plugins.catalog import Catalog

sys.path.insert(0, str(Path(__file__).parent.parent))
from docs.configuration import components, example, example_of

PAGE = (Path(__file__).parent.parent / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
CATALOG = Catalog.discover()
COMPONENTS = list(components())
TABLES = [
    (name, options_of(cls))
    for name, cls in (("", PipelineTable), ("retry", RetrySettings), ("snapshot", SnapshotSettings))
]
ADDRESSES = {"MONGODB_URI": "mongodb://h/", "REDIS_URL": "redis://h/", "POSTGRES_DSN": "postgresql://h/d"}
VARIABLES = {**dict.fromkeys(re.findall(r'env = "(\w+)"', PAGE), "0123456789abcdef"), **ADDRESSES}
REST = """
[pipeline]
name = "p"
[pipeline.source]
type = "mongodb"
uri = { env = "MONGODB_URI" }
watch = ["shop.orders"]
[pipeline.destination]
type = "local"
path = "lake"
serializer = { type = "json" }
[pipeline.state]
type = "memory"
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "rules.py").write_text("def clean(event):\n    return event\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def faults_with(**tables):
    """What is wrong with a pipeline of these tables; nothing if it is valid."""
    pipeline = {**tomllib.loads(REST)["pipeline"], **tables}
    try:
        structure({"pipeline": pipeline}, CATALOG)
    except InvalidConfigurationError as error:
        return error.faults
    return ()


@pytest.mark.parametrize(("kind", "name", "options"), [(kind, name, found) for kind, name, _, _, found in COMPONENTS])
def test_the_example_of_each_component_is_valid(kind, name, options):
    assert faults_with(**tomllib.loads(example(kind, name, options))["pipeline"]) == ()


@pytest.mark.parametrize(("kind", "name", "options"), [(kind, name, found) for kind, name, _, _, found in COMPONENTS])
def test_the_example_of_each_option_is_valid(kind, name, options):
    """Rules between options may refuse an option alone, but then the fault names the component, not the option."""
    (table,) = tomllib.loads(example(kind, name, options))["pipeline"].items()
    for option in options:
        value = tomllib.loads(f"value = {example_of(option, f'{kind}.{name}')}")["value"]
        where, given = table
        if kind == "serializer":
            given = {**given, "serializer": {**given["serializer"], option.name: value}}
        else:
            given = [{**given[0], option.name: value}] if isinstance(given, list) else {**given, option.name: value}
        faults = faults_with(**{where: given})
        assert not [fault for fault in faults if f".{option.name}:" in fault], faults


@pytest.mark.parametrize(("table", "options"), TABLES)
def test_the_example_of_each_setting_is_valid(table, options):
    for option in options:
        value = tomllib.loads(f"value = {example_of(option)}")["value"]
        assert faults_with(**{table: {option.name: value}} if table else {option.name: value}) == (), option.name


def test_every_option_is_listed_with_its_meaning():
    listed = [options for *_, options in COMPONENTS] + [options for _, options in TABLES]
    assert len(COMPONENTS) >= 25
    for option in (option for options in listed for option in options):
        assert len(option.meaning) > 5, option
        assert re.search(rf"^\| `{option.name}` \| .* \| .* \| `.+` \| .+ \|$", PAGE, re.MULTILINE), option
