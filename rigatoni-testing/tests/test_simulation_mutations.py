"""Mutation tests of the simulator: it must catch each deliberate bug in time.

A mutation replaces code for one test. It survives if no schedule of the budget breaks a guarantee; then the simulator
is at fault, not the code.
"""

import asyncio
import itertools
import time
from unittest import mock

import attrs
import pytest
from rigatoni_core.api.batch import Heartbeat
from rigatoni_core.api.errors import CorruptCheckpointError
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.batcher import Batcher
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_core.engine.delivery import Delivery
from rigatoni_core.engine.event_buffer import EventBuffer
from rigatoni_core.engine.leases import LeaseHolder
from rigatoni_core.engine.rejection_policy import RejectionPolicy
from rigatoni_core.engine.shutdown import Shutdown
from rigatoni_core.engine.worker import Worker
from rigatoni_objects.chain import Chain
from rigatoni_objects.listing import Listing
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_testing.simulation.bucket import Bucket
from rigatoni_testing.simulation.schedule import Life, ObjectLayout, random_schedule
from rigatoni_testing.simulation.world import Parts, simulate

SECONDS = 60.0


def two_definitions(seed):
    """Returns a random schedule in which two owners without leases overlap, the later one with a changed definition."""
    schedule = random_schedule(seed)
    return attrs.evolve(
        schedule,
        keeps_chain=True,
        keeps_leases=False,
        layout=ObjectLayout.ONE,
        carries_records=True,
        faults=tuple(fault for fault in schedule.faults if fault.life < 2),
        happenings=(),
        lives=(
            Life(0.0, 70.0, batch_size=3 + seed % 5, batch_timeout=1.0),
            Life(5.0 + seed % 7, 60.0, batch_size=2 + seed % 4, batch_timeout=1.0, definition=2),
        ),
    )


def caught(parts=Parts(), make=random_schedule, first=1_000_000):  # noqa: B008
    """Returns the first schedule that shows it; fails if none does within the time."""
    until = time.process_time() + SECONDS
    for seed in itertools.count(first):
        schedule = make(seed)
        if simulate(schedule, parts).violations:
            return schedule
        assert time.process_time() < until, f"survived {seed - first + 1} schedules"
    raise AssertionError


def mutated(where, name, make):
    """Replace a method with the result of `make`."""
    return mock.patch.object(where, name, make(getattr(where, name)))


# --- of the worker, the batcher, the checkpoint, the lease


def save_before_write(delivery):
    def mutant(self, batch):
        delivered = delivery(self, batch)

        async def deliver():
            await self.checkpoint.advance(batch.end, batch.read)
            return await delivered()

        return deliver

    return mutant


def forget_to_realign(deliver):
    async def mutant(self):
        await deliver(self)

    return mutant


def take_a_failed_write_for_done(deliver):
    async def mutant(self):
        try:
            return await deliver(self)
        except TimeoutError:
            return None
        except Exception as error:
            if getattr(error, "transient", False):
                return None
            raise

    return mutant


def drop_the_batch_on_stop(delivery):
    def mutant(self, batch):
        delivered = delivery(self, batch)

        async def deliver():
            return None if self.shutdown.requested else await delivered()

        return deliver

    return mutant


def keep_no_letters(settle):
    async def mutant(self, batch, rejected, attempt):
        return None

    return mutant


def take_an_unwritten_letter_for_kept(keep):
    async def mutant(self, batch, index, reason, attempt):
        try:
            await keep(self, batch, index, reason, attempt)
        except Exception as error:
            if not getattr(error, "transient", False):
                raise

    return mutant


def claim_no_range_for_rejected_events(write):
    async def mutant(self, batch):
        return await write(self, batch) if len(batch) else None

    return mutant


def forget_to_flush(write):
    async def mutant(self, batch):
        self._check()
        return await self._destination.write_batch(batch)

    return mutant


def wait_for_a_write_without_limit(write):
    async def mutant(self, batch):
        self._check()
        end = await self._destination.write_batch(batch)
        if end is None:
            await self._destination.flush()
        return end

    return mutant


def retry_after_a_fatal_error(wait):
    async def mutant(self, error):
        await self.shutdown.pause(1.0)

    return mutant


def let_a_heartbeat_overtake_the_events(next_):
    def mutant(self):
        if (heartbeat := self._buffer.heartbeat) is not None:
            self._buffer._heartbeat = None
            return heartbeat
        return next_(self)

    return mutant


def let_a_heartbeat_overtake_the_formed_batch(next_):
    def mutant(self):
        if (heartbeat := self._buffer.heartbeat) is not None and self._buffer.formed:
            self._buffer._heartbeat = None
            return heartbeat
        return next_(self)

    return mutant


def lose_the_events_before_a_heartbeat(add):
    def mutant(self, item, now):
        if isinstance(item, Heartbeat) and self.events:
            self._chunks.clear()
            self.events = self.nbytes = 0
        add(self, item, now)

    return mutant


def forget_what_is_put_back(put_back):
    def mutant(self, events, arrived):
        return None

    return mutant


def read_without_bound(open_or_close):
    def mutant(self):
        self._room.set()

    return mutant


def stop_without_the_last_batch(stop):
    def mutant(self):
        stop(self)
        self._finished = True

    return mutant


def end_where_the_stream_was_left_to_others(enter):
    async def mutant(self):
        await enter(self)
        return True

    return mutant


def take_a_damaged_record_for_none(load):
    async def mutant(self):
        try:
            return await load(self)
        except CorruptCheckpointError:
            return None

    return mutant


def check_no_lease(check):
    def mutant(self):
        return None

    return mutant


def forget_the_gap(record_gap):
    async def mutant(self, gap):
        memory = self._memory
        self._memory = attrs.evolve(memory, position=gap.resumed) if memory else None
        await self._save()

    return mutant


def save_later(advance):
    async def mutant(self, end, events):
        self._memory = attrs.evolve(self._memory, position=end, events=self._memory.events + events)

    return mutant


def anchor_nothing(anchor):
    async def mutant(self, position):
        return None

    return mutant


def never_pause_to_stop(pause):
    async def mutant(self, seconds):
        await asyncio.sleep(seconds)

    return mutant


REAL = [
    (Worker, "_delivery", save_before_write),
    (Delivery, "__call__", forget_to_realign),
    (Delivery, "__call__", take_a_failed_write_for_done),
    (Worker, "_delivery", drop_the_batch_on_stop),
    (RejectionPolicy, "settle", keep_no_letters),
    (RejectionPolicy, "_keep", take_an_unwritten_letter_for_kept),
    (Delivery, "_write", claim_no_range_for_rejected_events),
    (Delivery, "_write", forget_to_flush),
    (Delivery, "_write", wait_for_a_write_without_limit),
    (Worker, "_wait_until_next_entry", retry_after_a_fatal_error),
    (Batcher, "_next", let_a_heartbeat_overtake_the_events),
    (Batcher, "_next", let_a_heartbeat_overtake_the_formed_batch),
    (EventBuffer, "add", lose_the_events_before_a_heartbeat),
    (EventBuffer, "put_back", forget_what_is_put_back),
    (Batcher, "_open_or_close", read_without_bound),
    (Batcher, "stop", stop_without_the_last_batch),
    (Worker, "_enter", end_where_the_stream_was_left_to_others),
    (CheckpointKeeper, "load", take_a_damaged_record_for_none),
    (LeaseHolder, "check", check_no_lease),
    (CheckpointKeeper, "record_gap", forget_the_gap),
    (CheckpointKeeper, "advance", save_later),
    (CheckpointKeeper, "anchor", anchor_nothing),
    (Shutdown, "pause", never_pause_to_stop),
]


@pytest.mark.parametrize(("where", "name", "make"), REAL, ids=lambda item: getattr(item, "__name__", str(item)))
def test_a_mutation_of_core_is_caught(where, name, make):
    with mutated(where, name, make):
        schedule = caught()
    assert not simulate(schedule).violations  # the schedule failed because of the mutation


# --- of a state store and of a destination: what plugins could get wrong


class IgnoresFencingTokens(MemoryStateStore):
    def _take_fence(self, stream, fencing_token):
        return None


class GrantsAHeldLease(MemoryStateStore):
    async def acquire(self, stream, *, owner, ttl):
        self._leases.pop(stream.key, None)
        return await MemoryStateStore.acquire(self, stream, owner=owner, ttl=ttl)


class CountsGrants(MemoryStateStore):
    """Ignores the clock, so its fencing tokens restart when its data is lost."""

    async def acquire(self, stream, *, owner, ttl):
        fence = self._fence(stream) or 0
        if (lease := await MemoryStateStore.acquire(self, stream, owner=owner, ttl=ttl)) is None:
            return None
        self._fencing_tokens[stream.key] = fence + 1
        self._leases[stream.key] = lease = attrs.evolve(lease, fencing_token=fence + 1)
        return lease


PARTS = [Parts(store=CountsGrants), Parts(store=IgnoresFencingTokens), Parts(store=GrantsAHeldLease)]


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: parts.store.__name__)
def test_a_mutation_of_a_state_store_is_caught(parts):
    schedule = caught(parts)
    assert not simulate(schedule).violations


# --- of the delivery protocol for objects


def write_the_lead_last(create):
    def mutant(self, lead, definition, events, contents):
        self._add([(part, content) for part, content in contents if part.path != lead], lead)
        return create(self, lead, definition, events, contents)

    return mutant


def look_for_no_closing_mark(is_closed):
    return lambda self, definition: False


def wait_for_no_settling(close):
    def mutant(self, number, create):
        close(self, number, create)
        return 0.0

    return mutant


def begin_without_the_anchor_in_force(begin):
    def mutant(self, definition, position, gap=None):
        begin(self, definition, position, gap)
        return position

    return mutant


def complete_nothing(complete):
    return lambda self, record, lead, events: None


def take_a_lead_for_a_whole_batch(missing):
    return lambda self, record, lead, *, but=(): []


def take_objects_without_definition_for_a_fresh_stream(orphan):
    return lambda self: None


PROTOCOL = [
    (Chain, "_create", write_the_lead_last),
    (Chain, "_is_closed", look_for_no_closing_mark),
    (ClosingMark, "close", wait_for_no_settling),
    (Chain, "begin", begin_without_the_anchor_in_force),
    (Chain, "_complete", complete_nothing),
    (Listing, "missing", take_a_lead_for_a_whole_batch),
    (Listing, "_orphan", take_objects_without_definition_for_a_fresh_stream),
]
RARE = {
    "look_for_no_closing_mark": two_definitions,
    "wait_for_no_settling": two_definitions,
}
"""Visible only if definitions change while two owners write."""


@pytest.mark.parametrize(("where", "name", "make"), PROTOCOL, ids=lambda item: getattr(item, "__name__", str(item)))
def test_a_mutation_of_the_delivery_protocol_is_caught(where, name, make):
    with mutated(where, name, make):
        schedule = caught(make=RARE.get(make.__name__, random_schedule))
    assert not simulate(schedule).violations


@pytest.mark.parametrize("same_place", [lambda one, other: True])
def test_adopting_a_batch_without_comparing_ends_is_caught(same_place):
    with mock.patch("rigatoni_objects.chain.is_same_place", same_place):
        schedule = caught()
    assert not simulate(schedule).violations


def test_overwriting_what_exists_is_caught():
    def create(real):
        def mutant(self, key, content, record):
            if key in self.objects and self._lead(key, content, record) is not None:
                self.remove(key)
                self.leads.clear()
            return real(self, key, content, record)

        return mutant

    with mutated(Bucket, "create", create):
        schedule = caught()
    assert not simulate(schedule).violations
