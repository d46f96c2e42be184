"""Writes single events for a command, with the retries and the time limit of a running pipeline."""

from collections.abc import Sequence
from functools import partial
from typing import Self

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Destination, Transform
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.protection import fingerprint
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.retry import Retry
from rigatoni_core.engine.shutdown import Shutdown
from rigatoni_core.engine.single_event_writer import SingleEventWriter
from rigatoni_core.engine.time_limit import time_limit
from rigatoni_core.engine.transforming import Transforming, transforms_of


class RetryingEventWriter:
    """The `EventWriter` of commands (`rigatoni_core.api.commands`).

    Args:
        stream: The side stream to which the events are written.
        destination: The destination, which is entered.
        decoder: Reads the raw documents.
        settings: The limits of the pipeline.
        transforms: The transforms to apply before writing.
    """

    def __init__(
        self,
        stream: Stream,
        destination: Destination,
        decoder: Decoder,
        settings: Settings,
        transforms: Sequence[Transform] = (),
    ) -> None:
        self._transforms = transforms
        self._transforming: dict[tuple[int, ...], Transforming] = {}
        self._begin = partial(Transforming, stream, destination=destination, limit=settings.write_timeout)
        self._writer = SingleEventWriter(stream, destination)
        self._decoder = decoder
        self._timeout = settings.write_timeout
        self._retry = Retry(stream, settings.retry, Shutdown(stream))

    @classmethod
    def of(cls, configuration: PipelineConfiguration, stream: Stream, destination: Destination) -> Self:
        """Return a writer for a component of a pipeline. Events for its destination pass through its transforms."""
        transforms = transforms_of(configuration.transforms, stream) if destination is configuration.destination else ()
        return cls(stream, destination, configuration.source.decoder, configuration.settings, transforms)

    async def write(self, position: Position, raw: bytes, protected_by: Sequence[str] = ()) -> None:
        """Make one event durable. See `EventWriter.write`."""
        await self._retry(self._attempt, position, raw, protected_by)

    async def _attempt(self, position: Position, raw: bytes, protected_by: Sequence[str]) -> None:
        writer = self._writer
        rest = tuple(
            place
            for place, each in enumerate(self._transforms)
            if not each.protects or fingerprint(each) not in protected_by
        )
        async with time_limit(self._timeout, f"the destination of {writer.stream}", writer.progress):
            await writer.write(position, raw, self._decoder, partial(self._transform, rest) if rest else None)

    async def _transform(self, places: tuple[int, ...], events: EventBatch) -> EventBatch:
        """Apply the transforms with these indices."""
        if places not in self._transforming:
            self._transforming[places] = self._begin([self._transforms[place] for place in places])
        made = await self._transforming[places](events)
        for rejections in made.rejections:
            raise RejectedEventsError(rejections.events)
        return made.batch
