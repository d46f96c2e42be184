"""The batcher at its limits: exactly full, and an end that never comes."""

import asyncio

import attrs
import pytest
from rigatoni_core.api.batch import Heartbeat
from rigatoni_core.api.bus import listening
from rigatoni_core.api.errors import ChainError, ShutdownError, SourceError
from rigatoni_core.api.notices import BatchRead, CaughtUp, ReplyRead
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.batcher import Batcher
from rigatoni_testing.batches import STREAM, batch_of, event_document
from rigatoni_testing.clock import run_virtual

THREE = batch_of([event_document(number) for number in range(3)])


async def served(*replies):
    for reply in replies:
        yield reply
    await asyncio.Event().wait()


def test_G1_a_batch_that_is_exactly_full_does_not_wait_for_its_age():
    async def main():
        settings = Settings(batch_bytes=ByteSize(THREE.nbytes), batch_timeout=1000.0)
        async with Batcher(STREAM, served(THREE), settings) as batches:
            assert len(await anext(batches)) == 3
        assert asyncio.get_running_loop().time() < 1

    run_virtual(main())


END = attrs.evolve(THREE.end, resume_token="elsewhere", cluster_time=THREE.end.cluster_time.next())
"""Where another run's batch ends: with an event that this stream does not hold."""


@pytest.mark.parametrize(
    ("position", "source_time", "caught_up"),
    [
        (THREE.end, END.cluster_time, True),
        (THREE.end, END.cluster_time.next(), True),
        (attrs.evolve(END, cluster_time=END.cluster_time.next()), None, False),
    ],
    ids=["caught up then", "caught up later", "read past it"],
)
def test_an_end_that_the_source_knows_to_be_behind_it_never_comes(position, source_time, caught_up):
    async def main():
        beat = Heartbeat(position, source_time, caught_up=caught_up)
        async with Batcher(STREAM, served(THREE, beat), Settings(batch_timeout=1.0)) as batches:
            batch = await anext(batches)
            with pytest.raises(ChainError, match="without that event"):
                await batches.realign(batch, END)

    run_virtual(main())


def test_what_was_gathered_goes_at_once_when_the_source_fails():
    async def failing():
        yield THREE
        await asyncio.sleep(1)
        raise SourceError("the connection broke")

    async def main():
        async with Batcher(STREAM, failing(), Settings(batch_timeout=1000.0)) as batches:
            assert len(await anext(batches)) == 3
            with pytest.raises(SourceError, match="broke"):
                await anext(batches)
        assert asyncio.get_running_loop().time() < 2

    run_virtual(main())


def test_G6_after_a_stop_at_most_one_more_batch_comes_of_what_was_gathered():
    async def main():
        async with Batcher(STREAM, served(THREE), Settings(batch_size=1)) as batches:
            assert len(await anext(batches)) == 1
            batches.stop()
            assert [len(batch) async for batch in batches] == [1]

    run_virtual(main())


async def reading_on(batches):
    """Somebody else's batch was larger: read on to its end, which is still to come."""
    return await batches.realign(await anext(batches), END)


def test_a_source_that_fails_while_it_is_read_on_raises_its_error():
    async def failing():
        yield THREE
        await asyncio.sleep(10)
        raise SourceError("the connection broke")

    async def main():
        async with Batcher(STREAM, failing(), Settings(batch_timeout=1.0)) as batches:
            with pytest.raises(SourceError, match="broke"):
                await reading_on(batches)

    run_virtual(main())


def test_a_stop_while_it_is_read_on_is_a_shutdown():
    async def main():
        async with Batcher(STREAM, served(THREE), Settings(batch_timeout=1.0)) as batches:
            asyncio.get_running_loop().call_later(10, batches.stop)
            with pytest.raises(ShutdownError):
                await reading_on(batches)

    run_virtual(main())


def test_an_event_larger_than_batch_bytes_is_a_batch_of_its_own_and_the_next_one_follows():
    large, small = THREE[:1], THREE[1:2]

    async def main():
        settings = Settings(batch_bytes=ByteSize(large.nbytes // 2), batch_timeout=1.0)
        async with Batcher(STREAM, served(large, small, THREE[2:]), settings) as batches:
            await asyncio.sleep(1)  # all three came before the first is taken
            assert [(await anext(batches)).end for _ in range(3)] == [large.end, small.end, THREE.end]

    run_virtual(main())


def test_events_that_are_put_back_are_as_old_as_they_were():
    """An earlier run's batch was smaller: the rest has waited long enough already."""

    async def main():
        async with Batcher(STREAM, served(THREE), Settings(batch_timeout=5.0)) as batches:
            batch = await anext(batches)
            assert asyncio.get_running_loop().time() == 5
            await batches.realign(batch, THREE[:1].end)
            assert (await anext(batches)).end == THREE.end
            assert asyncio.get_running_loop().time() == 5

    run_virtual(main())


def test_what_is_read_to_reach_an_earlier_end_counts_as_in_flight():
    async def main():
        async def slowly():
            yield THREE[:1]
            await asyncio.sleep(10)
            yield THREE[1:2]
            await asyncio.sleep(10)
            yield THREE[2:]
            await asyncio.Event().wait()

        async with Batcher(STREAM, slowly(), Settings(batch_timeout=1.0)) as batches:
            batch = await anext(batches)
            realigning = asyncio.create_task(batches.realign(batch, THREE.end))
            await asyncio.sleep(15)
            assert batches.buffered_bytes == THREE[:2].nbytes
            assert (await realigning).nbytes == batches.buffered_bytes == THREE.nbytes

    run_virtual(main())


def test_the_notices_tell_replies_batches_and_idle_moments_apart():
    class Heard:
        def __init__(self):
            self.notices = []

        def notify(self, notice):
            self.notices.append(notice)

    async def main():
        anchor, idle = Heartbeat(THREE.end, None), Heartbeat(THREE.end, None, caught_up=True)

        async def replies():
            for reply in (anchor, idle, THREE, idle):
                yield reply
                await asyncio.sleep(10.0)

        heard = Heard()
        with listening([heard]):
            async with Batcher(STREAM, replies(), Settings(batch_timeout=1.0)) as batches:
                assert [type(await anext(batches)) for _ in range(4)] == [Heartbeat, Heartbeat, type(THREE), Heartbeat]
        assert [type(notice) for notice in heard.notices] == [
            *(ReplyRead,),  # the anchor: the stream has not caught up
            *(ReplyRead, CaughtUp),
            *(ReplyRead, BatchRead),
            *(ReplyRead, CaughtUp),
        ]
        assert [notice.bytes for notice in heard.notices if hasattr(notice, "bytes")] == [0, 0, *[THREE.nbytes] * 2, 0]

    run_virtual(main())
