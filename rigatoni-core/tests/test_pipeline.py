"""A pipeline inside a program: beside a block, made from a file."""

import asyncio

import attrs
import pytest
from rigatoni_core.api.errors import DestinationError
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.config import PipelineConfiguration
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import Log, RecordingDestination, ScriptedSource


@attrs.define(kw_only=True, eq=False)
class Closed(RecordingDestination):
    """One that can not be entered."""

    async def __aenter__(self):
        raise DestinationError("the door is closed")


def pipeline(log, destination):
    source = ScriptedSource(logs={"a.b": log}, start=0)
    settings = Settings(batch_timeout=5.0)
    return Pipeline(name="p", source=source, destination=destination, state=MemoryStateStore(), settings=settings)


def test_a_pipeline_runs_beside_a_block_and_ends_gracefully_with_it():
    async def main():
        log, destination = Log(), RecordingDestination()
        log.grow(3)
        async with (one := pipeline(log, destination)).running() as run:
            await asyncio.sleep(20)
            assert one.statistics.total.events == 3
            log.grow(2)
            await asyncio.sleep(1)  # read, and not yet old enough to be written
        assert one.statistics.total.events == 5
        assert run.result().ok

    run_virtual(main())


def test_a_block_whose_pipeline_was_stopped_before_is_given_its_report():
    async def main():
        log = Log()
        async with (one := pipeline(log, RecordingDestination())).running() as run:
            one.stop()
            assert (await run).ok
        early = pipeline(log, RecordingDestination())
        early.stop()
        async with early.running() as run:
            assert (await run).ok

    run_virtual(main())


def test_a_block_does_not_begin_where_a_component_can_not_be_entered():
    async def main():
        with pytest.raises(DestinationError, match="the door is closed"):
            async with pipeline(Log(), Closed()).running():
                raise AssertionError("the block began")

    run_virtual(main())


def test_what_a_block_raises_stops_the_pipeline_and_is_raised():
    async def main():
        one = pipeline(Log(), RecordingDestination())
        with pytest.raises(ZeroDivisionError):
            async with one.running() as run:
                raise ZeroDivisionError
        assert run.result().ok

    run_virtual(main())


def test_a_pipeline_of_a_configuration_has_all_that_it_says():
    configuration = PipelineConfiguration(
        name="p",
        source=ScriptedSource(logs={}, start=0),
        destination=RecordingDestination(),
        dead_letters=RecordingDestination(),
        state=MemoryStateStore(),
        settings=Settings(batch_size=7),
    )
    made = Pipeline.of(configuration)
    for name in ("name", "source", "destination", "dead_letters", "state", "settings"):
        assert getattr(made, name) is getattr(configuration, name)
