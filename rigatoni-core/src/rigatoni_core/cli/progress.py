"""What a running pipeline shows on a terminal: one line per stream, and all of them together."""

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
from rigatoni_core.observe.statistics import Statistics, StreamStatistics

_WINDOW = 5.0  # seconds that rates are averaged over
STYLES = {"running": "green", "standby": "cyan", "retrying": "yellow", "failing": "red", "failed": "bold red"}


class Progress:
    """A context manager that shows the statistics, drawn by rich's own thread four times a second."""

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
        """What there is to see at this moment: the table, then what troubles a stream at present."""
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
        running = duration(time.monotonic() - self._started)
        return Group(table, *troubles, Text(f"for {running}; Ctrl-C ends gracefully, twice at once", style="dim"))

    def _streams(self) -> dict[str, StreamStatistics]:
        """The figures by stream, with its pipeline's name where there are several."""
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
