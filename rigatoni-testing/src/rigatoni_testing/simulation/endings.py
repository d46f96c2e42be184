"""Stop requests, and checks that a process stops as guaranteed."""

import asyncio
from typing import Any

from rigatoni_core.engine.pipeline import CLOSE_TIMEOUT, Pipeline

from rigatoni_testing.simulation.ledger import Ledger
from rigatoni_testing.simulation.network import Network, world_time


async def examine(
    ledger: Ledger,
    network: Network,
    pipeline: Pipeline,
    running: "asyncio.Task[Any]",
    died: "asyncio.Task[Any]",
    *,
    twice: bool,
) -> None:
    """Ask to stop (twice: immediately). It must end in time and, without faults, with its work done and saved."""
    held = {key: ledger.held(network, key) for key in ledger.accounts}
    network.asked = True
    pipeline.stop()
    limit = pipeline.settings.shutdown_timeout
    if twice:
        await asyncio.sleep(1.0)
        pipeline.stop()
        limit = 0.0
    limit += 3 * CLOSE_TIMEOUT + 1.0
    asked, process = world_time(), network.process
    while (rest := asked + limit + process.frozen_seconds - world_time()) > 0 and not (running.done() or died.done()):
        await asyncio.wait([running, died], timeout=rest, return_when=asyncio.FIRST_COMPLETED)
    if not running.done() and not died.done():
        ledger.violation(f"{process.name} was asked to stop and still runs {limit:.0f} s later")
    elif running.done() and not network.struck and not twice:
        _examine_clean(ledger, network, pipeline, running.result(), held)


def _examine_clean(
    ledger: Ledger, network: Network, pipeline: Pipeline, report: Any, held: dict[str, tuple[int, int]]
) -> None:
    for key, (served, written) in held.items():
        account = ledger.accounts[key]
        name = account.log.stream.name
        outcome = report.workers.get(name)
        if outcome is None or outcome.error:
            continue
        if outcome.abandoned:
            ledger.violation(f"{network.process.name} cut {name} off, though nothing hung")
        after = ledger.held(network, key)[1]
        figures = pipeline.statistics.streams.get(name)
        there = (
            ledger.durable(account) or 0
        ) >= served  # another owner's batch holds them; it was reading up to the end of that batch
        # without faults, retries are caused by another owner, and a stop ends every wait
        told = figures is not None and (figures.realigned or figures.retries)
        finished = after > written or there or told or key in network.yielded
        if served > written and not finished:
            ledger.violation(f"{network.process.name} stopped with {served - written} undelivered events of {name}")
        saved = account.log.index(account.record.position) if account.record else 0
        if saved < after and not account.restored and ledger.leased:
            ledger.violation(f"{network.process.name} stopped with {name} written to {after} and saved to {saved}")
