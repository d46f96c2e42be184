"""Runs of many schedules, seed by seed, on all cores."""

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

import attrs

from rigatoni_testing.simulation.schedule import random_schedule
from rigatoni_testing.simulation.world import simulate

CHUNK = 50
"""Schedules that a process runs between garbage collections."""


@attrs.frozen
class Tally:
    """The result of some schedules: their number, their faults, and the seeds that broke a guarantee."""

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
    """Run these seeds in this process."""
    began, batches, faults, failed = time.process_time(), 0, 0, []
    collects = gc.isenabled()
    gc.disable()  # garbage is collected once, below: otherwise this takes twice as long
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
    """Yields the growing tally; ends when `until` returns true or a guarantee is broken."""
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
