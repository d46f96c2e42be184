"""Several instances of a pipeline share its streams: on the virtual clock, in one store."""

import asyncio
import itertools
from typing import Any

import pytest
from rigatoni_core.api.errors import DestinationError, StateStoreError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.assignment import Share
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import Log, RecordingDestination, ScriptedSource

STREAMS = [f"a.{number}" for number in range(7)]


class Instances:
    """Instances with the same logs, store and destination, by name."""

    def __init__(self, store: Any = None):
        self.logs = {name: Log() for name in STREAMS}
        self.store = store or MemoryStateStore()
        self.destination = RecordingDestination()
        self.running = {}

    def start(self, name, once=False, destination=None):
        pipeline = Pipeline(
            name="p",
            source=ScriptedSource(logs=self.logs, start=0),
            destination=destination or self.destination,
            state=self.store,
            owner=name,
            settings=Settings(batch_timeout=0.5),
        )
        self.running[name] = (pipeline, asyncio.create_task(pipeline.run(once=once)))

    async def stop(self, name):
        pipeline, task = self.running.pop(name)
        pipeline.stop()
        assert (await task).ok

    async def die(self, name):
        """Nothing is released, nothing is said."""
        _, task = self.running.pop(name)
        leases, instances = dict(self.store._leases), {key: dict(who) for key, who in self.store._instances.items()}
        task.cancel()
        await asyncio.wait([task])
        self.store._leases, self.store._instances = leases, instances

    def held(self):
        """How many streams each runs, by its own account."""
        return {
            name: sum(figures.state == "running" for figures in pipeline.statistics.streams.values())
            for name, (pipeline, _) in self.running.items()
        }

    async def work(self, seconds):
        for _ in range(seconds):
            for log in self.logs.values():
                log.grow(1)
            await asyncio.sleep(1)

    def check(self):
        """Every event of every stream, once and in order (the destination is at-least-once: so none was repeated)."""
        for log in self.logs.values():
            tokens = set(log.tokens)
            assert [token for token in self.destination.tokens if token in tokens] == log.tokens


@pytest.fixture(autouse=True)
def _distinct_tokens(monkeypatch):
    """Events of different logs differ, so that they can be told apart at the one destination."""
    numbers = itertools.count()

    def grow(self, count):
        from rigatoni_testing.batches import event_document

        self.append(*(event_document(next(numbers)) for _ in range(count)))

    monkeypatch.setattr(Log, "grow", grow)


def test_streams_are_shared_with_instances_that_come_later_and_go_back_when_they_leave():
    async def main():
        instances = Instances()
        instances.start("one")
        await instances.work(3)
        assert instances.held() == {"one": 7}
        instances.start("two")
        await instances.work(22)
        assert instances.held() == {"one": 4, "two": 3}
        instances.start("three")
        await instances.work(40)
        assert sorted(instances.held().values()) == [1, 3, 3]
        await instances.stop("one")
        await instances.work(16)
        assert sorted(instances.held().values()) == [3, 4]
        await instances.stop("two")
        await instances.work(16)
        assert instances.held() == {"three": 7}
        await asyncio.sleep(3)
        instances.check()
        await instances.stop("three")

    run_virtual(main())


def test_I4_the_streams_of_a_dead_instance_are_taken_over_in_time_although_others_have_their_part():
    async def main():
        instances = Instances()
        instances.start("one")
        instances.start("two")
        await instances.work(60)
        assert sorted(instances.held().values()) == [3, 4]
        await instances.die("one")
        died = asyncio.get_running_loop().time()
        settings = Settings()
        while instances.held() != {"two": 7}:
            await asyncio.sleep(0.5)
            assert asyncio.get_running_loop().time() - died <= settings.lease_ttl + settings.lease_retry_interval + 2
        await instances.work(3)
        await instances.stop("two")

    run_virtual(main())


def test_nothing_moves_once_the_parts_are_fair():
    async def main():
        instances = Instances()
        for name in ("one", "two", "three"):
            instances.start(name)
        await instances.work(120)
        tokens = dict(instances.store._fencing_tokens)
        await instances.work(200)
        assert instances.store._fencing_tokens == tokens
        instances.check()
        for name in list(instances.running):
            await instances.stop(name)

    run_virtual(main())


def test_an_instance_that_runs_once_ends_although_it_has_too_many_streams():
    async def main():
        instances = Instances()
        instances.start("one")
        await instances.work(3)
        instances.start("once", once=True)
        _, task = instances.running["once"]
        await instances.work(5)
        await instances.stop("one")
        async with asyncio.timeout(100):
            assert (await task).ok
        instances.check()

    run_virtual(main())


def test_a_store_that_can_not_count_leaves_the_streams_where_they_are():
    class Down(StateStoreError, Transient):
        pass

    class Uncountable(MemoryStateStore):
        async def heartbeat(self, pipeline, *, owner, ttl):
            raise Down("no")

    async def main():
        instances = Instances(Uncountable())
        instances.start("one")
        instances.start("two")
        await instances.work(60)
        assert sorted(instances.held().values()) == [0, 7]
        instances.check()
        for name in list(instances.running):
            await instances.stop(name)

    run_virtual(main())


def test_an_instance_that_can_not_work_keeps_no_stream_from_one_that_can():
    class Broken(DestinationError, Transient):
        pass

    async def main():
        instances = Instances()
        instances.start("one")
        await instances.work(3)
        instances.start("broken", destination=RecordingDestination(before=[Broken("no")] * 10_000))
        await instances.work(60)
        assert instances.held()["one"] == 4  # nobody knows yet
        await instances.work(400)
        assert instances.held() == {"one": 7, "broken": 0}
        tokens = dict(instances.store._fencing_tokens)
        await instances.work(300)
        assert instances.store._fencing_tokens == tokens
        instances.check()
        for name in list(instances.running):
            await instances.stop(name)

    run_virtual(main())


def test_one_streams_success_never_clears_anothers_failure_nor_its_failure_anothers_turn():
    async def main():
        share = Share("p", 4, (store := MemoryStateStore()), "one", Settings())
        await store.heartbeat("p", owner="two", ttl=1000)
        await share.count()
        good, bad, free = (Stream("p", name) for name in ("a.good", "a.bad", "a.free"))
        assert share.turn(free) == 1
        share.take(good)
        share.take(bad)
        share.drop(bad)
        share.failed(bad)
        assert [share.turn(stream) for stream in (good, bad, free)] == [4, 4, 4], "nothing works here yet"
        share.delivered(good)
        assert [share.turn(stream) for stream in (good, bad, free)] == [1, 4, 1]
        share.delivered(bad)
        assert share.turn(bad) == 1
        share.failed(bad)
        share.drop(good)
        assert share.turn(free) == 4, "what worked here is elsewhere now"

    run_virtual(main())


def test_no_handover_is_requested_of_a_stream_that_failed_here():
    async def main():
        share = Share("p", 4, (store := MemoryStateStore()), "one", Settings())
        good, bad = Stream("p", "a.good"), Stream("p", "a.bad")
        share.take(good)
        share.delivered(good)
        share.failed(bad)
        for stream in (good, bad):
            await share.request_handover(stream)
        assert [await store.handover_requested(stream) for stream in (good, bad)] == [True, False]

    run_virtual(main())


def test_a_stream_that_only_one_instance_can_run_stays_there():
    """The other's worker failed for good; the instance is still there for its other streams, and counted."""

    class Fatal(DestinationError):
        pass

    class Picky(RecordingDestination):
        async def write_batch(self, events):
            if events.stream.name in STREAMS[:5]:
                raise Fatal("not this one")
            return await super().write_batch(events)

    async def main():
        instances = Instances()
        instances.start("picky", destination=(picky := Picky()))
        instances.start("one")
        await instances.work(120)
        tokens = dict(instances.store._fencing_tokens)
        await instances.work(200)
        assert instances.store._fencing_tokens == tokens
        assert instances.held()["one"] >= 5
        assert sum(instances.held().values()) == 7
        instances.destination.batches += picky.batches
        assert sorted(instances.destination.tokens) == sorted(
            token for log in instances.logs.values() for token in log.tokens
        )
        for name in list(instances.running):
            await instances.stop(name) if name == "one" else instances.running[name][1].cancel()

    run_virtual(main())


def test_a_store_that_hangs_does_not_hold_up_an_end_at_once():
    async def main():
        class Hanging(MemoryStateStore):
            hangs = False

            async def heartbeat(self, pipeline, *, owner, ttl):
                if self.hangs:
                    await asyncio.Event().wait()
                return await super().heartbeat(pipeline, owner=owner, ttl=ttl)

        instances = Instances(Hanging())
        instances.start("one")
        await instances.work(3)
        instances.store.hangs = True
        pipeline, task = instances.running["one"]
        asked = asyncio.get_running_loop().time()
        pipeline.stop()
        pipeline.stop()
        await task
        assert asyncio.get_running_loop().time() - asked < 1

    run_virtual(main())
