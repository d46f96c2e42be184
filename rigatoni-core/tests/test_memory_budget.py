"""What all streams hold together is bounded, and none of them starves."""

import asyncio
from contextlib import AsyncExitStack

from hypothesis import given
from hypothesis import strategies as st
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.batcher import Batcher
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.clock import run_virtual

REPLY = batch_of([event_document(number) for number in range(10)])
SIZE = REPLY.nbytes
SETTINGS = Settings(
    batch_size=10, batch_bytes=ByteSize(SIZE), max_buffered_bytes=ByteSize(SIZE * 8), batch_timeout=1000.0
)


async def endless(served, name):
    while True:
        served[name] = served.get(name, 0) + 1
        yield REPLY
        await asyncio.sleep(0.01)


def test_stopped_destinations_hold_the_limit_and_a_reply_each_and_go_on_when_there_is_room():
    async def main():
        budget, served = MemoryBudget(SIZE * 10), {}
        async with AsyncExitStack() as stack:
            batchers = [
                await stack.enter_async_context(Batcher(endless(served, name), SETTINGS, budget=budget))
                for name in range(6)
            ]
            await asyncio.sleep(100)
            assert SIZE * 10 <= budget.held <= SIZE * (10 + 6)
            assert all(batcher.buffered_bytes >= SIZE for batcher in batchers)  # each has something to deliver
            before = dict(served)
            for _ in range(20):  # one stream delivers: it goes on reading, and so do the others as far as there is room
                await anext(batchers[0])
                await asyncio.sleep(1)
                assert budget.held <= SIZE * (10 + 6)
            assert served[0] > before[0]
            for batcher in batchers:
                for _ in range(3):
                    await anext(batcher)
            await asyncio.sleep(1)
            assert all(served[name] > before[name] for name in served)
        assert budget.held == 0

    run_virtual(main())


def test_a_stream_that_ended_leaves_its_room_to_the_others():
    async def main():
        budget, served = MemoryBudget(SIZE * 4), {}
        async with Batcher(endless(served, "stays"), SETTINGS, budget=budget) as stays:
            async with Batcher(endless(served, "goes"), SETTINGS, budget=budget):
                await asyncio.sleep(100)
            await asyncio.sleep(100)
            assert budget.held == stays.buffered_bytes == SIZE * 4

    run_virtual(main())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=30))
def test_the_sum_is_what_the_owners_hold_and_they_are_called_when_there_is_room_again(steps):
    budget, held, called = MemoryBudget(60), {}, []
    owners = [lambda number=number: called.append(number) for number in range(4)]
    for number, nbytes in steps:
        full = not budget.has_room
        called.clear()
        budget.hold(owners[number], nbytes)
        held[number] = nbytes
        assert budget.held == sum(held.values())
        assert budget.has_room == (budget.held < 60)
        assert sorted(called) == (sorted(held) if full and budget.has_room else [])
