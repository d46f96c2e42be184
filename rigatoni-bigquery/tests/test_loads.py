"""The loads of a stream: each object exactly once, in order, through kills, races, lost replies and failing jobs."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_bigquery.errors import BigQueryLoadError, BigQueryUnavailableError
from rigatoni_bigquery.loads import Pace, StreamLoads
from rigatoni_bigquery.testing.server import bigquery_server
from rigatoni_core.api.events import Position, ResumeToken, Timestamp
from rigatoni_objects.file_layout import stem
from rigatoni_testing.objects import MemoryObjects, MemoryStore
from rigatoni_testing.random_runs import rounds

WHERE = "gs://lake/p/shop.orders/"


def position(second):
    return Position(ResumeToken(f"token {second}"), "f", Timestamp(second, 1))


class Clock:
    def __init__(self):
        self.now = 1e9

    def __call__(self):
        return self.now


class World:
    """A bucket, a clock, and owners of the stream's loads."""

    def __init__(self, jobs, server, store=MemoryStore):
        self.jobs, self.server, self.store = jobs, server, store
        self.objects, self.clock, self.written = MemoryObjects(), Clock(), []

    def write(self, second):
        key = f"{stem(position(second))}.parquet"
        MemoryStore(self.objects).create(key, b"rows", media_type="", record={})
        self.written.append(f"{WHERE}{key}")

    def owner(self, table="orders"):
        return StreamLoads(self.store(self.objects), WHERE, self.jobs, table, ".parquet", Pace(120.0, self.clock))

    def until_idle(self, owner):
        states = []
        while (state := owner.advance()) != "idle":
            states.append(state)
            self.clock.now += 30
            assert len(states) < 500, "the loads make no progress"
        return states

    @property
    def loaded(self):
        return self.server.tables["orders"]


@pytest.fixture
def world(jobs, server):
    return World(jobs, server)


def test_objects_are_loaded_once_in_order_and_only_new_ones_by_the_next_owner(world):
    for second in (1, 2, 3):
        world.write(second)
    owner = world.owner()
    world.until_idle(owner)
    assert (world.loaded, owner.loaded) == (world.written, 3)
    world.write(4)
    world.until_idle(world.owner())
    assert world.loaded == world.written
    assert len(world.server.inserted) == 2


def test_a_table_takes_a_job_in_an_interval_also_of_another_process(world):
    world.write(1)
    assert world.owner().advance() == "idle", "the fake ends the job at the first look"
    world.write(2)
    other = world.owner()
    assert other.advance() == "waiting"
    world.clock.now += 119
    assert other.advance() == "waiting"
    world.clock.now += 1
    assert other.advance() == "idle"
    assert world.loaded == world.written


def test_a_job_that_runs_is_awaited(world):
    world.server.looks = 3
    world.write(1)
    assert world.until_idle(world.owner()) == ["loading"] * 3
    assert len(world.server.inserted) == 1


def test_a_reply_that_is_lost_starts_no_second_job(world):
    world.server.lost = 1
    world.write(1)
    owner = world.owner()
    with pytest.raises(BigQueryUnavailableError):
        owner.advance()
    world.until_idle(owner)
    assert (world.loaded, len(world.server.inserted)) == (world.written, 1)


def test_a_job_that_fails_for_a_passing_reason_is_repeated_under_another_id(world):
    world.server.failures = [("backendError", ""), ("rateLimitExceeded", "")]
    world.write(1)
    world.until_idle(world.owner())
    assert world.loaded == world.written
    assert [each[-2:] for each in world.server.inserted] == ["_1", "_2", "_3"]


def test_a_job_that_fails_for_good_is_an_error_and_repeated_once_at_the_next_start(world):
    world.server.failures = [("invalid", "Row 7 holds jane@example.org"), ("invalid", "Provided Schema does not match")]
    world.write(1)
    with pytest.raises(
        BigQueryLoadError, match=r"job rigatoni_\w+_1, which loads 1 objects .* failed: invalid$"
    ) as raised:
        world.owner().advance()
    assert "jane" not in str(raised.value), "the message may quote rows"
    world.clock.now += 120
    with pytest.raises(BigQueryLoadError, match=r"_2, .*invalid: Provided Schema does not match"):
        world.until_idle(world.owner())
    assert not world.loaded
    world.clock.now += 120
    world.until_idle(world.owner())
    assert world.loaded == world.written


def test_another_table_gets_all_objects(world):
    world.write(1)
    world.until_idle(world.owner())
    world.write(2)
    world.until_idle(world.owner("other"))
    assert world.server.tables["other"] == world.written


def test_one_load_takes_ten_thousand_objects(world, monkeypatch):
    monkeypatch.setattr("rigatoni_bigquery.loads.MAX_OBJECTS", 3)
    for second in range(8):
        world.write(second)
    world.until_idle(world.owner())
    assert world.loaded == world.written
    assert len(world.server.inserted) == 3


def test_records_and_other_objects_are_not_loaded(world):
    store = MemoryStore(world.objects)
    for key in ("_rigatoni/definition-0.json", f"{stem(position(2))}.ndjson", "notes.parquet"):
        store.create(key, b"{}", media_type="", record={})
    world.write(1)
    world.until_idle(world.owner())
    assert world.loaded == world.written


def test_a_stream_that_resumes_before_what_is_loaded_is_an_error(world):
    world.write(50)
    owner = world.owner()
    world.until_idle(owner)
    owner.begin(position(50))
    with pytest.raises(BigQueryLoadError, match="would not be loaded"):
        owner.begin(position(49))


def test_a_missing_record_of_a_load_is_an_error(world):
    world.write(1)
    world.until_idle(world.owner())
    (record,) = [key for key in world.objects.contents if key.endswith("0000000000.json")]
    MemoryStore(world.objects).delete([record])
    with pytest.raises(BigQueryLoadError, match="is missing"):
        world.owner().advance()


class KilledError(Exception):
    """The process was killed at this request."""


@given(seed=st.integers(0, 2**32))
@settings(max_examples=rounds(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kills_races_and_failing_jobs_load_each_object_once(jobs, seed):
    """Two owners advance in turn and are killed at any request to the bucket; jobs fail, replies vanish."""
    chance = random.Random(seed)

    class Mortal(MemoryStore):
        def create(self, *arguments, **options):
            self.die()
            created = MemoryStore.create(self, *arguments, **options)
            self.die()
            return created

        def read(self, key):
            self.die()
            return MemoryStore.read(self, key)

        def die(self):
            if chance.random() < 0.1:
                raise KilledError

    with bigquery_server() as server:
        jobs.client._connection.API_BASE_URL = server.endpoint_url
        world = World(jobs, server, Mortal)
        owners = [world.owner(), world.owner()]
        for second in range(chance.randrange(1, 12)):
            world.write(second)
            server.looks = chance.randrange(3)
            server.failures = [("backendError", "")] * (chance.random() < 0.2)
            server.lost = int(chance.random() < 0.2)
            for _ in range(chance.randrange(4)):
                one = chance.randrange(2)
                world.clock.now += chance.choice((1, 60, 120))
                try:
                    owners[one].advance()
                except (KilledError, BigQueryUnavailableError):
                    owners[one] = world.owner()
        server.failures, server.lost, world.store = [], 0, MemoryStore
        world.until_idle(world.owner())
        assert world.loaded == world.written
