"""The destination `template`: a file for each batch, which appears whole."""

import os
from pathlib import Path
from typing import Annotated, ClassVar, Self

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata, Serializer
from rigatoni_core.api.events import Position, token_hash
from rigatoni_core.api.executor import DaemonExecutor

from rigatoni_template.errors import TemplateError, translated


@attrs.define(kw_only=True, eq=False)
class TemplateDestination(Destination):
    """Writes `<path>/<pipeline>/<stream>/<cluster time>-<ordinal>-<hash of the end>.<suffix>`."""

    path: Annotated[Path, "The folder that files are written to; it is created"]
    serializer: Annotated[Serializer, "What turns a batch into a file's content"]
    _lane: DaemonExecutor | None = attrs.field(init=False, default=None, repr=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def __aenter__(self) -> Self:
        self._lane = DaemonExecutor("rigatoni-template")  # blocking calls stay off the event loop
        return self

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch durably. The same batch again replaces its file by an equal one."""
        if self._lane is None:
            raise TemplateError("the destination is not entered", remedy="Use it in an `async with` block.")
        await self._lane.run(lambda: self._write(events))
        return None

    async def close(self) -> None:
        """Stop the thread. Files are complete: each was renamed to its name when it was durable."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()

    def metadata(self) -> DestinationMetadata:
        """Return the place and the delivery level that `rigatoni validate` prints."""
        return DestinationMetadata(f"files *{self.serializer.suffix} below {self.path}", self.delivery)

    def _write(self, events: EventBatch) -> None:
        content = self.serializer.serialize(events)
        folder = self.path / events.stream.key
        with translated(f"write a batch into {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{_name(events)}{self.serializer.suffix}"
            temporary = target.with_name(target.name + ".tmp")
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)  # the name is durable, too
            finally:
                os.close(descriptor)


def _name(events: EventBatch) -> str:
    """By its first event, so that listing order is stream order; by its end, so that no cut replaces another one."""
    time, ordinal = events.first.order
    return f"{time.seconds:010}.{time.increment:010}-{ordinal:020}-{token_hash(events.end.resume_token)}"
