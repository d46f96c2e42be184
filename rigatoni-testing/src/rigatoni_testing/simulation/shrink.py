"""Minimizing a failing schedule and printing its story."""

from collections.abc import Iterator
from typing import TypeVar

import attrs

from rigatoni_testing.simulation.schedule import Schedule
from rigatoni_testing.simulation.world import Parts, simulate

T = TypeVar("T")

ATTEMPTS = 400
"""The largest number of smaller schedules to try."""


def explain(schedule: Schedule, parts: Parts | None = None) -> str:
    """Returns a report: how to replay the failure, the smallest failing schedule found, and its story."""
    parts = parts or Parts()
    small = shrink(schedule, parts)
    outcome = simulate(small, parts, story=True)
    return "\n".join(
        [
            f"replay: python -m rigatoni_testing.simulation --seed {schedule.seed}",
            "",
            str(small),
            "",
            *outcome.story,
            "",
            *(f"BROKEN: {violation}" for violation in outcome.violations),
        ]
    )


def shrink(schedule: Schedule, parts: Parts) -> Schedule:
    """Returns a minimal schedule that still breaks a guarantee."""
    attempts, smaller = 0, True
    while smaller and attempts < ATTEMPTS:
        smaller = False
        for candidate in _smaller(schedule):
            attempts += 1
            if simulate(candidate, parts).violations:
                schedule, smaller = candidate, True
                break
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Yields schedules with one thing less, the largest cuts first."""
    for number in range(len(schedule.lives)):
        yield _without_life(schedule, number)
    for number in range(len(schedule.happenings)):
        yield attrs.evolve(schedule, happenings=_without(schedule.happenings, number))
    for number in range(len(schedule.faults)):
        yield attrs.evolve(schedule, faults=_without(schedule.faults, number))
    for number, fault in enumerate(schedule.faults):
        if fault.times > 1:
            once = attrs.evolve(fault, times=1)
            yield attrs.evolve(schedule, faults=(*schedule.faults[:number], once, *schedule.faults[number + 1 :]))
    for events in (schedule.events // 4, schedule.events // 2, schedule.events - 1):
        if 0 < events < schedule.events:
            yield attrs.evolve(schedule, events=events)


def _without_life(schedule: Schedule, number: int) -> Schedule:
    """Returns the schedule without one life; faults stay with their lives."""
    faults = tuple(
        attrs.evolve(fault, life=fault.life - (fault.life > number))
        for fault in schedule.faults
        if fault.life != number
    )
    return attrs.evolve(schedule, lives=_without(schedule.lives, number), faults=faults)


def _without(items: tuple[T, ...], number: int) -> tuple[T, ...]:
    return items[:number] + items[number + 1 :]
