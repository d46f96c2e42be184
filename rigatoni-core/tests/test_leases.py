"""Leases and fencing tokens: exclusive, taken over, never overwritten by a former owner."""

import asyncio
from contextlib import suppress

import attrs
import pytest
from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.errors import DestinationError, LeaseLostError, StateStoreError, Transient
from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import LeaseLost, LeaseNotRenewed, RepeatsPossible, WorkerStarted
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import HANG, FlakyStateStore, Log, RecordingDestination, ScriptedSource

STREAM = Stream("p", "a.b")


class StoreDownError(StateStoreError, Transient):
    pass


def checkpoint(token="t", fencing_token=0):
    return Checkpoint(Position(ResumeToken(token), "f"), 1, fencing_token)


def pipeline(log, destination, state, owner, listeners=(), **settings):
    return Pipeline(
        listeners=listeners,
        name="p",
        source=ScriptedSource(logs={"a.b": log}, start=0),
        destination=destination,
        state=state,
        owner=owner,
        settings=Settings(batch_timeout=1.0, **settings),
    )


def log_of(count):
    log = Log()
    log.grow(count)
    return log


def lose(store):
    """As a server that was emptied: everything, grants included."""
    for memory in (store._checkpoints, store._cleared, store._leases, store._fencing_tokens):
        memory.clear()


def test_I1_memory_keeps_what_was_saved_and_forgets_what_was_cleared():
    async def main():
        store = MemoryStateStore()
        assert await store.load_resume_token(STREAM) is None
        saved = checkpoint("ü" * 100_000)
        await store.save_resume_token(STREAM, saved)
        assert await store.load_resume_token(STREAM) == saved
        assert await store.load_resume_token(Stream("p", "a.c")) is None
        await store.clear_resume_token(STREAM)
        assert await store.load_resume_token(STREAM) is None

    run_virtual(main())


def test_I2_a_lease_is_exclusive_expires_and_no_stranger_releases_it():
    async def main():
        store = MemoryStateStore()
        first = await store.acquire(STREAM, owner="one", ttl=30)
        assert first is not None
        assert await store.acquire(STREAM, owner="two", ttl=30) is None
        await asyncio.sleep(20)
        first = await store.renew(first, ttl=30)
        await asyncio.sleep(20)
        assert await store.acquire(STREAM, owner="two", ttl=30) is None
        await asyncio.sleep(11)
        second = await store.acquire(STREAM, owner="two", ttl=30)
        assert second is not None
        assert second.fencing_token > first.fencing_token
        await store.release(first)
        assert await store.acquire(STREAM, owner="three", ttl=30) is None
        with pytest.raises(LeaseLostError):
            await store.renew(first, ttl=30)

    run_virtual(main())


def test_Z8_a_former_owner_can_not_overwrite_a_newer_checkpoint():
    async def main():
        store = MemoryStateStore()
        first = await store.acquire(STREAM, owner="one", ttl=1)
        await asyncio.sleep(2)
        second = await store.acquire(STREAM, owner="two", ttl=30)
        await store.save_resume_token(STREAM, checkpoint("new", second.fencing_token))
        with pytest.raises(LeaseLostError):
            await store.save_resume_token(STREAM, checkpoint("old", first.fencing_token))
        with pytest.raises(LeaseLostError):
            await store.clear_resume_token(STREAM, fencing_token=first.fencing_token)
        assert (await store.load_resume_token(STREAM)).position.resume_token == "new"

    run_virtual(main())


def test_Z6_a_worker_whose_lease_was_lost_does_not_write_again():
    async def main():
        class Forgetful(FlakyStateStore):
            async def renew(self, lease, *, ttl):
                self._leases["p/a.b"] = lease.__class__(STREAM, "two", 99, 1e9)
                self._fencing_tokens["p/a.b"] = 99
                raise LeaseLostError("the store says no")

        log, store, destination = log_of(3), Forgetful(), RecordingDestination()
        running = pipeline(log, destination, store, "one", lease_ttl=9.0, lease_renew_interval=3.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(2)
        assert destination.tokens == log.tokens[:3]
        await asyncio.sleep(1.5)
        log.grow(5)
        await asyncio.sleep(60)
        assert destination.tokens == log.tokens[:3]
        assert running.statistics.streams["a.b"].state == "standby"
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_a_standby_whose_store_can_not_be_asked_for_a_while_stands_by_again():
    async def main():
        class Store(FlakyStateStore):
            down = False

            async def acquire(self, stream, *, owner, ttl):
                if self.down and owner == "two":
                    raise StoreDownError("no answer")
                return await super().acquire(stream, owner=owner, ttl=ttl)

        log, store = log_of(3), Store()
        first = pipeline(log, RecordingDestination(), store, "one")
        second = pipeline(log, RecordingDestination(), store, "two")
        tasks = [asyncio.create_task(first.run()), asyncio.create_task(second.run())]
        await asyncio.sleep(20)
        state = lambda: second.statistics.streams["a.b"].state  # noqa: E731
        assert state() == "standby"
        store.down = True
        await asyncio.sleep(20)
        assert state() == "retrying"
        store.down = False
        await asyncio.sleep(30)
        assert state() == "standby"
        first.stop()
        second.stop()
        assert all(report.ok for report in await asyncio.gather(*tasks))

    run_virtual(main())


def test_Z7_a_stream_is_taken_over_when_its_owner_dies():
    async def main():
        log, store = log_of(10), FlakyStateStore()
        first, second = RecordingDestination(), RecordingDestination()
        one = asyncio.create_task(pipeline(log, first, store, "one").run())
        await asyncio.sleep(2)
        two_pipeline = pipeline(log, second, store, "two")
        two = asyncio.create_task(two_pipeline.run())
        await asyncio.sleep(60)
        assert first.tokens == log.tokens
        assert second.tokens == []
        lease = store._leases["p/a.b"]
        one.cancel()
        await asyncio.wait([one])
        store._leases["p/a.b"] = lease  # a killed process releases nothing
        log.grow(7)
        died = asyncio.get_running_loop().time()
        while len(second.tokens) < 7:
            await asyncio.sleep(0.5)
        assert second.tokens == log.tokens[10:]
        assert asyncio.get_running_loop().time() - died <= 30 + 5 + 2
        two_pipeline.stop()
        assert (await two).ok

    run_virtual(main())


def test_I3_an_owner_that_was_paused_beyond_its_lease_stops_before_its_next_write():
    async def main():
        class Silent(FlakyStateStore):
            async def renew(self, lease, *, ttl):
                await asyncio.Event().wait()

        log, destination, store = log_of(3), RecordingDestination(), Silent()
        running = pipeline(log, destination, store, "one", lease_ttl=9.0, lease_renew_interval=3.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(2)
        while await store.acquire(STREAM, owner="two", ttl=1000) is None:
            await asyncio.sleep(0.01)
        log.grow(5)
        await asyncio.sleep(60)
        assert destination.tokens == log.tokens[:3]
        running.stop()
        await task

    run_virtual(main())


def test_a_hanging_destination_keeps_its_lease_while_it_is_renewed():
    async def main():
        log, store = log_of(3), FlakyStateStore()
        running = pipeline(log, RecordingDestination(before=[HANG]), store, "one", write_timeout=500.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(200)
        assert await store.acquire(STREAM, owner="two", ttl=30) is None
        running.stop()
        await task

    run_virtual(main())


class Heard(Listener):
    """Keeps every notice."""

    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)

    def of(self, kind):
        return [notice for notice in self.notices if isinstance(notice, kind)]


def test_Z7_an_idle_worker_that_lost_its_lease_stands_by_for_it_again():
    async def main():
        log, store = log_of(3), FlakyStateStore()
        running = pipeline(log, RecordingDestination(), store, "one", lease_ttl=9.0, lease_renew_interval=3.0)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(2)
        del store._leases["p/a.b"]
        assert await store.acquire(STREAM, owner="two", ttl=20) is not None
        await asyncio.sleep(5)
        assert running.statistics.streams["a.b"].state == "standby"
        await asyncio.sleep(21)
        assert running.statistics.streams["a.b"].state == "running"
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_a_failed_renewal_is_retried_soon_and_reported():
    async def main():
        class Down(FlakyStateStore):
            faults = 2

            async def renew(self, lease, *, ttl):
                if self.faults:
                    self.faults -= 1
                    raise StoreDownError("no answer")
                return await FlakyStateStore.renew(self, lease, ttl=ttl)

        log, store, heard, destination = log_of(3), Down(), Heard(), RecordingDestination()
        running = pipeline(log, destination, store, "one", listeners=(heard,))
        task = asyncio.create_task(running.run())
        await asyncio.sleep(200)
        told = heard.of(LeaseNotRenewed)
        assert [notice.remaining for notice in told] == pytest.approx([20, 15], abs=0.1)
        assert not heard.of(LeaseLost)
        assert await store.acquire(STREAM, owner="two", ttl=30) is None
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_I3_a_store_that_stays_away_beyond_the_deadline_costs_the_lease_once():
    async def main():
        class Away(FlakyStateStore):
            away = False

            async def renew(self, lease, *, ttl):
                if self.away:
                    raise StoreDownError("no answer")
                return await FlakyStateStore.renew(self, lease, ttl=ttl)

            async def acquire(self, stream, *, owner, ttl):
                if self.away:
                    raise StoreDownError("no answer")
                return await FlakyStateStore.acquire(self, stream, owner=owner, ttl=ttl)

        log, store, heard, destination = log_of(3), Away(), Heard(), RecordingDestination()
        running = pipeline(log, destination, store, "one", listeners=(heard,))
        task = asyncio.create_task(running.run())
        await asyncio.sleep(2)
        store.away = True
        await asyncio.sleep(40)
        log.grow(5)
        await asyncio.sleep(60)
        assert destination.tokens == log.tokens[:3]
        assert len(heard.of(LeaseLost)) == 1
        store.away = False
        await asyncio.sleep(60)
        assert destination.tokens == log.tokens
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_a_bug_in_a_lease_keeper_stops_its_worker_and_is_not_swallowed():
    async def main():
        class Buggy(FlakyStateStore):
            async def renew(self, lease, *, ttl):
                raise KeyError("a bug")

        running = pipeline(log_of(3), RecordingDestination(), Buggy(), "one")
        outcome = (await running.run()).workers["a.b"]
        assert isinstance(outcome.error, KeyError)

    run_virtual(main())


def test_a_hanging_lease_keeper_does_not_hold_up_the_end():
    async def main():
        class Hanging(FlakyStateStore):
            async def renew(self, lease, *, ttl):
                while True:  # it does not even let go when it is cancelled
                    with suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()

            async def release(self, lease):
                await asyncio.Event().wait()

        running = pipeline(log_of(3), RecordingDestination(), Hanging(), "one")
        task = asyncio.create_task(running.run())
        await asyncio.sleep(15)
        asked = asyncio.get_running_loop().time()
        running.stop()
        assert (await task).ok
        assert asyncio.get_running_loop().time() - asked <= 2 * Settings().lease_retry_interval + 1
        for other in asyncio.all_tasks() - {asyncio.current_task()}:
            other.get_coro().close()  # the one that nothing ends

    run_virtual(main())


def test_a_store_that_loses_its_data_during_a_run_does_not_make_the_stream_start_fresh():
    async def main():
        log, store, heard, destination = log_of(3), FlakyStateStore(), Heard(), RecordingDestination()
        running = pipeline(log, destination, store, "one", listeners=(heard,))
        running.source.start = None  # a fresh stream begins at the log's end
        task = asyncio.create_task(running.run())
        await asyncio.sleep(2)
        log.grow(5)
        await asyncio.sleep(3)
        assert destination.tokens == log.tokens[3:]
        lose(store)
        lost = asyncio.get_running_loop().time()
        while not heard.of(LeaseLost):
            await asyncio.sleep(0.01)
        log.grow(5)  # before the worker has the lease again
        while len(heard.of(WorkerStarted)) < 2:
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        assert asyncio.get_running_loop().time() - lost < 60
        assert destination.tokens == log.tokens[3:]
        assert len(heard.of(RepeatsPossible)) == 1
        running.stop()
        assert (await task).ok

    run_virtual(main())


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("hands", ["cleared", "set back"])
def test_a_worker_never_undoes_what_a_manual_repair_saved(hands, lost):
    async def main():
        log, store, destination = log_of(3), FlakyStateStore(), RecordingDestination()
        running = pipeline(log, destination, store, "one")
        running.source.start = None
        task = asyncio.create_task(running.run())
        await asyncio.sleep(2)
        first = await store.load_resume_token(STREAM)
        log.grow(5)
        await asyncio.sleep(3)
        assert destination.tokens == log.tokens[3:]
        if lost:
            lose(store)
        store._leases.pop("p/a.b", None)
        hand = await store.acquire(STREAM, owner="hand", ttl=30)
        if hands == "cleared":
            await store.clear_resume_token(STREAM, fencing_token=hand.fencing_token)
        else:
            await store.save_resume_token(STREAM, attrs.evolve(first, fencing_token=hand.fencing_token))
        await asyncio.sleep(15)
        await store.release(hand)
        log.grow(2)
        await asyncio.sleep(20)
        log.grow(1)
        await asyncio.sleep(5)
        expected = log.tokens[3:8] + (log.tokens[10:] if hands == "cleared" else log.tokens[3:])
        assert destination.tokens == expected
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_a_renewal_that_comes_back_after_it_was_given_up_brings_no_old_lease_back():
    class BusyError(DestinationError, Transient):
        pass

    async def main():
        class Late(FlakyStateStore):
            answered = None

            async def renew(self, lease, *, ttl):
                if self.answered is not None:
                    return await FlakyStateStore.renew(self, lease, ttl=ttl)
                self.answered = asyncio.Event()
                while not self.answered.is_set():  # it does not let go when it is cancelled
                    with suppress(asyncio.CancelledError):
                        await self.answered.wait()
                return lease

        log, store = log_of(3), Late()
        destination = RecordingDestination(before=[None, BusyError("busy")])
        running = pipeline(log, destination, store, "one", retry=RetrySettings(max_retries=0))
        task = asyncio.create_task(running.run())
        await asyncio.sleep(11)
        first = store._fencing_tokens["p/a.b"]
        log.grow(1)  # fails: the worker leaves the stream while its renewal hangs, and enters again
        while store._fencing_tokens["p/a.b"] == first:
            await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() < 20
        store.answered.set()
        await asyncio.sleep(1)
        log.grow(1)
        await asyncio.sleep(5)
        assert destination.tokens == log.tokens
        assert [save.fencing_token for save in store.saves][-2:] == [store._fencing_tokens["p/a.b"]] * 2
        running.stop()
        assert (await task).ok

    run_virtual(main())


def test_another_owner_who_saved_nothing_sends_no_worker_back():
    """The token of a grant jumps; only the token of a stored record shows that others decided anything."""

    async def main():
        log, store, destination = log_of(3), FlakyStateStore(), RecordingDestination()
        store.save_faults += [None, StoreDownError("full")]  # the anchor is saved, what was delivered is not
        running = pipeline(log, destination, store, "one")
        task = asyncio.create_task(running.run())
        await asyncio.sleep(3)
        assert destination.tokens == log.tokens
        del store._leases["p/a.b"]
        other = await store.acquire(STREAM, owner="two", ttl=30)
        await asyncio.sleep(15)
        await store.release(other)
        log.grow(2)
        await asyncio.sleep(20)
        assert destination.tokens == log.tokens  # the store held the anchor, and memory won
        running.stop()
        await task

    run_virtual(main())


def test_a_save_whose_response_was_lost_is_known_as_the_workers_own():
    async def main():
        store, tokens = FlakyStateStore(), []
        keeper = CheckpointKeeper(STREAM, store, Settings(), lambda: tokens[-1])

        async def enter():
            await asyncio.sleep(1)
            tokens.append((await store.acquire(STREAM, owner="one", ttl=30)).fencing_token)
            return await keeper.load()

        def at(number):
            return Position(ResumeToken(str(number)), "f", Timestamp(1, number))

        assert await enter() is None
        await keeper.anchor(at(0))
        await enter()
        store.after_save_faults.append(StoreDownError("no response"))
        await keeper.advance(at(1), 1)  # saved, and nobody knows
        store.save_faults.append(StoreDownError("down"))
        await keeper.advance(at(2), 1)  # not saved
        assert await enter() == at(2)

    run_virtual(main())


def test_a_fresh_stream_whose_anchor_could_not_be_saved_keeps_it_although_it_was_cleared_before():
    async def main():
        store, tokens = FlakyStateStore(), [7]
        await store.clear_resume_token(STREAM, fencing_token=7)
        keeper = CheckpointKeeper(STREAM, store, Settings(), lambda: tokens[-1])
        anchor = Position(ResumeToken("anchor"), "f")
        assert await keeper.load() is None
        store.save_faults.append(StoreDownError("down"))
        with pytest.raises(StoreDownError):
            await keeper.anchor(anchor)
        assert await keeper.load() == anchor

    run_virtual(main())
