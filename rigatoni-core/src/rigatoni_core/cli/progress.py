"""What a running pipeline shows on a terminal: one line per stream, and all of them together."""

import time
from collections import deque

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from rigatoni_core.cli.output import duration, redacted
from rigatoni_core.statistics import Statistics, StreamStatistics

_WINDOW = 5.0  # seconds that rates are averaged over
_STYLES = {"running": "green", "standby": "cyan", "retrying": "yellow", "failing": "red", "failed": "bold red"}


class Progress:
    """A context manager that shows the statistics, drawn by rich's own thread four times a second."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._started = time.monotonic()
        self._counts: dict[str, deque[tuple[float, int]]] = {}
        self._live = Live(get_renderable=self.render, console=Console(stderr=True), refresh_per_second=4)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def render(self) -> Table:
        """The table of this moment."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("stream", "state", "events", "events/s", "lag", "batches", "retries", "last error"):
            table.add_column(name, justify="right" if name in _FIGURES else "left", overflow="fold")
        streams = self._statistics.streams
        for name, figures in streams.items():
            table.add_row(*self._row(name, figures), style=_STYLES.get(figures.state, ""))
        if len(streams) > 1:
            table.add_section()
            table.add_row(*self._row("all", self._statistics.total))
        table.caption = f"for {duration(time.monotonic() - self._started)}; Ctrl-C ends gracefully, twice at once"
        return table

    def _row(self, name: str, figures: StreamStatistics) -> tuple[str, ...]:
        lag = "" if figures.lag is None else duration(figures.lag)
        numbers = (figures.events, self._rate(name, figures.events))
        later = (f"{figures.batches:,}", f"{figures.retries:,}", redacted(figures.last_error)[:80])
        return (name, figures.state, *(f"{number:,}" for number in numbers), lag, *later)

    def _rate(self, name: str, events: int) -> int:
        now = time.monotonic()
        counts = self._counts.setdefault(name, deque([(now, events)]))
        counts.append((now, events))
        while len(counts) > 2 and now - counts[1][0] >= _WINDOW:
            counts.popleft()
        seconds = now - counts[0][0]
        return round((events - counts[0][1]) / seconds) if seconds > 0 else 0


_FIGURES = ("events", "events/s", "lag", "batches", "retries")
