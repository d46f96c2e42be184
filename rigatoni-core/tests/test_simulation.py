"""The simulator itself: schedules by seed keep every promise, are repeatable, and can be told, written and read."""

import time

from rigatoni_core.testing.simulation.schedule import Schedule, random_schedule
from rigatoni_core.testing.simulation.world import simulate

SECONDS = 20.0


def test_random_schedules_break_no_promise():
    until, seed = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        violations = simulate(random_schedule(seed)).violations
        assert not violations, f"python -m rigatoni_core.testing.simulation --seed {seed}\n{violations}"
        seed += 1
    assert seed > 20


def test_a_schedule_has_always_the_same_story():
    for seed in range(3):
        schedule = random_schedule(seed)
        first, second = simulate(schedule, story=True), simulate(schedule, story=True)
        assert first == second
        assert len(first.story) > 50


def test_a_schedule_is_plain_values():
    for seed in range(50):
        schedule = random_schedule(seed)
        assert Schedule.from_record(schedule.to_record()) == schedule
