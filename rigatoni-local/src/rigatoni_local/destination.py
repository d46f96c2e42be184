"""The destination `local`: a folder of files on a local file system."""

import asyncio
from pathlib import Path
from typing import Annotated, ClassVar, Self

import attrs
from rigatoni_core.api.contracts import DestinationMetadata
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_objects.destination import COMMON_CONDITIONS, ObjectDestination

from rigatoni_local import files
from rigatoni_local.errors import LocalBusyError, translated
from rigatoni_local.store import FolderLock, FolderStore

BEGIN_TIMEOUT = 60.0
"""Seconds to wait while another process holds the folder's lock."""


@attrs.define(kw_only=True)
class LocalDestination(ObjectDestination):
    """Writes each batch as one file, or as one file per folder, below `path`."""

    path: Annotated[Path, "The folder; created if it does not exist"]
    _folds_case: bool = attrs.field(init=False, default=False, repr=False, eq=False)
    _opening: SerialExecutor = attrs.field(init=False, repr=False, eq=False)

    carries_records: ClassVar[bool] = False

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._opening = SerialExecutor(
            "rigatoni-local",
            lambda seconds: LocalBusyError(f"the folder {self.path} has not responded for {seconds:.0f} s"),
        )

    async def __aenter__(self) -> Self:
        """Create the folder, and check that its file system supports what the protocol needs."""

        def prepare() -> bool:
            with translated("prepare the folder"):
                files.make_root(self.path)
                return files.probe(self.path)

        self._folds_case = await self._opening.run(prepare)
        self.layout = attrs.evolve(self.layout, folds_case=self._folds_case)
        return self

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Decide where the stream resumes. Raises `LocalBusyError` if another process keeps the lock."""
        try:
            async with asyncio.timeout(BEGIN_TIMEOUT):
                return await super().begin(stream, definition, position, gap=gap)
        except TimeoutError:
            raise LocalBusyError(
                f"locking {self.path / stream.key} took longer than {BEGIN_TIMEOUT:.0f} s: another process is "
                "writing a batch of this stream there, or the file system does not respond"
            ) from None

    def store(self, folder: str) -> FolderStore:
        """See `ObjectDestination`."""
        return FolderStore(self.path, folder, folds_case=self._folds_case)

    def quiescence(self, stream: Stream) -> FolderLock:
        """See `ObjectDestination`: a lock, which the operating system releases when a process dies."""
        return FolderLock(self.store(stream.key))

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"{self.path / folder}/"

    def metadata(self) -> DestinationMetadata:
        """Return the delivery guarantee and its conditions."""
        return DestinationMetadata(
            f"files *{self.serializer.suffix} below {self.path}{self.partitions}",
            self.delivery,
            (
                "files and their records (_rigatoni) are kept longer than the oldest checkpoint that may be restored",
                *COMMON_CONDITIONS,
                "one local file system with hard links, file locks and a working fsync",
            ),
        )
