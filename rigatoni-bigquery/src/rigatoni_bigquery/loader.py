"""Advances the loads of all streams of a destination, while their batches are delivered."""

import asyncio
from collections.abc import Callable
from functools import partial

import attrs
from rigatoni_core.api.bus import publish
from rigatoni_core.api.errors import Transient
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.notices import Retrying

from rigatoni_bigquery.loads import StreamLoads

POLL = 5.0
"""Seconds between two looks at the loads of a stream."""
MAX_DELAY = 60.0
"""The most seconds between two looks after errors that may pass."""


@attrs.define
class _Entry:
    """The loads of one stream, and what the last look at them found."""

    stream: Stream
    loads: StreamLoads
    failures: int = 0
    wait: float = 0.0
    error: Exception | None = None  # a look would not help until the stream begins again


class Loader:
    """Advances the loads of the streams that were added, one request after another on a thread of its own.

    An error that may pass is reported and retried. Any other error stops the stream's loads, and is raised to its
    worker before the next batch, so that the objects do not pile up unnoticed.

    Args:
        open_loads: Returns the loads of a stream.
        poll: Seconds between two looks.
    """

    def __init__(self, open_loads: Callable[[Stream], StreamLoads], poll: float = POLL) -> None:
        self._open_loads = open_loads
        self._poll = poll
        self._entries: dict[str, _Entry] = {}
        self._executor = DaemonExecutor("rigatoni-bigquery loads")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to advance loads, until `close`."""
        self._task = asyncio.create_task(self._run(), name="rigatoni-bigquery loads")

    async def begin(self, stream: Stream, position: Position) -> None:
        """Advance the loads of a stream that is about to write, also after an error of an earlier start.

        Raises:
            BigQueryError: What it writes after this position would not be loaded, or a request failed.
        """
        self.add(stream)
        entry = self._entries[stream.key]
        await self._executor.run(partial(entry.loads.begin, position))
        entry.error = None

    def add(self, stream: Stream) -> None:
        """Advance the stream's loads from now on."""
        if stream.key not in self._entries:
            self._entries[stream.key] = _Entry(stream, self._open_loads(stream))

    def check(self, stream: Stream) -> None:
        """Raise the error that stopped the stream's loads, if any."""
        entry = self._entries.get(stream.key)
        if entry is not None and entry.error is not None:
            raise entry.error

    async def close(self) -> None:
        """Stop. A running job continues in BigQuery, and the next run looks for it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._executor.close()

    async def _run(self) -> None:
        while True:
            for entry in list(self._entries.values()):
                if entry.error is None and entry.wait <= 0:
                    await self._advance(entry)
                entry.wait -= self._poll
            await asyncio.sleep(self._poll)

    async def _advance(self, entry: _Entry) -> None:
        try:
            await self._executor.run(entry.loads.advance)
        except Exception as error:  # a bug or a damaged record must not end the loads of all streams unnoticed
            if not isinstance(error, Transient):
                entry.error = error
            entry.failures += 1
            entry.wait = min(self._poll * 2**entry.failures, MAX_DELAY)
            publish(Retrying(stream=entry.stream, error=error, attempt=entry.failures, delay=entry.wait))
        else:
            entry.failures = 0


async def load_all(loads: StreamLoads, looked: Callable[[int], None], poll: float = POLL) -> int:
    """Advance the loads of a stream until nothing is left to load.

    Args:
        loads: The stream's loads.
        looked: Called with 1 after each look that found something left.
        poll: Seconds between two looks.

    Returns:
        How many objects were loaded meanwhile.

    Raises:
        BigQueryError: A request failed, or a job.
    """
    executor = DaemonExecutor("rigatoni-bigquery load")
    try:
        while await executor.run(loads.advance) != "idle":
            looked(1)
            await asyncio.sleep(poll)
    finally:
        executor.close()
    return loads.loaded
