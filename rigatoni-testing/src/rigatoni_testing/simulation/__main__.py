"""The simulator's command line."""

import os
import sys
import time

import click

from rigatoni_testing.simulation.campaign import Tally, run_campaign
from rigatoni_testing.simulation.schedule import random_schedule
from rigatoni_testing.simulation.shrink import explain
from rigatoni_testing.simulation.snapshots import SnapshotSchedule, simulate_snapshot
from rigatoni_testing.simulation.world import simulate


@click.command()
@click.option("--seed", type=int, help="Replay this schedule and print its story; shrink it if it breaks a guarantee.")
@click.option("--minutes", type=float, default=1.0, show_default=True, help="Run new schedules for this many minutes.")
@click.option("--schedules", type=int, help="Run this many schedules.")
@click.option("--first", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--processes", type=int, default=os.cpu_count() or 1, show_default=True, help="Number of processes.")
@click.option("--snapshots", is_flag=True, help="Run schedules of snapshots, in one process.")
def main(seed: int | None, minutes: float, schedules: int | None, first: int, processes: int, snapshots: bool) -> None:
    """Run the shipping code against model servers with faults. Exits with 1 if a guarantee is broken."""
    if snapshots:
        sys.exit(_snapshots(first if seed is None else seed, 1 if seed is not None else schedules, minutes))
    if seed is not None:
        sys.exit(_replay(seed))
    began, told, tally = time.monotonic(), 0.0, Tally()

    def is_over(tally: Tally) -> bool:
        return tally.schedules >= schedules if schedules else time.monotonic() - began >= minutes * 60

    for tally in run_campaign(first, is_over, processes=processes):
        if time.monotonic() - told >= 10:
            told = time.monotonic()
            click.echo(_progress(tally, told - began))
    click.echo(_progress(tally, time.monotonic() - began))
    if tally.failed:
        click.echo(explain(random_schedule(tally.failed[0])))
        sys.exit(1)


def _snapshots(first: int, schedules: int | None, minutes: float) -> int:
    """Run schedules of snapshots from a seed on; return the exit code."""
    began, seed = time.monotonic(), first
    while seed - first < schedules if schedules else time.monotonic() - began < minutes * 60:
        if wrong := simulate_snapshot(SnapshotSchedule.of(seed)):
            click.echo(f"seed {seed}: {wrong}\n{SnapshotSchedule.of(seed)}")
            return 1
        seed += 1
    click.echo(f"{seed - first} schedules of snapshots in {time.monotonic() - began:.0f} s: every promise was kept")
    return 0


def _progress(tally: Tally, seconds: float) -> str:
    rate = tally.schedules / tally.seconds if tally.seconds else 0.0
    return (
        f"{tally.schedules} schedules, {tally.batches} batches, {tally.faults} faults in {seconds:.0f} s, "
        f"{rate:.0f} a second of one processor; {len(tally.failed)} broken promises"
    )


def _replay(seed: int) -> int:
    schedule = random_schedule(seed)
    outcome = simulate(schedule, story=True)
    if outcome.violations:
        click.echo(explain(schedule))
        return 1
    click.echo("\n".join([str(schedule), "", *outcome.story, "", "every promise was kept"]))
    return 0


if __name__ == "__main__":
    main()
