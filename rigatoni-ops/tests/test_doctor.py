"""`rigatoni doctor`: every check is made, whatever the others do, and each finding says what to do."""

import asyncio
import re

import attrs
import click
import pytest
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import ConfigLinter, Diagnosable, Finding, PositionKeeper
from rigatoni_core.api.errors import SourceError, StateStoreError
from rigatoni_core.api.events import Checkpoint, Position, Stream, Timestamp
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_ops.diagnosis import disks
from rigatoni_ops.diagnosis.disks import Mount, check_disks
from rigatoni_ops.doctor import doctor
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import RecordingDestination
from rigatoni_testing.versioned import VersionedCollection, VersionedSource

STREAM = Stream("p", "shop.orders")
SECRET = "s3cr3t-9F"


@attrs.define(eq=False)
class CheckedStateStore(MemoryStateStore, Diagnosable):
    """A durable state store with the checks that a test gives it."""

    durable = True
    made: dict = attrs.field(factory=dict)
    seen_positions: dict = attrs.field(factory=dict)

    def checks(self, settings, positions):
        self.seen_positions = dict(positions)
        return self.made

    def advice(self, settings):
        return ()


def finds(*findings):
    async def check():
        return findings

    return check


def configuration(state=None, *, source=None, destination=None, **changes):
    source = source or VersionedSource(collection=VersionedCollection({1: {"value": 1}}), await_time=0.01)
    return PipelineConfiguration(
        name="p",
        source=source,
        destination=destination or RecordingDestination(),
        state=state or CheckedStateStore(),
        **changes,
    )


def call(found, *arguments):
    app = RecordingApplication(found)
    return app.call(doctor, "pipeline.toml", *arguments), app


def records(app, place, check):
    return [each for each in app.values[0]["findings"] if (each["place"], each["check"]) == (place, check)]


def test_a_pipeline_without_findings_is_well():
    code, app = call(configuration(), "--json")
    assert (code, app.values[0]["well"]) == (ExitCode.DONE, True)
    assert {each["severity"] for each in app.values[0]["findings"]} == {"ok"}
    assert [each["seen"] for each in records(app, "stream shop.orders", "reading")] == ["it can be read"]


def test_checks_that_raise_hang_or_have_a_bug_end_no_other_check():
    async def raises():
        raise StateStoreError("the server is down", remedy="Start it.")

    async def hangs():
        await asyncio.Event().wait()

    async def has_a_bug():
        raise KeyError(SECRET)

    last = finds(Finding("ok", "all well", figures={"free_bytes": 5}))
    state = CheckedStateStore(made={"one": raises, "two": hangs, "three": has_a_bug, "four": last})
    code, app = call(configuration(state), "--json", "--timeout", "0.2")
    found = [records(app, "state", name)[0] for name in ("one", "two", "three", "four")]
    assert code == ExitCode.DONE  # nothing is known to be wrong
    assert [each["severity"] for each in found] == ["not checked", "not checked", "not checked", "ok"]
    assert [each["seen"] for each in found[:2]] == ["the server is down", "it did not respond within 0.2 s"]
    assert found[0]["remedy"] == "Start it."
    assert SECRET not in found[2]["seen"]
    assert found[3]["figures"] == {"free_bytes": 5}


@pytest.mark.parametrize(
    ("severity", "code"),
    [
        ("ok", ExitCode.DONE),
        ("not checked", ExitCode.DONE),
        ("warning", ExitCode.WORKER_FAILED),
        ("error", ExitCode.WORKER_FAILED),
    ],
)
def test_the_exit_code_tells_whether_something_hurts(severity, code):
    assert call(configuration(CheckedStateStore(made={"it": finds(Finding(severity, "seen"))})))[0] == code


def test_findings_are_printed_most_severe_first_with_their_remedies():
    made = {
        "disk": finds(Finding("ok", "plenty")),
        "clock": finds(Finding("warning", "late", "Set it.")),
        "oplog": finds(Finding("error", "gone", "Grow it.")),
    }
    _, app = call(configuration(CheckedStateStore(made=made)), "--quiet")
    lines = [click.unstyle(line) for line in app.output]
    found = [line[15:] for line in lines if line[15:].startswith(("state", "what"))]
    assert found == ["state, oplog: gone", "what to do: Grow it.", "state, clock: late", "what to do: Set it."]
    assert "1 error, 1 warning" in app.output[-1]


def test_a_component_that_cannot_be_opened_is_an_error_and_the_others_are_checked():
    class Broken(RecordingDestination):
        async def __aenter__(self):
            raise SourceError("no route to it", remedy="Check the address.")

    made = {"four": finds(Finding("ok", "all well"))}
    code, app = call(configuration(CheckedStateStore(made=made), destination=Broken()), "--json")
    (broken,) = records(app, "destination", "connection")
    assert (code, broken["severity"], broken["remedy"]) == (ExitCode.WORKER_FAILED, "error", "Check the address.")
    assert records(app, "state", "four")


def test_checks_learn_where_each_stream_would_resume():
    state = CheckedStateStore()
    position = Position("token", "fingerprint", Timestamp(1_900_000_000, 1))
    asyncio.run(state.save_resume_token(STREAM, Checkpoint(position=position)))
    call(configuration(state))
    assert state.seen_positions[STREAM] == position


@pytest.mark.parametrize(
    ("held", "seen"),
    [
        (None, "3 events were delivered, the last at .*, but the destination holds nothing of this stream"),
        (Timestamp(1_800_000_000, 1), "but the destination ends at "),
        (Timestamp(1_900_000_000, 1), "it has a position"),
    ],
)
def test_a_destination_that_holds_less_than_was_delivered_is_an_error(held, seen):
    """As when its disk is not mounted, or its folder was removed while nothing ran."""

    class Emptied(RecordingDestination, PositionKeeper):
        async def last_committed(self, stream):
            return held and Position("token", "fingerprint", held)

        async def begin(self, stream, definition, position, *, gap=None):
            raise AssertionError("doctor begins nothing")

    state, delivered = CheckedStateStore(), Position("token", "fingerprint", Timestamp(1_900_000_000, 1))
    asyncio.run(state.save_resume_token(STREAM, Checkpoint(position=delivered, events=3, delivered=delivered)))
    _, app = call(configuration(state, destination=Emptied()), "--json")
    (found,) = records(app, "stream shop.orders", "position")
    assert re.search(seen, found["seen"])
    assert found["severity"] == ("ok" if held == delivered.cluster_time else "error")


def test_a_store_in_memory_and_advice_of_components_are_warnings():
    class Advising(RecordingDestination, ConfigLinter):
        def advice(self, settings):
            return ("batch_size is tiny",)

    code, app = call(configuration(MemoryStateStore(), destination=Advising()), "--json")
    assert code == ExitCode.WORKER_FAILED
    assert records(app, "state", "durability")[0]["severity"] == "warning"
    assert [each["seen"] for each in records(app, "destination", "settings")] == ["batch_size is tiny"]


def test_secrets_are_in_no_finding():
    made = {"it": finds(Finding("warning", f"refused {SECRET}", f"Replace {SECRET}."))}
    redaction = lambda text: text.replace(SECRET, "***")  # noqa: E731
    for arguments in ((), ("--json",)):
        _, app = call(configuration(CheckedStateStore(made=made), redaction=redaction), *arguments)
        assert SECRET not in repr((app.output, app.values))


# --- disks


def on(monkeypatch, kind):
    monkeypatch.setattr(disks, "_mounts", lambda: [Mount(disks.Path("/"), kind)])


@pytest.mark.parametrize(
    ("kind", "severities"), [("ext4", ["ok"]), ("nfs4", ["ok", "warning"]), ("tmpfs", ["ok", "warning"])]
)
async def test_file_systems_that_break_promises_are_named(tmp_path, monkeypatch, kind, severities):
    on(monkeypatch, kind)
    monkeypatch.setattr(disks, "LOW", 0)
    monkeypatch.setattr(disks, "LOW_SHARE", 0.0)
    found = await check_disks({"pipeline.state.path": tmp_path / "not" / "yet", "pipeline.source.ca": tmp_path})
    assert [finding.severity for finding in found] == severities
    assert all(kind in finding.seen for finding in found[1:])


async def test_a_disk_that_is_nearly_full_is_a_warning(tmp_path, monkeypatch):
    on(monkeypatch, "ext4")
    monkeypatch.setattr(disks, "LOW_SHARE", 1.1)
    (finding,) = await check_disks({"pipeline.destination.path": tmp_path})
    assert (finding.severity, finding.figures["free_bytes"] > 0) == ("warning", True)


async def test_without_a_list_of_file_systems_their_kind_is_not_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(disks, "_mounts", list)
    found = await check_disks({"pipeline.state.path": tmp_path})
    assert found[-1].severity == "not checked"


@pytest.mark.skipif(not disks.Path("/proc/self/mounts").exists(), reason="only Linux lists them there")
def test_the_file_systems_of_this_host_are_listed():
    assert any(mount.folder == disks.Path("/") for mount in disks._mounts())
    assert disks._mounts(disks.Path("/does/not/exist")) == []
