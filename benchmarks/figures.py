"""What a measured process says of itself: processor time, wall time and memory since it was ready to begin."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path


class Meter:
    """Begins when it is made: everything is imported and connected by then."""

    def __init__(self) -> None:
        self._idle, self._early = _memory("VmRSS"), 0
        self._before, self._began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()

    def look(self) -> None:
        """Keep the growth so far, to be compared with that at the end."""
        self._early = _memory("VmHWM") - self._idle

    def report(self) -> None:
        """Print what was used since then: processor seconds of all threads, wall seconds, bytes of growth."""
        now = resource.getrusage(resource.RUSAGE_SELF)
        used = now.ru_utime + now.ru_stime - self._before.ru_utime - self._before.ru_stime
        grown = _memory("VmHWM") - self._idle
        wall = time.perf_counter() - self._began
        json.dump({"seconds": used, "wall": wall, "grown": grown, "grown_early": self._early}, sys.stdout)


def _memory(field: str) -> int:
    """A figure of Linux about this process, in bytes (proc(5)). `ru_maxrss` would begin with that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def spread(values: Sequence[float]) -> str:
    """The median, and what lies around it."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
