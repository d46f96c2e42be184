"""A component is known by the name under which its plugin registers it, with or without a catalog."""

import subprocess
import sys
from itertools import chain

import attrs
import pytest
from rigatoni_core.api.components import KINDS, class_path, component_name, described
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.builtin.stdout import StdoutDestination
from rigatoni_core.plugins.catalog import Catalog

PLUGIN = """
import attrs
from rigatoni_core.api.hookspecs import Component, hookimpl
from rigatoni_core.api.contracts import Listener, Serializer

@attrs.define
class Lines(Serializer):
    accepts = frozenset({"*"})
    media_type, suffix = "text/plain", ".txt"
    def serialize(self, events): return b""

@attrs.define
class Loner(Lines):
    pass

def load_missing():
    raise ImportError("its library is not installed")

@hookimpl
def rigatoni_serializers():
    yield Component("missing", load_missing)
    yield Component("json", lambda: Lines)
    n = 0
    while True:
        n += 1
        yield Component(f"n{n}", load_missing)

@hookimpl
def rigatoni_listeners():
    raise RuntimeError("nobody asks this hook for a serializer")
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """The module of an installed plugin "acme" that registers one of its classes."""
    (tmp_path / "rigatoni_acme").mkdir()
    (tmp_path / "rigatoni_acme" / "__init__.py").write_text(PLUGIN)
    info = tmp_path / "rigatoni_acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rigatoni-acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rigatoni]\nacme = rigatoni_acme\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("rigatoni_acme")
    del sys.modules["rigatoni_acme"]


def test_components_of_this_project_have_short_names():
    assert component_name(StdoutDestination) == "stdout"
    assert component_name(MemoryStateStore) == "memory"


def test_components_of_others_are_named_with_their_plugin(acme):
    assert component_name(acme.Lines) == "acme/json"


def test_a_class_that_no_plugin_registers_keeps_its_path(acme):
    @attrs.define
    class Local(Serializer):
        accepts = frozenset({"*"})

        def serialize(self, events):
            return b""

    assert component_name(acme.Loner) == class_path(acme.Loner) == "rigatoni_acme.Loner"
    assert component_name(Local) == class_path(Local)


def test_every_installed_component_has_the_name_that_a_configuration_uses():
    catalog = Catalog.discover()
    for plugin, provided in chain.from_iterable(map(catalog.provided, KINDS)):
        cls = catalog.get(provided.kind, f"{plugin.distribution}/{provided.name}")
        name = component_name(cls)
        assert name in (provided.name, f"{plugin.name}/{provided.name}")
        assert catalog.get(provided.kind, name) is cls


def test_a_description_names_components_within_components():
    from rigatoni_compression.gzip import GzipSerializer
    from rigatoni_json.serializer import JsonSerializer

    gzip = GzipSerializer(inner=JsonSerializer(mode="plain"))
    assert described(gzip, defaults=False) == {"type": "gzip", "inner": {"type": "json", "mode": "plain"}}
    inner = described(gzip, name=class_path)["inner"]
    assert inner == {"type": "rigatoni_json.JsonSerializer", "mode": "plain", "ordinal": False}


def test_a_name_is_found_without_the_catalog_and_without_other_plugins():
    code = (
        "import sys; from rigatoni_json.serializer import JsonSerializer\n"
        "from rigatoni_core.api.components import component_name\n"
        "assert component_name(JsonSerializer) == 'json'\n"
        "found = {'rigatoni_core.plugins', 'rigatoni_s3', 'boto3', 'pyarrow'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
