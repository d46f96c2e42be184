"""Random schedules of snapshots through the shipping code; mutations of that code are caught."""

import attrs
import pytest
from rigatoni_core.api.events import Position, ResumeToken
from rigatoni_core.api.snapshot_records import Place
from rigatoni_core.engine.snapshots.range_reader import RangeReader
from rigatoni_core.engine.snapshots.runner import SnapshotRunner
from rigatoni_core.engine.snapshots.stream_time import StreamTime
from rigatoni_core.engine.snapshots.turns import Turns
from rigatoni_objects.chain import Chain
from rigatoni_objects.chunks import ChunkChain
from rigatoni_testing.objects import MemoryStore
from rigatoni_testing.simulation.snapshots import SnapshotSchedule, simulate_snapshot

SEEDS = range(40)
"""The schedules of every run; more of them: `python -m rigatoni_testing.simulation --snapshots`."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept(seed):
    assert simulate_snapshot(SnapshotSchedule.of(seed)) == ""


def caught(first=0, seeds=400, **fields):
    """Return what is wrong with the first schedule that breaks a promise, of those with these fields.

    `first` is a seed at which one was found, so that the search is short as long as nothing else changes.
    """
    for seed in (*range(first, seeds), *range(first)):
        schedule = SnapshotSchedule.of(seed)
        wanted = all(getattr(schedule, name) == value for name, value in fields.items())
        if wanted and (wrong := simulate_snapshot(schedule)):
            return wrong
    return ""


def test_mutant_the_name_of_a_chunk_holds_the_time(monkeypatch):
    first = Place.first

    def with_time(self, fingerprint, anchor):
        place = first(self, fingerprint, anchor)
        return Position(ResumeToken(f"{place.resume_token} {next(times)}"), fingerprint, anchor, self.chunks)

    times = iter(range(10**6))
    monkeypatch.setattr(Place, "first", with_time)
    assert caught(alone=False)


def test_mutant_a_put_overwrites(monkeypatch):
    create = MemoryStore.create

    def overwrite(self, key, content, **options):
        if ".raw" in key and key in self.objects.contents:
            self.objects.contents[key] = (bytes(content), dict(options["record"]))
            return True
        return create(self, key, content, **options)

    monkeypatch.setattr(MemoryStore, "create", overwrite)
    assert caught(26, alone=False)


def test_mutant_resumes_at_its_own_end(monkeypatch):
    written = RangeReader._written

    async def own_end(self, place, chunk, deliver, reservation):
        await written(self, place, chunk, deliver, reservation)
        return place.after(chunk, filtered=False)

    monkeypatch.setattr(RangeReader, "_written", own_end)
    assert caught(77, alone=False)


def test_mutant_ends_are_compared_by_order(monkeypatch):
    monkeypatch.setattr(ChunkChain, "_adopted", Chain._adopted)
    assert caught(99, alone=False, partition_by=())


def test_mutant_done_before_the_last_range(monkeypatch):
    read = SnapshotRunner._read

    async def all_but_one(self, requested, record):
        kept = record.plan.ranges[: max(1, len(record.plan.ranges) - 1)]
        return await read(self, requested, attrs.evolve(record, plan=attrs.evolve(record.plan, ranges=kept)))

    monkeypatch.setattr(SnapshotRunner, "_read", all_but_one)
    assert caught()


def test_mutant_a_row_is_read_before_the_stream_is_written(monkeypatch):
    """Rows of a time that the stream has read, but not delivered."""

    async def ignore(self, patience=0.0):
        return None

    monkeypatch.setattr(Turns, "close", ignore)
    assert caught(alone=True, at_a_time=True)


def test_mutant_no_regard_to_what_is_written_already(monkeypatch):
    monkeypatch.setattr(StreamTime, "floor", property(lambda self: None, lambda self, value: None), raising=False)
    assert caught(219, alone=True, at_a_time=True)


def test_mutant_the_checkpoint_of_a_range_begins_anew(monkeypatch):
    """The place of a range is forgotten with each start, and so is what the destination says."""

    async def fresh(self):
        begun = await begin(self)
        low = self._record.plan.ranges[self._index].low
        return Place(number=begun.number, index=begun.index, low=low, chunks=begun.chunks)

    begin = RangeReader._begin
    monkeypatch.setattr(RangeReader, "_begin", fresh)
    assert caught()
