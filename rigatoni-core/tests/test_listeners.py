"""Listeners as components: configured, opened before the workers, closed last, and harmless."""

import asyncio
from typing import Annotated, Any

import attrs
import pytest
from rigatoni_core.api import bus
from rigatoni_core.api.components import Component
from rigatoni_core.api.contracts import AsyncResource, Listener, Serializer
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.notices import WorkerStarted, WorkerStarting
from rigatoni_core.config.faults import InvalidConfigurationError
from rigatoni_core.config.file import structure
from rigatoni_core.config.lines import line_of, lines_of
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.plugins.catalog import Catalog, Plugin, Provided
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import FlakyStateStore, Log, RecordingDestination, ScriptedSource


@attrs.define(kw_only=True)
class Diary(Listener, AsyncResource):
    """Writes down in one list what happens to it and to others."""

    port: Annotated[int, "A number"] = 1
    lines: list[str] = attrs.field(factory=list, init=False)
    faults: set[str] = attrs.field(factory=set, init=False)

    async def __aenter__(self):
        self.lines.append("opened")
        if "open" in self.faults:
            raise RigatoniError("the port is taken")
        return self

    def notify(self, notice):
        self.lines.append(type(notice).__name__)
        if "notify" in self.faults:
            raise ValueError("listeners may be wrong")

    async def __aexit__(self, *_):
        self.lines.append("closed")
        if "close" in self.faults:
            raise ValueError("to the very end")


@attrs.define(kw_only=True)
class Plain(Serializer):
    """A serializer that needs nothing."""

    accepts = frozenset({"*"})
    media_type = "text/plain"
    suffix = ".txt"

    def serialize(self, events):
        return b""


@attrs.define(kw_only=True)
class Still(ScriptedSource):
    """A source whose streams need no option."""

    logs: Any = attrs.field(factory=dict)


def catalog():
    classes = [("listener", "diary", Diary), ("serializer", "plain", Plain), ("source", "still", Still)]
    provided = [Provided(kind, name, "", Component(name, lambda cls=cls: cls)) for kind, name, cls in classes]
    builtin = [each for each in Catalog.discover().plugins if each.name == "builtin"]
    return Catalog((*builtin, Plugin("test", "rigatoni-test", "1", provides=tuple(provided))))


def document(listeners):
    return {
        "pipeline": {
            "name": "p",
            "source": {"type": "still"},
            "destination": {"type": "stdout", "serializer": {"type": "plain"}},
            "state": {"type": "memory"},
            "listeners": listeners,
        }
    }


def pipeline(diary, destination=None):
    log = Log()
    log.grow(3)
    return Pipeline(
        name="p",
        source=ScriptedSource(logs={"a.b": log, "a.c": Log()}, start=0),
        destination=destination or RecordingDestination(),
        state=FlakyStateStore(),
        listeners=[diary],
    )


@pytest.fixture
def unreported(monkeypatch):
    monkeypatch.setattr(bus, "_reported", set())


def test_listeners_are_an_array_of_tables():
    first, second = structure(document([{"type": "diary"}, {"type": "diary", "port": 7}]), catalog()).listeners
    assert (first.port, second.port) == (1, 7)
    assert structure(document([]), catalog()).listeners == ()


@pytest.mark.parametrize(
    ("listeners", "key", "message"),
    [
        ([{"type": "diary", "prot": 7}], "pipeline.listeners[0].prot", 'unknown key; did you mean "port"?'),
        ([{"type": "diary"}, {"type": "diray"}], "pipeline.listeners[1].type", 'did you mean "diary"?'),
        ({"type": "diary"}, "pipeline.listeners", "double brackets"),
        ([{"port": 7}], "pipeline.listeners[0].type", "it selects the listener; installed: diary"),
    ],
)
def test_K1_faults_of_listeners(listeners, key, message):
    with pytest.raises(InvalidConfigurationError) as raised:
        structure(document(listeners), catalog())
    (fault,) = raised.value.details
    assert fault.key == key
    assert message in fault.message


def test_faults_in_arrays_of_tables_have_the_line_of_their_own_table():
    lines = lines_of("[[a.list]]\nx = 1\n[[a.list]]\ny = 2\n[a.list.inner]\nz = 3\n[[ this is text ]]\n")
    assert line_of(("a", "list", 0, "x"), lines) == 2
    assert line_of(("a", "list", 1, "y"), lines) == 4
    assert line_of(("a", "list", 1, "inner", "z"), lines) == 6
    assert line_of(("a", "list", 1, "unknown"), lines) == 3
    assert line_of(("a", "list"), lines) == 1


def test_a_listener_is_opened_first_closed_last_and_hears_of_every_worker_before_it_starts():
    diary = Diary()

    class Spy(RecordingDestination):
        async def __aenter__(self):
            diary.lines.append("destination opened")
            return self

        async def close(self):
            diary.lines.append("destination closed")

    assert run_virtual(pipeline(diary, Spy()).run(once=True)).ok
    assert diary.lines[:4] == ["opened", "destination opened", WorkerStarting.__name__, WorkerStarting.__name__]
    assert diary.lines[-2:] == ["destination closed", "closed"]
    assert diary.lines.count(WorkerStarted.__name__) == 2


def test_a_listener_that_can_not_be_opened_stops_the_start():
    diary = Diary()
    diary.faults.add("open")
    with pytest.raises(RigatoniError, match="port is taken"):
        run_virtual(pipeline(diary).run(once=True))
    assert diary.lines == ["opened"]


@pytest.mark.parametrize("fault", ["notify", "close"])
def test_the_errors_of_a_listener_are_ignored_and_reported_once(fault, unreported, capsys):
    diary, destination = Diary(), RecordingDestination()
    diary.faults.add(fault)
    assert run_virtual(pipeline(diary, destination).run(once=True)).ok
    assert len(destination.tokens) == 3
    assert capsys.readouterr().err.count("listener Diary raised an exception, which is ignored") == 1


def test_a_listener_that_is_closed_does_not_hold_up_the_end_for_ever(monkeypatch):
    monkeypatch.setattr("rigatoni_core.engine.pipeline.CLOSE_TIMEOUT", 0.1)

    class Hanging(Diary):
        async def __aexit__(self, *_):
            await asyncio.Event().wait()

    report = run_virtual(pipeline(Hanging()).run(once=True))
    assert report.hanging
