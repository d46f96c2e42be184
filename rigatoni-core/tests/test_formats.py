"""Whoever reads raw documents declares their format, and another one is refused before anything is opened."""

import importlib
from pathlib import Path
from typing import Annotated

import attrs
import pytest
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_core.api.components import Component
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata, FormatReader, Serializer
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.formats import check_formats, format_mismatches
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.builtin.stdout import StdoutDestination
from rigatoni_core.config import InvalidConfigurationError, load
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.plugins.catalog import Catalog, Plugin, Provided
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import BSON, TEXT
from rigatoni_testing.scripted import RecordingDestination, ScriptedSource
from rigatoni_testing.serializers import TokenLines


def source_of(format_):
    return ScriptedSource(logs={}, decoder=format_)


@attrs.define(kw_only=True)
class Tables(Destination, FormatReader):
    """A destination that reads raw documents itself, and has serializers in a list and in a table."""

    named: Annotated[dict[str, Serializer], "By name"] = attrs.field(factory=dict)
    several: Annotated[tuple[Serializer, ...], "In order"] = ()

    accepts = frozenset({"bson"})
    delivery = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events): ...

    def metadata(self):
        return DestinationMetadata("tables", self.delivery)


def places(source, **parts):
    return [mismatch.path for mismatch in format_mismatches(source, parts)]


def test_a_reader_of_the_format_or_of_all_formats_fits():
    assert places(source_of(BSON), destination=StdoutDestination(serializer=JsonSerializer())) == []
    for format_ in (BSON, TEXT):
        assert places(source_of(format_), destination=StdoutDestination(serializer=TokenLines())) == []
    assert places(source_of(TEXT), destination=RecordingDestination(), dead_letters=None) == []


def test_every_reader_of_another_format_is_found_wherever_it_stands():
    gzip = GzipSerializer(inner=JsonSerializer())
    found = places(
        source_of(TEXT),
        destination=StdoutDestination(serializer=gzip),
        dead_letters=Tables(named={"a": TokenLines(), "b": JsonSerializer()}, several=(TokenLines(), gzip)),
    )
    assert found == [
        ("destination", "serializer", "inner"),
        ("dead_letters", "named", "b"),
        ("dead_letters", "several", 1, "inner"),
    ]
    assert places(source_of(TEXT), destination=Tables()) == [("destination",)]


def test_a_wrapper_accepts_what_it_wraps():
    assert GzipSerializer(inner=JsonSerializer()).accepts == frozenset({"bson"})
    assert GzipSerializer(inner=TokenLines()).accepts == TokenLines().accepts


def test_a_pipeline_in_python_names_both_components_and_both_formats():
    with pytest.raises(ConfigurationError) as raised:
        Pipeline(
            name="p",
            source=source_of(TEXT),
            destination=StdoutDestination(serializer=JsonSerializer()),
            dead_letters=StdoutDestination(serializer=GzipSerializer(inner=JsonSerializer())),
            state=MemoryStateStore(),
        )
    assert str(raised.value) == (
        'destination.serializer: the serializer "json" reads the format "bson", '
        'but the source "rigatoni_testing.ScriptedSource" produces "text"; '
        'dead_letters.serializer.inner: the serializer "json" reads the format "bson", '
        'but the source "rigatoni_testing.ScriptedSource" produces "text"'
    )
    assert raised.value.remedy


def test_an_unknown_kind_of_component_has_a_name():
    @attrs.define
    class Odd(FormatReader):
        accepts = frozenset({"b", "a"})

    with pytest.raises(ConfigurationError, match=r'the component ".*Odd" reads the format "a" or "b"'):
        check_formats(source_of(BSON), {"odd": Odd()})


@pytest.fixture
def catalog(monkeypatch):
    """The installed plugins, and the template."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "plugin-template" / "src")
    plugin = importlib.import_module("rigatoni_template.plugin")
    provided = Provided("source", "template", "", Component("template", plugin.load_source))
    return Catalog((*Catalog.discover().plugins, Plugin("template", "rigatoni-template", "1", provides=(provided,))))


LINES = """\
[pipeline]
name = "p"
[pipeline.source]
type = "template"
path = "changes.ndjson"
[pipeline.destination]
type = "local"
path = "lake"
serializer = { type = "gzip", inner = { type = "json" } }
[pipeline.dead_letters]
type = "local"
path = "letters"
[pipeline.dead_letters.serializer]
type = "csv"
[pipeline.state]
type = "memory"
"""


def test_a_configuration_names_each_mismatch_by_key_and_line_together_with_all_other_faults(tmp_path, catalog):
    file = tmp_path / "pipeline.toml"
    file.write_text(LINES.replace('"memory"', '"memory"\nsize = 1'))
    with pytest.raises(InvalidConfigurationError) as raised:
        load(file, catalog)
    faults = [(fault.line, fault.key) for fault in raised.value.details]
    assert faults == [
        (9, "pipeline.destination.serializer.inner"),
        (13, "pipeline.dead_letters.serializer"),
        (17, "pipeline.state.size"),
    ]
    message = raised.value.details[0].message
    assert message.startswith('the serializer "json" reads the format "bson", but the source "')
    assert 'TemplateSource" produces "template-lines". Use ' in message


def test_the_templates_source_works_with_a_serializer_of_decoded_events(tmp_path, catalog):
    file = tmp_path / "pipeline.toml"
    plugin = importlib.import_module("rigatoni_template.plugin")
    provided = Provided("serializer", "lines", "", Component("lines", plugin.load_serializer))
    more = Catalog((*catalog.plugins, Plugin("lines", "rigatoni-lines", "1", provides=(provided,))))
    file.write_text(LINES.replace('"json"', '"lines"').replace('"csv"', '"lines"'))
    assert load(file, more).source.decoder.format == "template-lines"
