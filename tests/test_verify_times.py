"""`rigatoni verify` where the source reads at the stream's own time, and where it proves what it read in a window."""

import asyncio

import pytest
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.settings import Settings, SnapshotSettings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_ops.verify import verify
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.versioned import VersionedCollection, VersionedSource


@pytest.mark.parametrize("reads_at_a_time", [True, False])
def test_only_the_window_waits_for_what_was_not_delivered_yet(reads_at_a_time, tmp_path):
    collection, state = VersionedCollection({key: {"value": key} for key in range(20)}), MemoryStateStore()

    def configuration():
        return PipelineConfiguration(
            name="p",
            source=VersionedSource(collection=collection, await_time=0.01, reads_at_a_time=reads_at_a_time),
            destination=LocalDestination(path=tmp_path, serializer=JsonSerializer()),
            state=state,
            settings=Settings(snapshot=SnapshotSettings(mode="initial"), idle_advance_interval=0.1),
        )

    def run():
        collection.grown = asyncio.Event()  # of the loop of this run
        assert asyncio.run(Pipeline.of(configuration()).run(once=True)).ok

    def verified():
        app = RecordingApplication(configuration())
        code = app.call(verify, "pipeline.toml", "--json", "--timeout", "0.5")
        return code, app.values[0][0]["equal"] if app.values else None

    run()
    assert verified() == (ExitCode.DONE, 20)
    collection.remove(3)
    assert verified() == ((ExitCode.DONE, 20) if reads_at_a_time else (ExitCode.TIMED_OUT, None))
    run()
    assert verified() == (ExitCode.DONE, 19)
