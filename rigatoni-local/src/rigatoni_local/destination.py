"""The destination `local`: a folder of files on a local file system."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import (
    BatchSplitter,
    ConfigLinter,
    Delivery,
    Destination,
    DestinationMetadata,
    PositionKeeper,
    Prefetching,
    ReadBack,
    Serializer,
)
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.executor import DaemonExecutor, on_own_thread
from rigatoni_core.api.options import texts
from rigatoni_core.api.settings import Settings
from rigatoni_objects.file_layout import FileLayout, check_partitions
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_objects.records import Contents
from rigatoni_objects.scan import documents_of

from rigatoni_local import files
from rigatoni_local.chain import Chain, made
from rigatoni_local.errors import LocalBusyError, translated
from rigatoni_local.reading import written

T = TypeVar("T")

BEGIN_TIMEOUT = 15.0
"""Seconds that `begin` waits for another process to finish the batch that it is writing."""


@attrs.define(kw_only=True)
class LocalDestination(Destination, PositionKeeper, BatchSplitter, Prefetching, ConfigLinter, ReadBack):
    """Writes each batch as one file (one per partition) below `path`; see `rigatoni_local.chain` for how."""

    path: Annotated[Path, "The folder; it is created if missing. A local file system with hard links and file locks"]
    serializer: Annotated[Serializer, "What turns a batch into a file's content"]
    partition_by: Annotated[
        tuple[str, ...],
        "Hive style folders, in this order: `namespace`; `month`, `day` or `hour` of the cluster time (UTC); "
        "`field:customer.country`, a field of the document",
    ] = attrs.field(default=(), converter=texts, validator=check_partitions)
    folder_template: Annotated[
        str, "Folders of your own instead, such as `{database}/{collection}/{year}/{month}/{day}`"
    ] = attrs.field(default="", validator=check_partitions)
    _lanes: dict[str, tuple[DaemonExecutor, Chain]] = attrs.field(init=False, factory=dict, repr=False, eq=False)

    _early: PrefetchPool[Contents] = attrs.field(init=False, repr=False, eq=False)

    delivery: ClassVar[Delivery] = Delivery.EFFECTIVELY_ONCE

    def __attrs_post_init__(self) -> None:
        self._early = PrefetchPool("rigatoni-local early", partial(made, self._layout))  # which may not go together

    async def __aenter__(self) -> Self:
        """Create the folder, and make sure that its file system can do what the protocol needs."""

        def prepare() -> None:
            with translated("prepare the folder"):
                files.make_root(self.path)
                files.probe(self.path)

        await on_own_thread("rigatoni-local", prepare)
        return self

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch durably, or say where an earlier run fixed its end."""
        contents = self._early.result(events)
        return await self._run(events.stream, "write a batch", lambda chain: chain.write(events, contents))

    def prepare(self, events: EventBatch) -> None:
        """Serialize it."""
        self._early.begin(events)

    def discard(self, stream: Stream) -> None:
        """Forget what was serialized."""
        self._early.discard(stream)

    def read_back(self, pipeline: str) -> AsyncIterator[Mapping[str, Any]]:
        """The documents of every file, by the records beside them."""

        def names() -> list[str]:
            with translated("list what was written"):
                return [str(path) for path in written(self.path, pipeline)]

        def content(name: str) -> bytes:
            with translated("read what was written"):
                return Path(name).read_bytes()

        return documents_of(names, content, self.serializer)

    async def last_committed(self, stream: Stream) -> Position | None:
        """The end of the newest complete batch in the folder."""
        return await self._run(stream, "look for what was written", Chain.last_committed)

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Settle where the stream goes on. Raises `LocalBusyError` where another process does not let go."""
        call = partial(_begin, definition=definition, position=position, gap=gap)
        try:
            async with asyncio.timeout(BEGIN_TIMEOUT):
                return await self._run(stream, "settle where the stream goes on", call)
        except TimeoutError:
            raise LocalBusyError(
                f"{self.path / stream.key} could not be locked within {BEGIN_TIMEOUT:.0f} s: another process is "
                "writing a batch of this stream there, or the file system does not answer"
            ) from None

    def cut(self, events: EventBatch) -> int:
        """Batches end where a time partition ends."""
        return self._layout.cut(events)

    def metadata(self) -> DestinationMetadata:
        """The guarantee and its conditions."""
        partitions = f", partitioned by {', '.join(self.partition_by)}" if self.partition_by else ""
        return DestinationMetadata(
            f"files *{self.serializer.suffix} below {self.path}{partitions}",
            self.delivery,
            (
                "files and their records (_rigatoni) stay longer than the oldest checkpoint that may be restored",
                "the source's filter is deterministic: reading again yields the same events",
                "one local file system with hard links, file locks and a working fsync",
                "a clean stop before a server upgrade or before sharding a collection (resume tokens may change)",
            ),
        )

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """See `FileLayout.advice`."""
        return self._layout.advice(settings)

    async def close(self) -> None:
        """End the threads; one that hangs in the file system is left behind and does not keep the process alive."""
        for lane, _ in self._lanes.values():
            lane.close()
        self._lanes.clear()
        self._early.close()

    @property
    def _layout(self) -> FileLayout:
        return FileLayout(self.serializer, self.partition_by, self.folder_template)

    async def _run(self, stream: Stream, what: str, call: Callable[[Chain], T]) -> T:
        if stream.key not in self._lanes:
            self._lanes[stream.key] = (
                DaemonExecutor(f"rigatoni-local {stream}"),
                Chain(self.path, stream, self._layout),
            )
        lane, chain = self._lanes[stream.key]

        def attempt() -> T:
            with translated(what):
                return call(chain)

        return await lane.run(attempt)


def _begin(chain: Chain, *, definition: Definition, position: Position, gap: Gap | None) -> Position:
    return chain.begin(definition, position, gap)
