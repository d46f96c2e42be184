"""`rigatoni tail`: events as they pass, until there are enough of them. With a real server: tests/test_running.py."""

import json

import pytest
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.errors import ConfigurationError, SourceError, Transient
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_ops.tail import tail
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import Log, RecordingDestination, ScriptedSource
from rigatoni_transforms.select import SelectTransform
from rigatoni_transforms.unwrap import UnwrapTransform


class ShakyError(SourceError, Transient):
    pass


@pytest.fixture
def application():
    def application(*transforms, **options):
        log = Log()
        log.grow(5)
        return RecordingApplication(
            PipelineConfiguration(
                name="p",
                source=ScriptedSource(logs={"shop.orders": log, "shop.users": Log()}, start=0, **options),
                destination=RecordingDestination(),
                state=MemoryStateStore(),
                dead_letters=RecordingDestination(),
                transforms=transforms,
                settings=Settings(retry=RetrySettings(retry_delay=0.01), on_rejected="dead_letter"),
            )
        )

    return application


def test_each_event_is_a_line_until_there_are_enough(application):
    app = application()
    assert app.call(tail, "pipeline.toml", "--limit", "3", "--json") == ExitCode.DONE
    assert [json.loads(line)["operation"] for line in app.output] == ["insert"] * 3
    app = application()
    assert app.call(tail, "pipeline.toml", "shop.orders", "--limit", "2") == ExitCode.DONE
    assert len(app.output) == 2
    assert "  insert    shop.orders  key=" in app.output[0]


def test_events_are_shown_as_they_would_be_delivered_and_as_read_only_with_raw(application):
    hiding = SelectTransform(exclude=["value"])
    for arguments, shown in (((), False), (("--raw",), True)):
        app = application(hiding)
        assert app.call(tail, "pipeline.toml", "--limit", "1", "--json", *arguments) == ExitCode.DONE
        assert ("value 0" in app.output[0]) == shown


def test_redacted_values_are_their_types(application):
    app = application()
    app.call(tail, "pipeline.toml", "--limit", "1", "--json", "--redact")
    key = json.loads(app.output[0])["key"]
    assert key
    assert all(value.startswith("<") for value in key.values())


def test_rows_that_a_transform_made_of_events_are_named_and_do_not_stop_it(application):
    app = application(UnwrapTransform())
    assert app.call(tail, "pipeline.toml", "--limit", "2", "--json") == ExitCode.DONE
    row = {"operation": "not an event", "namespace": "shop.orders", "hint": "--raw shows the event as read"}
    assert [json.loads(line) for line in app.output] == [row, row]
    app = application(UnwrapTransform())
    assert app.call(tail, "pipeline.toml", "--limit", "2") == ExitCode.DONE


def test_trouble_is_reported_and_passes(application):
    app = application(faults={2: ShakyError("it shook")})
    assert app.call(tail, "pipeline.toml", "--limit", "5", "--json") == ExitCode.DONE
    assert len(app.output) == 5
    assert any("it shook" in line for line in app.diagnostics)


def test_a_stream_that_is_not_watched_is_an_error_that_names_those_that_are(application):
    with pytest.raises(ConfigurationError, match=r"p does not watch shop\.nothing") as caught:
        application().call(tail, "pipeline.toml", "shop.nothing")
    assert "shop.orders, shop.users" in caught.value.remedy


def test_a_source_that_cannot_begin_at_a_time_says_so(application):
    with pytest.raises(ConfigurationError, match="cannot begin at a time"):
        application().call(tail, "pipeline.toml", "--since", "2026-01-01")
