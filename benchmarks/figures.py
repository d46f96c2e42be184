"""Figures that a process measures about itself: CPU time, wall time and memory since its start."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path


class Meter:
    """Measures from its creation, when everything is imported and connected."""

    def __init__(self) -> None:
        self._idle, self._early = _memory("VmRSS"), 0
        self._before, self._began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()

    def look(self) -> None:
        """Record the growth so far, to compare it with that at the end."""
        self._early = _memory("VmHWM") - self._idle

    def report(self) -> None:
        """Print the CPU seconds of all threads, the wall seconds, and the growth of memory in bytes."""
        now = resource.getrusage(resource.RUSAGE_SELF)
        used = now.ru_utime + now.ru_stime - self._before.ru_utime - self._before.ru_stime
        grown = _memory("VmHWM") - self._idle
        wall = time.perf_counter() - self._began
        json.dump({"seconds": used, "wall": wall, "grown": grown, "grown_early": self._early}, sys.stdout)


def _memory(field: str) -> int:
    """Return a figure about this process in bytes (proc(5)). `ru_maxrss` would include the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def spread(values: Sequence[float]) -> str:
    """Return the median, the minimum and the maximum."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
