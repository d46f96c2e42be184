"""Batches on standard output, for pipes and for looking."""

import asyncio
import sys
from typing import Annotated, ClassVar

import attrs

from rigatoni_core.batch import EventBatch
from rigatoni_core.contracts import Delivery, Destination, DestinationMetadata, Serializer
from rigatoni_core.errors import DestinationError
from rigatoni_core.events import Position


@attrs.define(kw_only=True)
class StdoutDestination(Destination):
    """Writes each batch, serialized, to standard output. A batch whose write was interrupted is written again."""

    serializer: Annotated[Serializer, "How events become bytes"]

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> Position | None:
        try:
            await asyncio.to_thread(self._write, events)
        except BrokenPipeError:
            raise DestinationError(
                "standard output was closed by its reader", remedy="Nothing is lost: start again to go on."
            ) from None
        return None

    def metadata(self) -> DestinationMetadata:
        return DestinationMetadata(
            "standard output", self.delivery, ("what was printed counts as delivered, whatever its reader does",)
        )

    def _write(self, events: EventBatch) -> None:
        sys.stdout.buffer.write(self.serializer.serialize(events))
        sys.stdout.buffer.flush()
