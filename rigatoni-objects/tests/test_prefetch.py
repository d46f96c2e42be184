"""Work that is begun before its turn: the same results, whoever does it, and never more than is kept."""

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
        opened.append(PrefetchPool("test early", work))
        return opened[-1]

    yield make
    for early in opened:
        early.close()


def test_what_was_begun_is_done_once_on_another_thread(made):
    threads = []

    def work(events):
        threads.append(threading.current_thread().name)
        return len(events)

    early = made(work)
    early.begin(BATCHES[0])
    while not threads:
        pass
    assert early.result(BATCHES[0])() == 1
    assert threads == ["test early"]


def test_what_was_not_begun_is_done_by_whoever_asks(made):
    early = made(lambda _: threading.current_thread())
    early.begin(BATCHES[0])
    assert early.result(BATCHES[1])() is threading.current_thread()
    equal = batch_of([event_document(0)])
    assert early.result(equal)() is threading.current_thread(), "another batch, though it is equal"


def test_what_no_thread_was_free_for_is_done_by_whoever_asks(made, monkeypatch):
    monkeypatch.setattr("rigatoni_objects.prefetch._cores", lambda: 1)
    started, busy, done = threading.Event(), threading.Event(), []

    def work(events):
        if events is BATCHES[0]:
            started.set()
            assert busy.wait(10)
        done.append(events)
        return threading.current_thread()

    early = made(work)
    early.begin(BATCHES[0])
    assert started.wait(10)
    early.begin(BATCHES[1])
    assert early.result(BATCHES[1])() is threading.current_thread()
    waits = early.result(BATCHES[0])
    busy.set()
    assert waits().name == "test early"
    assert done == [BATCHES[1], BATCHES[0]]


def test_what_fails_early_fails_when_its_turn_comes(made):
    def work(_):
        raise ValueError("bad event")

    early = made(work)
    early.begin(BATCHES[0])
    with pytest.raises(ValueError, match="bad event"):
        early.result(BATCHES[0])()


def test_what_is_discarded_is_let_go_and_not_done_any_more(made, monkeypatch):
    monkeypatch.setattr("rigatoni_objects.prefetch._cores", lambda: 1)
    started, busy, done = threading.Event(), threading.Event(), []

    def work(events):
        started.set()
        assert busy.wait(10)
        done.append(events)

    early = made(work)
    other = batch_of([event_document(9)], stream=Stream("p", "another"))
    void = batch_of([event_document(0)])
    for batch in (other, void):
        early.begin(batch)
    assert started.wait(10)
    early.discard(void.stream)
    early.discard(void.stream)
    assert not holders(void), "though the thread is still busy with another one"
    early.begin(void)
    assert early.result(void) is not None
    assert not holders(void, but=partial), "whoever asked has it now"
    busy.set()
    early.result(other)()
    early.begin(other)
    early.result(other)()  # whatever was before it in the queue is done with
    assert done == [other, other]


def holders(batch, but=()):
    return [it for it in gc.get_referrers(batch) if isinstance(it, tuple | list | partial) and not isinstance(it, but)]


def test_where_no_more_threads_are_allowed_all_is_done_by_whoever_asks(made, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("can't start new thread")

    early = made(lambda _: threading.current_thread())
    monkeypatch.setattr("rigatoni_core.api.executor.Thread.start", refuse)
    early.begin(BATCHES[0])
    assert early.result(BATCHES[0])() is threading.current_thread()


def test_after_closing_everything_is_done_by_whoever_asks(made):
    early = made(lambda _: threading.current_thread())
    early.begin(BATCHES[0])
    early.close()
    assert early.result(BATCHES[0])() is threading.current_thread()


def test_while_all_cores_have_work_nothing_is_begun_early(made, monkeypatch):
    monkeypatch.setattr("rigatoni_objects.prefetch._cores", lambda: 2)
    together, busy = threading.Barrier(3, timeout=10), threading.Event()

    def work(events):
        if events in BATCHES[:2]:
            together.wait()
            assert busy.wait(10)
        return threading.current_thread()

    early = made(work)
    turns = [threading.Thread(target=early.result(batch)) for batch in BATCHES[:2]]
    for turn in turns:
        turn.start()
    together.wait()
    early.begin(BATCHES[2])
    assert early.result(BATCHES[2])() is threading.current_thread()
    busy.set()
    for turn in turns:
        turn.join()
    early.begin(BATCHES[3])
    while early.begin(BATCHES[4]) is None and (found := early.result(BATCHES[4])()) is threading.current_thread():
        pass  # no thread had come to it yet
    assert found.name == "test early"
