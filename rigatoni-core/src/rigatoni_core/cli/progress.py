"""What a running pipeline shows on a terminal: one line per stream, drawn anew twice a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.live import Live
from rich.table import Table

from rigatoni_core.statistics import Statistics


@asynccontextmanager
async def progress(statistics: Statistics, console: Console) -> AsyncIterator[None]:
    """Draw the statistics while the block runs."""
    with Live(_table(statistics, {}), console=console, refresh_per_second=4, transient=False) as live:
        drawing = asyncio.create_task(_draw(statistics, live))
        try:
            yield
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
            live.update(_table(statistics, {}))


async def _draw(statistics: Statistics, live: Live) -> None:
    before: dict[str, int] = {}
    while True:
        live.update(_table(statistics, before))
        before = {name: figures.events for name, figures in statistics.streams.items()}
        await asyncio.sleep(0.5)


def _table(statistics: Statistics, before: dict[str, int]) -> Table:
    table = Table("stream", "state", "events", "events/s", "lag", "batches", "retries", "last error", expand=False)
    for name, figures in statistics.streams.items():
        rate = (figures.events - before.get(name, figures.events)) * 2
        lag = "" if figures.lag is None else f"{figures.lag:.0f} s"
        counts = (f"{figures.events:,}", f"{rate:,}", lag, f"{figures.batches:,}", f"{figures.retries:,}")
        table.add_row(name, figures.state, *counts, figures.last_error[:60])
    return table
