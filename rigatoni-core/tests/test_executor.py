"""Calls that may hang: however often they are retried, one thread hangs, and all is well once they return."""

import asyncio
import gc
import threading
import time
import weakref

import pytest
from rigatoni_core.api.errors import StateStoreError, Transient
from rigatoni_core.api.executor import DaemonExecutor, SerialExecutor

NAME = "test-serial"


class HungError(StateStoreError, Transient):
    pass


@pytest.fixture
def executor():
    return SerialExecutor(NAME, lambda seconds: HungError(f"{seconds:.1f} s"), patience=0.05)


def threads():
    return sum(thread.name == NAME for thread in threading.enumerate())


async def idle():
    while threads():
        await asyncio.sleep(0.001)


async def hung(executor):
    """What ends the call that was abandoned."""
    began, hang = threading.Event(), threading.Event()
    call = asyncio.create_task(executor.run(lambda: began.set() or hang.wait(30)))
    await asyncio.to_thread(began.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    return hang


async def test_calls_are_made_in_order_on_a_thread_that_ends_with_them(executor):
    made = []
    await asyncio.gather(*(executor.run(lambda number=number: made.append(number)) for number in range(100)))
    assert made == list(range(100))
    assert await executor.run(threading.current_thread) not in (threading.current_thread(), None)
    with pytest.raises(ZeroDivisionError):
        await executor.run(lambda: 1 / 0)
    await idle()


async def test_one_thread_hangs_further_calls_fail_at_once_until_it_returns(executor):
    hang, made = await hung(executor), []
    for number in range(20):
        with pytest.raises((TimeoutError, HungError)):
            async with asyncio.timeout(0.01):
                await executor.run(lambda number=number: made.append(number))
        assert threads() == 1
    began = time.monotonic()
    with pytest.raises(HungError):
        await executor.run(lambda: made.append("refused"))
    assert time.monotonic() - began < 0.05
    last = executor.begin(lambda: made.append("last"))
    assert not last.done()
    hang.set()
    await asyncio.wrap_future(last)
    assert made == ["last"]  # what its caller gave up while it waited was dropped
    assert await executor.run(lambda: "works again") == "works again"
    await idle()


async def test_a_call_that_is_only_slow_is_waited_for(executor):
    hang = await hung(executor)
    later = asyncio.create_task(executor.run(lambda: "later"))
    await asyncio.sleep(0.1)  # longer than the patience: it came before
    assert not later.done()
    hang.set()
    assert await later == "later"


async def test_a_hung_call_whose_caller_waits_rejects_no_other_call(executor):
    hang = threading.Event()
    waiting = asyncio.create_task(executor.run(hang.wait))
    await asyncio.sleep(0.1)
    later = asyncio.create_task(executor.run(lambda: "later"))
    await asyncio.sleep(0.01)
    hang.set()
    assert await waiting
    assert await later == "later"


async def test_where_the_system_allows_no_more_threads_the_next_call_tries_again(executor, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr("rigatoni_core.api.executor.Thread.start", refuse)
        with pytest.raises(RuntimeError):
            await executor.run(lambda: 1)
    assert await executor.run(lambda: 2) == 2


async def test_a_thread_that_waits_keeps_nothing_of_its_last_call_alive():
    class Batch:
        """Something large."""

    batch = Batch()
    kept = weakref.ref(batch)
    executor = DaemonExecutor("test")

    def call(held=batch):
        return id(held)

    assert await executor.run(call) == id(batch)
    del batch, call
    for _ in range(100):
        gc.collect()
        if kept() is None:
            break
        await asyncio.sleep(0.01)
    executor.close()
    assert kept() is None
