"""The view in the terminal: a line per stream, what troubles them below, redrawn at every look."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from rigatoni_core.api.words import duration, error_in_words, is_current, size

from rigatoni_top.history import History, StreamHistory

_TROUBLED = ("retrying", "failing", "failed", "silent")
_STYLES = {
    "running": "green",
    "standby": "cyan",
    "retrying": "yellow",
    "failing": "red",
    "failed": "bold red",
    "silent": "red",
}
_HINT = "q quits, s sorts by the next column"


def _seconds(value: float | None) -> str:
    return "" if value is None else duration(value)


def _lease(figures: Any) -> str:
    held = figures["lease_held"]
    return "" if held is None else "held" if held else "waits"


def _snapshot(record: Any) -> str:
    if not record:
        return ""
    done = "" if record["fraction"] is None else f"{record['fraction']:.0%}"
    return done if record["state"] == "reading" and done else str(record["state"])


_Key = Callable[[StreamHistory], Any]
COLUMNS: tuple[tuple[str, _Key, _Key | None, bool], ...] = (
    ("stream", lambda s: s.name, lambda s: s.name, True),
    ("process", lambda s: str(s.process), None, False),
    ("state", lambda s: s.figures["state"], lambda s: -(s.figures["state"] in _TROUBLED), True),
    ("events/s", lambda s: f"{s.events_rate:,.0f}", lambda s: -s.events_rate, True),
    ("bytes/s", lambda s: size(s.bytes_rate), lambda s: -s.bytes_rate, False),
    ("read lag", lambda s: _seconds(s.figures["read_lag"]), lambda s: -(s.figures["read_lag"] or 0), True),
    ("delivery lag", lambda s: _seconds(s.figures["delivery_lag"]), lambda s: -(s.figures["delivery_lag"] or 0), True),
    (
        "checkpoint",
        lambda s: _seconds(s.figures["checkpoint_age"]),
        lambda s: -(s.figures["checkpoint_age"] or 0),
        False,
    ),
    ("events", lambda s: f"{s.figures['events']:,}", lambda s: -s.figures["events"], True),
    ("batches", lambda s: f"{s.figures['batches']:,}", None, False),
    ("buffer", lambda s: size(s.figures["buffered_bytes"]), lambda s: -s.figures["buffered_bytes"], False),
    ("retries", lambda s: f"{s.figures['retries']:,}", lambda s: -s.figures["retries"], True),
    ("rejected", lambda s: f"{s.figures['rejected']:,}", None, False),
    ("gaps", lambda s: f"{s.figures['gaps']:,}", lambda s: -s.figures["gaps"], False),
    ("lease", lambda s: _lease(s.figures), None, False),
    ("snapshot", lambda s: _snapshot(s.figures.get("snapshot")), None, False),
)
"""Title, text, sort key, and whether a narrow terminal also shows the column."""

WIDE = 150
"""The terminal width from which on every column is shown."""


def _shown(width: int) -> list[tuple[str, _Key, _Key | None, bool]]:
    return [column for column in COLUMNS if width >= WIDE or column[3]]


def drawn(history: History, width: int, sorting: str = "stream", hint: str = "") -> RenderableType:
    """All that there is to see."""
    key = next(order for title, _, order, _ in COLUMNS if title == sorting)
    assert key is not None
    streams = sorted(history.streams.values(), key=lambda s: (key(s), s.name))
    shown = _shown(width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title, *_ in shown:
        mark = "▾" if title == sorting and hint else ""
        is_name = title == "stream"  # only names are folded where the terminal is too narrow
        left = is_name or title in ("state", "lease")
        table.add_column(title + mark, justify="left" if left else "right", no_wrap=not is_name, overflow="fold")
    for stream in streams:
        table.add_row(*(text(stream) for _, text, _, _ in shown), style=_STYLES.get(stream.figures["state"], ""))
    parts: list[RenderableType] = [table]
    for stream in streams:
        if error := stream.figures["last_error"]:
            state = stream.figures["state"]
            style = _STYLES.get(state, "") if is_current(error) else "dim"
            parts.append(Text(f"{stream.name} is {state}; last error {error_in_words(error)}", style=style))
    parts += [Text(reason, style="bold red") for reason in history.silent.values()]
    if not streams and not history.silent:
        parts = [Text("no pipeline is running on this machine; waiting for a `rigatoni run`", style="dim")]
    if hint:
        parts.append(Text(hint, style="dim"))
    return Group(*parts)


def plain(history: History) -> str:
    """One look as text, every column, without colours."""
    console = Console(file=StringIO(), width=200, color_system=None)
    console.print(drawn(history, console.width))
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def watch(history: History, interval: float) -> None:
    """Redraw until q or Ctrl-C."""
    console = Console()
    sorting = COLUMNS[0][0]
    with _keys() as key, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            history.look()
            until = time.monotonic() + interval
            while True:
                live.update(drawn(history, console.width, sorting, _HINT), refresh=True)
                pressed = key(until - time.monotonic())
                if pressed in ("q", "\x03", "\x04"):
                    return
                if pressed != "s":
                    break
                sortings = [title for title, _, order, _ in _shown(console.width) if order]
                sorting = (
                    sortings[(sortings.index(sorting) + 1) % len(sortings)] if sorting in sortings else sortings[0]
                )


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Yield a function that waits for a key for some seconds, and returns an empty text if none is pressed."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()

    def key(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], max(seconds, 0))
        return os.read(descriptor, 1).decode("latin-1") if ready else ""

    if not sys.stdin.isatty():

        def pause(seconds: float) -> str:
            time.sleep(max(seconds, 0))
            return ""

        yield pause
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield key
    except KeyboardInterrupt:
        return
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
