"""Batches on standard output, for pipes and for inspection."""

import os
import sys
from typing import Annotated, ClassVar, Self

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata, Serializer
from rigatoni_core.api.errors import DestinationError
from rigatoni_core.api.events import Position
from rigatoni_core.api.executor import DaemonExecutor


@attrs.define(kw_only=True)
class StdoutDestination(Destination):
    """Writes each batch, serialized, to standard output. A batch whose write was interrupted is written again."""

    serializer: Annotated[Serializer, "How events become bytes"]

    _lane: DaemonExecutor | None = attrs.field(init=False, default=None, repr=False, eq=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def __aenter__(self) -> Self:
        self._lane = DaemonExecutor("rigatoni-stdout")  # one for all streams, so that their lines do not mix
        return self

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`. A batch counts as delivered when it is flushed."""
        if self._lane is None:
            raise DestinationError("standard output is not entered", remedy="Use it in an `async with` block.")
        try:
            await self._lane.run(lambda: _write(self.serializer.serialize(events)))
        except BrokenPipeError:
            raise DestinationError(
                "standard output was closed by its reader", remedy="Restart to resume; nothing is lost."
            ) from None
        except OSError as error:
            raise DestinationError(
                f"standard output cannot be written: {error.strerror or error}",
                remedy="Restart to resume where this run ended; nothing is lost.",
            ) from error
        return None

    async def close(self) -> None:
        """Stop the thread. Standard output stays open."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata(
            "standard output", self.delivery, ("printed events count as delivered, even if their reader loses them",)
        )


def _write(content: bytes | memoryview) -> None:
    """Write everything, bypassing Python's buffer, whose lock a hanging thread would keep and so block the exit."""
    sys.stdout.flush()
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]
