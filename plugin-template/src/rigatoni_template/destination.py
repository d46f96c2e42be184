"""The destination `template`: writes each batch to a file of its own, atomically."""

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

    path: Annotated[Path, "Folder of the files; created if it does not exist"]
    serializer: Annotated[Serializer, "Serializer that creates the content of the files"]
    _executor: DaemonExecutor | None = attrs.field(init=False, default=None, repr=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def __aenter__(self) -> Self:
        self._executor = DaemonExecutor("rigatoni-template")  # blocking calls stay off the event loop
        return self

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch durably. Writing the same batch again replaces its file by an identical one."""
        if self._executor is None:
            raise TemplateError("the destination is not entered", remedy="Use it in an `async with` block.")
        await self._executor.run(lambda: self._write(events))
        return None

    async def close(self) -> None:
        """Stop the thread. All files are complete, because a file gets its name only once it is durable."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()

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
                os.fsync(descriptor)  # make the name durable
            finally:
                os.close(descriptor)


def _name(events: EventBatch) -> str:
    """Return a name that sorts by the first event, and that differs for batches with another end."""
    time, ordinal = events.first.order
    return f"{time.seconds:010}.{time.increment:010}-{ordinal:020}-{token_hash(events.end.resume_token)}"
