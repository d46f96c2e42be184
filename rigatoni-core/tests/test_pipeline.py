"""A pipeline inside a program: beside a block, made from a file."""

import asyncio

import attrs
import pytest
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.errors import DestinationError, SourceError, Transient
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import Log, RecordingDestination, ScriptedSource


@attrs.define(kw_only=True, eq=False)
class Closed(RecordingDestination):
    """One that cannot be entered."""

    async def __aenter__(self):
        raise DestinationError("the door is closed")


def pipeline(log, destination):
    source = ScriptedSource(logs={"a.b": log}, start=0)
    settings = Settings(batch_timeout=5.0)
    return Pipeline(name="p", source=source, destination=destination, state=MemoryStateStore(), settings=settings)


def test_a_pipeline_runs_in_the_background_of_a_block_and_ends_gracefully_with_it():
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


class AwayError(SourceError, Transient):
    id = "away"


@attrs.define(kw_only=True, eq=False)
class Away(ScriptedSource):
    """A source that can be opened only after `failures` attempts."""

    failures: int = 0
    attempts: int = attrs.field(default=0, init=False)

    async def __aenter__(self):
        self.attempts += 1
        if self.attempts <= self.failures:
            raise AwayError("away")
        return self


def log_of(count):
    log = Log()
    log.grow(count)
    return log


def test_a_source_that_is_away_at_the_start_is_waited_for_and_its_streams_are_failing():
    async def main():
        log, destination = log_of(3), RecordingDestination()
        source = Away(logs={"a.b": log, "a.c": log_of(0)}, start=0, failures=30)
        one = Pipeline(name="p", source=source, destination=destination, state=MemoryStateStore())
        run = asyncio.create_task(one.run())
        await asyncio.sleep(100)
        assert {name: figures.state for name, figures in one.statistics.streams.items()} == {
            "a.b": "failing",
            "a.c": "failing",
        }
        assert one.statistics.streams["a.b"].last_error.message == "away"
        assert 5 < source.attempts < 12  # after 1, 2, 4, ... seconds, at most 30
        await asyncio.sleep(1000)
        assert {figures.state for figures in one.statistics.streams.values()} == {"running"}
        assert destination.tokens == log.tokens
        one.stop()
        assert (await run).ok

    run_virtual(main())


def test_a_stop_while_a_component_is_waited_for_ends_at_once():
    async def main():
        source = Away(logs={"a.b": log_of(3)}, start=0, failures=10_000)
        one = Pipeline(name="p", source=source, destination=RecordingDestination(), state=MemoryStateStore())
        run = asyncio.create_task(one.run())
        await asyncio.sleep(100)
        one.stop()
        async with asyncio.timeout(1):
            assert (await run).ok

    run_virtual(main())


@pytest.mark.parametrize(("once", "on_failure", "raises"), [(True, None, True), (True, "restart", False)])
def test_a_run_that_ends_waits_for_a_component_as_often_as_for_a_write(once, on_failure, raises):
    async def main():
        log, destination = log_of(3), RecordingDestination()
        source = Away(logs={"a.b": log}, start=0, failures=20)
        settings = Settings(on_failure=on_failure, retry=RetrySettings(max_retries=4))
        one = Pipeline(name="p", source=source, destination=destination, state=MemoryStateStore(), settings=settings)
        if raises:
            with pytest.raises(AwayError):
                await one.run(once=once)
            assert source.attempts == 5
        else:
            assert (await one.run(once=once)).ok
            assert destination.tokens == log.tokens

    run_virtual(main())


@attrs.define(kw_only=True, eq=False)
class Exclusive(MemoryStateStore, Listener):
    """A lock as a state store, a port as a listener: taken once, in use or not."""

    name: str = ""
    diary: list[str] = attrs.field(factory=list)

    async def __aenter__(self):
        assert f"{self.name} opened" not in self.diary, "it is taken"
        self.diary.append(f"{self.name} opened")
        return self

    async def __aexit__(self, *_):
        self.diary.append(f"{self.name} closed")

    def notify(self, notice): ...


def test_a_prepared_pipeline_takes_over_what_is_exclusive_and_nothing_is_lost():
    async def main():
        diary, log, destination = [], log_of(3), RecordingDestination()
        state, port = Exclusive(name="state", diary=diary), Exclusive(name="port", diary=diary)

        def made(source):
            return Pipeline(
                name="p", source=source, destination=destination, state=state, listeners=[port], settings=settings
            )

        settings = Settings(batch_timeout=1.0)
        old, source = made(ScriptedSource(logs={"a.b": log}, start=0)), Away(logs={"a.b": log}, start=0)
        running = asyncio.create_task(old.run())
        await asyncio.sleep(10)
        new = made(source)
        await new.prepare(old)
        assert (source.attempts, old.holds(state), new.holds(state), new.holds(source)) == (1, True, False, True)
        log.grow(2)
        await asyncio.sleep(10)
        assert len(destination.tokens) == 5  # the old one works on
        old.stop()
        await running
        assert diary == ["port opened", "state opened"]
        assert new.holds(state)
        assert new.holds(port)
        log.grow(2)
        running = asyncio.create_task(new.run())
        await asyncio.sleep(10)
        assert source.attempts == 1
        assert (new.statistics.total.events, new.statistics.streams["a.b"].state) == (7, "running")
        new.stop()
        assert (await running).ok
        assert destination.tokens == log.tokens
        assert diary[2:] == ["state closed", "port closed"]

    run_virtual(main())


def test_a_discarded_prepared_pipeline_does_not_change_the_running_one():
    async def main():
        diary, log, destination = [], log_of(3), RecordingDestination()
        state = Exclusive(name="state", diary=diary)

        def made(source):
            return Pipeline(name="p", source=source, destination=destination, state=state)

        old = made(ScriptedSource(logs={"a.b": log}, start=0))
        running = asyncio.create_task(old.run())
        await asyncio.sleep(10)
        new = made(Away(logs={"a.b": log}, start=0, failures=1))
        with pytest.raises(AwayError):
            await new.prepare(old)
        old.keep()
        await new.close()
        assert diary == ["state opened"]
        old.stop()
        assert (await running).ok
        assert diary == ["state opened", "state closed"]

    run_virtual(main())


def test_a_stream_that_could_not_be_read_is_found_while_the_old_pipeline_runs():
    class Blind(ScriptedSource):
        async def read(self, stream, *, after):
            raise SourceError(f"may not read {stream.name} after {after.cluster_time.seconds}")
            yield

    async def main():
        log, state = log_of(3), MemoryStateStore()
        old = Pipeline(
            name="p",
            source=ScriptedSource(logs={"a.b": log}, start=0),
            destination=RecordingDestination(),
            state=state,
        )
        running = asyncio.create_task(old.run())
        await asyncio.sleep(10)
        new = Pipeline(
            name="p", source=Blind(logs={"a.b": log}, start=0), destination=RecordingDestination(), state=state
        )
        with pytest.raises(SourceError, match=r"may not read a\.b after \d+"):
            await new.prepare(old)
        old.keep()
        await new.close()
        old.stop()
        assert (await running).ok

    run_virtual(main())
