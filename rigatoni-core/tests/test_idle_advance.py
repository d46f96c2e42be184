"""An idle advance never overtakes an undelivered event, wherever the heartbeat comes and whenever the worker leaves."""

import asyncio

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.batch import Heartbeat
from rigatoni_core.api.bus import listening
from rigatoni_core.api.contracts import Prefetching
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import BatchRead, BatchWritten, CaughtUp, CheckpointSaved, ReplyRead
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.assignment import Share
from rigatoni_core.engine.worker import Worker
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import Log, RecordingDestination, ScriptedSource

STREAM = Stream("p", "a.b")


@attrs.define(kw_only=True)
class PrefetchingDestination(RecordingDestination, Prefetching):
    def prepare(self, events):
        pass

    def discard(self, stream):
        pass


class Talkative(ScriptedSource):
    """Sends a heartbeat after each of its replies, as a server does whose replies carry post-batch tokens."""

    async def read(self, stream, *, after):
        async for item in ScriptedSource.read(self, stream, after=after):
            yield item
            if not isinstance(item, Heartbeat):
                log = self.logs[stream.name]
                yield self._heartbeat(log, self._mark(log, self._index(log, item.end)), self._index(log, item.end))


class Watch:
    """Compares every saved position with what was written before. `act` is called at notice `at` of reading."""

    def __init__(self, log, destination, at=None, act=None):
        self.log, self.destination, self.at, self.act = log, destination, at, act
        self.read = 0
        self.saved = []

    def notify(self, notice):
        if isinstance(notice, (ReplyRead, BatchRead, CaughtUp)):
            self.read += 1
            if self.read == self.at:
                self.act()
        if isinstance(notice, CheckpointSaved):
            token = notice.position.resume_token
            place = int(token[5:]) if token.startswith("mark:") else self.log.tokens.index(token) + 1
            assert place <= len(self.destination.tokens), "the checkpoint is ahead of what is durable"
            self.saved.append(place)


def worker(log, state, destination, *, once, **limits):
    limits = Settings(**{"batch_size": 3, "batch_timeout": 1.0, **limits})
    return Worker(
        STREAM,
        source=Talkative(logs={"a.b": log}, start=0, reply_events=3),
        destination=destination,
        state=state,
        settings=limits,
        owner="one",
        share=Share("p", 1, state, "one", limits),
        once=once,
    )


@settings(max_examples=100, deadline=None)
@given(
    events=st.integers(1, 20),
    reply=st.integers(1, 7),
    size=st.integers(1, 7),
    interval=st.sampled_from([0.0, 1.0, 1000.0]),
    seconds=st.sampled_from([0.0, 0.3, 2.0]),
    leaves=st.sampled_from(["once", "hands its stream over", "stops"]),
    at=st.integers(1, 12),
)
@pytest.mark.filterwarnings("error")
def test_no_checkpoint_passes_unwritten_events_whenever_the_worker_leaves(
    events, reply, size, interval, seconds, leaves, at
):
    async def main():
        log, state = Log(), MemoryStateStore()
        log.grow(events)
        destination = PrefetchingDestination(seconds=seconds)
        limits = {"batch_size": size, "idle_advance_interval": interval}
        running = worker(log, state, destination, once=leaves == "once", **limits)
        running.source.reply_events = reply
        watch = Watch(log, destination, at, {"stops": running.stop}.get(leaves, lambda: None))
        if leaves == "hands its stream over":
            watch.act = lambda: setattr(running.lease, "yielded", True)
        with listening([watch]):
            task = asyncio.create_task(running.run())
            await asyncio.wait([task], timeout=200)
            running.stop()
            await task
        again = worker(log, state, destination, once=True, **limits)
        with listening([Watch(log, destination)]):
            await again.run()
        assert destination.tokens == log.tokens

    run_virtual(main())


def test_a_stream_is_handed_over_between_a_batch_and_the_heartbeat_after_the_next_one():
    """The second batch is prepared, and the heartbeat after it has come, while the first one is in flight."""

    async def main():
        log, state = Log(), MemoryStateStore()
        log.grow(6)
        destination = PrefetchingDestination(seconds=2.0)
        running = worker(log, state, destination, once=False)
        written = []

        class HandOver:
            def notify(self, notice):
                if isinstance(notice, BatchWritten) and not written:
                    assert running._batches._buffer.formed
                    assert running._batches._buffer.heartbeat is not None
                    written.append(notice)
                    running.lease.yielded = True

        watch = Watch(log, destination)
        with listening([HandOver(), watch]):
            task = asyncio.create_task(running.run())
            await asyncio.sleep(2.5)
            running.stop()
            await task
        assert destination.tokens == log.tokens[: len(destination.tokens)]
        assert watch.saved[-1] == len(destination.tokens)

    run_virtual(main())
