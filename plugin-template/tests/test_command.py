"""The command as a person calls it, without a process: the application records what it prints."""

import pytest
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_template.command import command
from rigatoni_template.errors import TemplateCommandError
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.contracts import PluginContract
from rigatoni_testing.scripted import Log, RecordingDestination, ScriptedSource


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"


def application(*streams):
    return RecordingApplication(
        PipelineConfiguration(
            name="p",
            source=ScriptedSource(logs={name: Log() for name in streams}),
            destination=RecordingDestination(),
            state=MemoryStateStore(),
        )
    )


def test_each_stream_is_a_row():
    app = application("shop.orders", "shop.items")
    assert app.call(command, "pipeline.toml") == ExitCode.DONE
    assert app.output == ["stream  position", "shop.orders  none yet", "shop.items  none yet"]


def test_json_is_for_programs():
    app = application("shop.orders")
    assert app.call(command, "pipeline.toml", "--json") == ExitCode.DONE
    assert app.values == [{"shop.orders": "none yet"}]
    assert app.output == []


def test_a_pipeline_without_streams_is_an_error():
    with pytest.raises(TemplateCommandError):
        application().call(command, "pipeline.toml")
