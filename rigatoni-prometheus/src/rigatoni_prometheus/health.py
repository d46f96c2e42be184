"""Checks whether the process is alive, and whether its workers are ready."""

import asyncio
import threading

from rigatoni_core.observe.statistics import Statistics

TIMEOUT = 5.0
"""Seconds within which a responsive event loop runs a callback."""

READY = ("running", "retrying", "standby")
"""The states that count as ready.

A worker that waits for its lease is ready, because it is a hot standby. Otherwise an orchestrator that replaces
instances one by one would wait forever: the new instance waits for the lease that the old one still holds.
"""


def is_alive(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the event loop still runs. Called from another thread."""
    ran = threading.Event()
    try:
        loop.call_soon_threadsafe(ran.set)
    except RuntimeError:  # the loop is closed
        return False
    return ran.wait(TIMEOUT)


def readiness(statistics: Statistics) -> tuple[bool, dict[str, str]]:
    """Return whether every worker (at least one) is in a ready state, and all states by stream."""
    states = {str(stream): figures.state for stream, figures in statistics.by_stream.items()}
    return bool(states) and all(state in READY for state in states.values()), dict(states)
