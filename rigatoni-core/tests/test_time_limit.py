"""`write_timeout` bounds the time without progress, not the work."""

import asyncio

import pytest
from rigatoni_core.api.errors import DestinationError, PipelineTimeoutError
from rigatoni_core.api.notices import Retrying
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.engine.time_limit import time_limit
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import (
    Bucket,
    BucketDestination,
    FlakyStateStore,
    Log,
    RecordingDestination,
    ScriptedSource,
)


def now():
    return asyncio.get_running_loop().time()


def test_without_progress_the_whole_block_is_bounded():
    async def main():
        with pytest.raises(PipelineTimeoutError, match="the store did not respond within 10 s"):
            async with time_limit(10, "the store"):
                await asyncio.sleep(1000)
        assert now() == 10
        async with time_limit(10, "the store"):
            await asyncio.sleep(9)

    run_virtual(main())


@pytest.mark.parametrize("pause", [0.5, 3.0, 8.9])
def test_a_block_that_makes_progress_may_take_as_long_as_it_needs_and_is_ended_when_it_stalls(pause):
    async def main():
        count = stalled = 0

        async def work():
            nonlocal count, stalled
            async with time_limit(10, "the lake", lambda: count):
                for _ in range(100):
                    await asyncio.sleep(pause)
                    count += 1
                stalled = now()
                await asyncio.sleep(1000)

        with pytest.raises(PipelineTimeoutError, match="the lake made no progress for 10 s"):
            await work()
        assert 10 <= now() - stalled <= 11

    run_virtual(main())


def test_a_count_that_never_moves_is_no_progress():
    async def main():
        with pytest.raises(PipelineTimeoutError):
            async with time_limit(10, "the lake", lambda: 7):
                await asyncio.sleep(1000)
        assert now() == 10

    run_virtual(main())


def test_nothing_is_left_behind_after_the_block():
    async def main():
        looks = []
        async with time_limit(10, "the lake", lambda: looks.append(1) or len(looks)):
            await asyncio.sleep(5)
        seen = len(looks)
        await asyncio.sleep(100)
        assert len(looks) == seen

    run_virtual(main())


def test_an_end_that_takes_long_after_the_limit_disturbs_nothing():
    """The count may move on while the block cleans up."""

    async def main():
        count, complaints = 0, []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        async def work():
            nonlocal count
            async with time_limit(10, "the lake", lambda: count):
                try:
                    await asyncio.sleep(1000)
                finally:
                    count += 1
                    await asyncio.sleep(50)

        with pytest.raises(PipelineTimeoutError):
            await work()
        assert not complaints

    run_virtual(main())


class Laborious:
    """Does `steps` steps of 4 s in every call, and reports each, unless it is `silent` or stalls at one."""

    def __init__(self, *, steps, silent=False, stalls_at=-1):
        self.steps, self.silent, self.stalls_at = steps, silent, stalls_at
        self.done = {}

    async def work(self, stream):
        for _ in range(self.steps):
            if self.done.get(stream, 0) == self.stalls_at:
                self.stalls_at = -1
                await asyncio.Event().wait()
            await asyncio.sleep(4)
            self.done[stream] = self.done.get(stream, 0) + 1

    def progress(self, stream):
        return 0 if self.silent else self.done.get(stream, 0)


def write_slowly(labour):
    class Slow(RecordingDestination):
        async def write_batch(self, events):
            await labour.work(events.stream)
            return await RecordingDestination.write_batch(self, events)

        def progress(self, stream):
            return labour.progress(stream)

    return Slow()


def flush_slowly(labour):
    class Slow(RecordingDestination):
        async def write_batch(self, events):
            self.stream = events.stream
            return await RecordingDestination.write_batch(self, events)

        async def flush(self):
            await labour.work(self.stream)

        def progress(self, stream):
            return labour.progress(stream)

    return Slow()


def begin_slowly(labour):
    class Slow(BucketDestination):
        async def begin(self, stream, definition, position, *, gap=None):
            await labour.work(stream)
            return await BucketDestination.begin(self, stream, definition, position, gap=gap)

        def progress(self, stream):
            return labour.progress(stream)

    return Slow(bucket=Bucket())


def look_slowly(labour):
    class Slow(BucketDestination):
        async def last_committed(self, stream):
            await labour.work(stream)
            return await BucketDestination.last_committed(self, stream)

        def progress(self, stream):
            return labour.progress(stream)

    return Slow(bucket=Bucket())


@pytest.mark.parametrize("make", [write_slowly, flush_slowly, begin_slowly, look_slowly])
@pytest.mark.parametrize(
    ("labour", "retries"),
    [({"steps": 50}, 0), ({"steps": 50, "stalls_at": 20}, 1), ({"steps": 50, "silent": True}, 2)],
    ids=["slow", "stalls once", "reports nothing"],
)
def test_a_slow_destination_that_reports_progress_is_not_abandoned(make, labour, retries):
    class Heard(list):
        def notify(self, notice):
            self.append(notice)

    async def main():
        log, heard = Log(), Heard()
        log.grow(3)
        pipeline = Pipeline(
            name="p",
            source=ScriptedSource(logs={"a.b": log}, start=0),
            destination=make(Laborious(**labour)),
            state=FlakyStateStore(),
            settings=Settings(write_timeout=10.0, on_failure="stop", retry=RetrySettings(max_retries=2)),
            listeners=[heard],
        )
        report = await pipeline.run(once=True)
        assert report.ok == (retries < 2)
        assert [type(notice.error) for notice in heard if isinstance(notice, Retrying)] == [
            PipelineTimeoutError
        ] * retries

    run_virtual(main())


def test_a_faulty_count_leaves_the_limit_as_it_was():
    async def main():
        calls = []

        def progress():
            calls.append(1)
            if len(calls) > 2:
                raise DestinationError("broken")
            return len(calls)

        asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
        with pytest.raises(PipelineTimeoutError):
            async with time_limit(10, "the lake", progress):
                await asyncio.sleep(1000)
        assert now() <= 12

    run_virtual(main())
