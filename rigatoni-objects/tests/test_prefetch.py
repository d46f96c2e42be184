"""Prefetched work: results do not depend on the thread, and discarded batches are freed."""

import gc
import threading
from functools import partial

import pytest
from rigatoni_core.api.events import Stream
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_testing.batches import batch_of, event_document

BATCHES = [batch_of([event_document(number)]) for number in range(5)]


@pytest.fixture
def made():
    opened = []

    def make(work):
        opened.append(PrefetchPool("test prefetch", work))
        return opened[-1]

    yield make
    for pool in opened:
        pool.close()


def test_prefetched_work_runs_once_on_another_thread(made):
    threads = []

    def work(events):
        threads.append(threading.current_thread().name)
        return len(events)

    pool = made(work)
    pool.begin(BATCHES[0])
    while not threads:
        pass
    assert pool.result(BATCHES[0])() == 1
    assert threads == ["test prefetch"]


def test_work_that_was_not_prefetched_runs_on_the_calling_thread(made):
    pool = made(lambda _: threading.current_thread())
    pool.begin(BATCHES[0])
    assert pool.result(BATCHES[1])() is threading.current_thread()
    equal = batch_of([event_document(0)])
    assert pool.result(equal)() is threading.current_thread(), "another batch, though it is equal"


def test_work_that_has_not_started_runs_on_the_calling_thread(made, monkeypatch):
    monkeypatch.setattr("rigatoni_objects.prefetch._cores", lambda: 1)
    started, busy, done = threading.Event(), threading.Event(), []

    def work(events):
        if events is BATCHES[0]:
            started.set()
            assert busy.wait(10)
        done.append(events)
        return threading.current_thread()

    pool = made(work)
    pool.begin(BATCHES[0])
    assert started.wait(10)
    pool.begin(BATCHES[1])
    assert pool.result(BATCHES[1])() is threading.current_thread()
    waits = pool.result(BATCHES[0])
    busy.set()
    assert waits().name == "test prefetch"
    assert done == [BATCHES[1], BATCHES[0]]


def test_an_error_of_prefetched_work_is_raised_by_its_result(made):
    def work(_):
        raise ValueError("bad event")

    pool = made(work)
    pool.begin(BATCHES[0])
    with pytest.raises(ValueError, match="bad event"):
        pool.result(BATCHES[0])()


def test_discarded_batches_are_freed_and_not_worked_on(made, monkeypatch):
    monkeypatch.setattr("rigatoni_objects.prefetch._cores", lambda: 1)
    started, busy, done = threading.Event(), threading.Event(), []

    def work(events):
        started.set()
        assert busy.wait(10)
        done.append(events)

    pool = made(work)
    other = batch_of([event_document(9)], stream=Stream("p", "another"))
    void = batch_of([event_document(0)])
    for batch in (other, void):
        pool.begin(batch)
    assert started.wait(10)
    pool.discard(void.stream)
    pool.discard(void.stream)
    assert not holders(void), "although the thread is still busy with another batch"
    pool.begin(void)
    assert pool.result(void) is not None
    assert not holders(void, but=partial), "only the returned function holds it"
    busy.set()
    pool.result(other)()
    pool.begin(other)
    pool.result(other)()  # everything before it in the queue has been handled
    assert done == [other, other]


def holders(batch, but=()):
    return [it for it in gc.get_referrers(batch) if isinstance(it, tuple | list | partial) and not isinstance(it, but)]


def test_at_the_thread_limit_work_runs_on_the_calling_thread(made, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("can't start new thread")

    pool = made(lambda _: threading.current_thread())
    monkeypatch.setattr("rigatoni_core.api.executor.Thread.start", refuse)
    pool.begin(BATCHES[0])
    assert pool.result(BATCHES[0])() is threading.current_thread()


def test_after_closing_work_runs_on_the_calling_thread(made):
    pool = made(lambda _: threading.current_thread())
    pool.begin(BATCHES[0])
    pool.close()
    assert pool.result(BATCHES[0])() is threading.current_thread()


def test_while_all_cores_are_busy_nothing_is_prefetched(made, monkeypatch):
    monkeypatch.setattr("rigatoni_objects.prefetch._cores", lambda: 2)
    together, busy = threading.Barrier(3, timeout=10), threading.Event()

    def work(events):
        if events in BATCHES[:2]:
            together.wait()
            assert busy.wait(10)
        return threading.current_thread()

    pool = made(work)
    turns = [threading.Thread(target=pool.result(batch)) for batch in BATCHES[:2]]
    for turn in turns:
        turn.start()
    together.wait()
    pool.begin(BATCHES[2])
    assert pool.result(BATCHES[2])() is threading.current_thread()
    busy.set()
    for turn in turns:
        turn.join()
    pool.begin(BATCHES[3])
    while pool.begin(BATCHES[4]) is None and (found := pool.result(BATCHES[4])()) is threading.current_thread():
        pass  # no thread had started it yet
    assert found.name == "test prefetch"
