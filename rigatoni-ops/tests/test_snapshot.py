"""`rigatoni snapshot`: requests, shows, pauses and cancels snapshots by their records at the destination."""

import asyncio

import pytest
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.errors import ConfigurationError, DestinationError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import Settings, SnapshotSettings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_ops.snapshot import snapshot
from rigatoni_ops.snapshots import named
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.model_objects import ModelBucket, ModelDestination, ModelProcess, RawDocuments
from rigatoni_testing.scripted import RecordingDestination
from rigatoni_testing.versioned import VersionedCollection, VersionedSource

STREAM = Stream("p", "shop.orders")


async def at_once(_what):
    await asyncio.sleep(0)


class Shop:
    """A pipeline over one collection and one bucket; each command gets its own components."""

    def __init__(self, mode="on_request"):
        self.collection = VersionedCollection({key: {"value": key} for key in range(20)})
        self.bucket, self.state, self.mode = ModelBucket(), MemoryStateStore(), mode

    def configuration(self, **changes):
        destination = ModelDestination(bucket=self.bucket, process=ModelProcess(at_once), serializer=RawDocuments())
        return PipelineConfiguration(
            name="p",
            source=changes.get("source", VersionedSource(collection=self.collection, await_time=0.01)),
            destination=changes.get("destination", destination),
            state=self.state,
            settings=Settings(snapshot=SnapshotSettings(mode=self.mode), idle_advance_interval=0.1),
        )

    def call(self, *arguments, **changes):
        app = RecordingApplication(self.configuration(**changes))
        return app.call(snapshot, arguments[0], "pipeline.toml", *arguments[1:]), app

    def run(self):
        assert asyncio.run(Pipeline.of(self.configuration()).run(once=True)).ok


def test_a_snapshot_is_requested_carried_out_and_listed():
    shop = Shop()
    code, app = shop.call("start")
    assert (code, app.output) == (ExitCode.DONE, ["requested shop.orders#1"])
    code, app = shop.call("list", "--json")
    assert [(record["snapshot"], record["state"]) for record in app.values[0]] == [("shop.orders#1", "requested")]
    shop.run()
    code, app = shop.call("list", "shop.orders", "--json")
    (record,) = app.values[0]
    assert (record["state"], record["rows"], record["complete_ranges"]) == ("done", 20, 1)
    code, app = shop.call("wait", "shop.orders#1")
    assert (code, app.output) == (ExitCode.DONE, ["shop.orders#1: done, 20 rows"])
    code, app = shop.call("list")
    assert "shop.orders#1" in app.output[1]


def test_a_paused_snapshot_reads_nothing_and_a_cancelled_one_has_ended():
    shop = Shop()
    shop.call("start", "shop.orders")
    assert shop.call("pause", "shop.orders")[1].output == ["shop.orders#1: paused"]
    assert shop.call("pause", "shop.orders#1")[1].output == ["shop.orders#1: paused already"]
    assert shop.call("list", "--json")[1].values[0][0]["state"] == "paused"
    assert shop.call("wait", "shop.orders", "--timeout", "0.2")[0] == ExitCode.TIMED_OUT
    assert shop.call("resume", "shop.orders")[1].output == ["shop.orders#1: resumed"]
    assert "pass --yes" in shop.call("cancel", "shop.orders")[1].output[0]
    assert shop.call("cancel", "shop.orders", "--yes")[1].output == ["shop.orders#1: cancelled"]
    shop.run()
    assert shop.call("wait", "shop.orders#1")[0] == ExitCode.WORKER_FAILED
    with pytest.raises(DestinationError, match="has ended: cancelled"):
        shop.call("pause", "shop.orders#1")
    with pytest.raises(DestinationError, match=r"shop\.orders#2: no such snapshot"):
        shop.call("cancel", "shop.orders#2", "--yes")


def test_waiting_for_a_stream_does_not_depend_on_whether_its_newest_snapshot_has_ended():
    shop = Shop()
    with pytest.raises(DestinationError, match=r"shop\.orders never had a snapshot"):
        shop.call("wait", "shop.orders")
    shop.call("start")
    shop.run()
    code, app = shop.call("wait", "shop.orders")
    assert (code, app.output) == (ExitCode.DONE, ["shop.orders#1: done, 20 rows"])
    with pytest.raises(DestinationError, match=r"shop\.orders#1 has ended: done"):
        shop.call("cancel", "shop.orders#1", "--yes")
    shop.call("start")
    shop.call("cancel", "shop.orders", "--yes")
    code, app = shop.call("wait", "shop.orders")
    assert code == ExitCode.WORKER_FAILED
    assert app.output == ["shop.orders#2: cancelled, 0 rows: a command cancelled it"]


def test_waiting_for_a_snapshot_that_does_not_exist_is_an_error():
    shop = Shop()
    shop.call("start", "shop.orders")
    with pytest.raises(DestinationError, match=r"shop.orders#7: no such snapshot"):
        shop.call("wait", "shop.orders#7", "--timeout", "5")


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (("start", "shop.other"), {}, 'no stream "shop.other"'),
        (("start", "--collection", "shop.other"), {}, "shop.other is not watched"),
        (("start",), {"destination": RecordingDestination()}, "keeps no records of snapshots"),
    ],
)
def test_a_wrong_request_is_one_clear_error_and_nothing_is_recorded(arguments, changes, words):
    shop = Shop()
    with pytest.raises(ConfigurationError, match=words):
        shop.call(*arguments, **changes)
    assert shop.call("list")[1].output == ["there are no snapshots"]


def test_a_request_that_the_server_refuses_is_not_recorded():
    async def refuse(what):
        if what == "plan":
            raise ConfigurationError("the filter is refused")

    shop = Shop()
    source = VersionedSource(collection=shop.collection, pause=refuse)
    with pytest.raises(ConfigurationError, match="the filter is refused"):
        shop.call("start", source=source)
    assert shop.call("list")[1].output == ["there are no snapshots"]


def test_a_pipeline_without_snapshots_says_how_to_allow_them():
    with pytest.raises(ConfigurationError, match="takes no snapshots") as error:
        Shop(mode="never").call("start")
    assert 'mode = "on_request"' in error.value.remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, (None, None)), ("a.b", ("a.b", None)), ("a.b#3", ("a.b", 3)), ("a.b#c", ("a.b#c", None))],
)
def test_references_name_a_stream_and_perhaps_a_snapshot(text, expected):
    assert named(text) == expected
