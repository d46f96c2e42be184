"""Random schedules against a model of a transactional destination: each event is committed once, whatever fails."""

import time

from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_testing.simulation.transactional import TransactionalDestination, transactional_schedule
from rigatoni_testing.simulation.world import Parts, simulate

PARTS = Parts(append=TransactionalDestination)
SECONDS = 6.0


def violations(seed, parts=PARTS):
    return simulate(transactional_schedule(seed), parts).violations


def test_random_schedules_break_no_promise():
    until, seed = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        assert not violations(seed), transactional_schedule(seed)
        seed += 1
    assert seed > 20


def take_each_batch(self, events):
    return None


def test_a_destination_that_takes_batches_that_it_holds_in_part_is_caught(monkeypatch):
    monkeypatch.setattr(StreamRecord, "end_within", take_each_batch)
    assert any(violations(seed) for seed in range(60))


class Blind(TransactionalDestination):
    async def _commit(self, stream, base, record, *, events=None, gap=None):
        held = self.appended[stream.key].record
        return await TransactionalDestination._commit(self, stream, held, record, events=events, gap=gap)


def test_a_commit_that_does_not_compare_is_caught():
    assert any(violations(seed, Parts(append=Blind)) for seed in range(60))
