"""Work on the next batch while the one before it is in flight."""

from rigatoni_core.api.contracts import Prefetching
from rigatoni_core.api.events import Stream
from rigatoni_core.engine.event_buffer import EventBuffer


class Prefetcher:
    """Has the destination prepare the next batch of a stream once later events cannot change it.

    Args:
        stream: The stream.
        buffer: Where its batches come from.
        destination: Prepares them; None if the destination cannot, and then this does nothing.
    """

    def __init__(self, stream: Stream, buffer: EventBuffer, destination: Prefetching | None) -> None:
        self._stream = stream
        self._buffer = buffer
        self._destination = destination
        self._used = False

    def prefetch(self) -> None:
        """Prepare the next batch if it is full and not prepared yet; call this while a batch is in flight only."""
        if self._destination is None or self._buffer.formed or not self._buffer.is_full:
            return
        try:
            batch = self._buffer.form()
        except Exception:
            return  # the worker meets the same error in order, when it takes the batch
        self._used = True
        self._destination.prepare(batch)

    def discard(self) -> None:
        """Discard prefetched work: the next batch begins elsewhere, or never comes."""
        self._buffer.unform()
        if self._destination is not None and self._used:
            self._destination.discard(self._stream)
