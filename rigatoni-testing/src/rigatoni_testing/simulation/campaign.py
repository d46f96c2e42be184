"""Many schedules, one seed after another, on as many processes as there are cores."""

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

import attrs

from rigatoni_testing.simulation.schedule import random_schedule
from rigatoni_testing.simulation.world import simulate

CHUNK = 50
"""Schedules that a process runs at a stretch; garbage is collected in between."""


@attrs.frozen
class Tally:
    """What came of some schedules: how many there were, what struck them, and the seeds that broke a promise."""

    schedules: int = 0
    batches: int = 0
    faults: int = 0
    seconds: float = 0.0  # of one processor
    failed: tuple[int, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.schedules + other.schedules,
            self.batches + other.batches,
            self.faults + other.faults,
            self.seconds + other.seconds,
            self.failed + other.failed,
        )


def run_seeds(first: int, count: int) -> Tally:
    """These seeds, in this process."""
    began, batches, faults, failed = time.process_time(), 0, 0, []
    collects = gc.isenabled()
    gc.disable()  # what a schedule leaves is collected once, below: half as fast otherwise
    try:
        for seed in range(first, first + count):
            outcome = simulate(random_schedule(seed))
            batches, faults = batches + outcome.batches, faults + outcome.struck
            if outcome.violations:
                failed.append(seed)
    finally:
        if collects:
            gc.enable()
        gc.collect()
    return Tally(count, batches, faults, time.process_time() - began, tuple(failed))


def run_campaign(first: int, until: Callable[[Tally], bool], *, processes: int) -> Iterator[Tally]:
    """The tally, again and again, as it grows; ends once `until` says so or a promise is broken."""
    tally = Tally()
    with ProcessPoolExecutor(processes) as pool:
        running: set[Future[Tally]] = set()
        while not until(tally) and not tally.failed:
            while len(running) < processes + 1:
                running.add(pool.submit(run_seeds, first, CHUNK))
                first += CHUNK
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for chunk in done:
                tally += chunk.result()
            yield tally
        for chunk in running:
            chunk.cancel()
