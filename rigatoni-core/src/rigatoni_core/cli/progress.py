"""The live display of running pipelines: one line per stream, and the total."""

import time
from collections import deque
from collections.abc import Mapping

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rigatoni_core.api.words import duration, error_in_words, is_current
from rigatoni_core.cli.figures import plain
from rigatoni_core.observe.snapshot_figures import snapshot_in_words
from rigatoni_core.observe.statistics import Statistics, StreamStatistics

_WINDOW = 5.0  # seconds over which rates are averaged
STYLES = {"running": "green", "standby": "cyan", "retrying": "yellow", "failing": "red", "failed": "bold red"}


class Progress:
    """A context manager that displays the statistics. A thread of rich redraws it four times a second."""

    def __init__(self, statistics: Mapping[str, Statistics]) -> None:
        self._statistics = statistics  # by pipeline
        self._started = time.monotonic()
        self._counts: dict[str, deque[tuple[float, int]]] = {}
        self._live = Live(get_renderable=self.render, console=Console(stderr=True), refresh_per_second=4)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def render(self) -> Group:
        """Return the present table, and the current error of each stream that has one."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("stream", "state", "events", "events/s", "read lag", "delivery lag", "retries"):
            left, is_name = name in ("stream", "state"), name == "stream"  # only names are folded
            table.add_column(name, justify="left" if left else "right", no_wrap=not is_name, overflow="fold")
        streams = self._streams()
        for name, figures in streams.items():
            table.add_row(*self._row(name, figures), style=STYLES.get(figures.state, ""))
        if len(streams) > 1:
            table.add_section()
            table.add_row(*self._row("all", StreamStatistics.together(list(streams.values()))))
        troubles = [
            Text(f"{name} is {figures.state}; last error {error_in_words(error)}", style=STYLES.get(figures.state, ""))
            for name, figures in streams.items()
            if is_current(error := plain(figures)["last_error"]) and figures.state != "stopped"
        ]
        snapshots = [
            Text(f"{name} {snapshot_in_words(figures.snapshot.plain())}")
            for name, figures in streams.items()
            if figures.snapshot is not None and figures.snapshot.state in ("reading", "paused")
        ]
        running = duration(time.monotonic() - self._started)
        hint = f"running for {running}; Ctrl-C stops gracefully, a second Ctrl-C immediately"
        return Group(table, *snapshots, *troubles, Text(hint, style="dim"))

    def _streams(self) -> dict[str, StreamStatistics]:
        """Return the figures by stream name, with the pipeline's name if there are several."""
        if len(self._statistics) == 1:
            return {name: figures for each in self._statistics.values() for name, figures in each.streams.items()}
        return {
            f"{pipeline}/{name}": figures
            for pipeline, each in self._statistics.items()
            for name, figures in each.streams.items()
        }

    def _row(self, name: str, figures: StreamStatistics) -> tuple[str, ...]:
        read, delivery = ("" if lag is None else duration(lag) for lag in (figures.read_lag, figures.delivery_lag))
        rate = self._rate(name, figures.events)
        return (
            name,
            figures.state,
            f"{figures.events:,}",
            f"{rate:,}",
            read,
            delivery,
            f"{figures.retries:,}",
        )

    def _rate(self, name: str, events: int) -> int:
        now = time.monotonic()
        counts = self._counts.setdefault(name, deque([(now, events)]))
        counts.append((now, events))
        while len(counts) > 2 and now - counts[1][0] >= _WINDOW:
            counts.popleft()
        seconds = now - counts[0][0]
        return round((events - counts[0][1]) / seconds) if seconds > 0 else 0
