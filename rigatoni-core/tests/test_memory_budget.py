"""What all streams hold together is bounded, and none of them starves."""

import asyncio
from contextlib import AsyncExitStack

from hypothesis import given
from hypothesis import strategies as st
from rigatoni_core.api.options import ByteSize
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.batcher import Batcher
from rigatoni_core.engine.memory_budget import MemoryBudget
from rigatoni_testing.batches import STREAM, batch_of, event_document
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


def test_stopped_destinations_hold_the_limit_and_a_reply_each_and_resume_when_there_is_room():
    async def main():
        budget, served = MemoryBudget(SIZE * 10), {}
        async with AsyncExitStack() as stack:
            batchers = [
                await stack.enter_async_context(Batcher(STREAM, endless(served, name), SETTINGS, budget=budget))
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
        async with Batcher(STREAM, endless(served, "stays"), SETTINGS, budget=budget) as stays:
            async with Batcher(STREAM, endless(served, "goes"), SETTINGS, budget=budget):
                await asyncio.sleep(100)
            await asyncio.sleep(100)
            assert budget.held == stays.buffered_bytes == SIZE * 4

    run_virtual(main())


@given(st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 50)), max_size=30))
def test_the_sum_is_what_is_reserved_and_all_who_reserve_are_called_when_there_is_room_again(steps):
    """A step without bytes releases the reservation: it counts no more, and is never called again."""
    budget, held, called = MemoryBudget(60), dict.fromkeys(range(4), 0), []
    reservations = [budget.reserve(lambda number=number: called.append(number)) for number in range(4)]
    for number, nbytes in steps:
        if number not in held:
            continue
        full = not budget.has_room
        called.clear()
        if nbytes is None:
            reservations[number].release()
            del held[number]
        else:
            reservations[number].hold(nbytes)
            held[number] = nbytes
        assert budget.held == sum(held.values())
        assert budget.has_room == (budget.held < 60)
        assert sorted(called) == (sorted(held) if full and budget.has_room else [])


def test_a_batcher_that_was_left_holds_nothing_of_the_budget_and_hears_nothing_of_it():
    async def main():
        budget, served = MemoryBudget(SIZE * 4), {}
        for name in range(5):
            async with Batcher(STREAM, endless(served, name), SETTINGS, budget=budget) as batches:
                await anext(batches)
                await asyncio.sleep(1)
        assert budget.held == 0
        assert not budget._reservations, "each restart of a worker would leave one behind"

    run_virtual(main())


def test_the_batch_in_flight_counts_until_the_next_one_is_asked_for():
    async def main():
        budget = MemoryBudget(SIZE * 10)

        async def two():
            yield REPLY
            await asyncio.sleep(10)
            yield REPLY

        async with Batcher(STREAM, two(), SETTINGS, budget=budget) as batches:
            await anext(batches)
            assert budget.held == batches.buffered_bytes == SIZE
            following = asyncio.create_task(anext(batches))
            await asyncio.sleep(1)
            assert budget.held == 0
            await following
            assert budget.held == SIZE

    run_virtual(main())
