"""Whether the process is alive, and whether its workers do their work."""

import asyncio
import threading

from rigatoni_core.observe.statistics import Statistics

PATIENCE = 5.0
"""Seconds within which a living event loop answers."""

READY = ("running", "retrying", "standby")
"""The states that count as ready.

A worker that waits for its lease is ready: it does all that is asked of a hot standby, and an orchestrator that
replaces instances one by one would otherwise wait for it for ever, while the old instance still holds the lease.
"""


def is_alive(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the event loop, asked from another thread, still turns."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:  # it is closed
        return False
    return answered.wait(PATIENCE)


def readiness(statistics: Statistics) -> tuple[bool, dict[str, str]]:
    """Whether every worker is in a state that counts as ready (there must be one), and all states by stream."""
    states = {str(stream): figures.state for stream, figures in statistics.by_stream.items()}
    return bool(states) and all(state in READY for state in states.values()), dict(states)
