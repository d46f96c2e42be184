"""The shipping object destination over objects in memory, on an event loop without threads.

Each request to the store waits first, so that other tasks run in between, and takes effect only while its process is
alive.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

import attrs
from bson import decode_all
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import ANY_FORMAT, DestinationMetadata, Serializer
from rigatoni_core.api.events import Stream
from rigatoni_objects.destination import ObjectDestination
from rigatoni_objects.paths import OWN, STEM
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_objects.store import Record

from rigatoni_testing.objects import MemoryObjects, MemoryStore
from rigatoni_testing.simulation.greenlets import AtOnce, Greenlets, wait_for

T = TypeVar("T")


@attrs.define(kw_only=True, eq=False)
class RawDocuments(Serializer):
    """Writes the raw documents, one after another."""

    accepts = frozenset({ANY_FORMAT})
    media_type = "application/octet-stream"
    suffix = ".raw"

    def serialize(self, events: EventBatch) -> bytes:
        """See `Serializer`."""
        return b"".join(bytes(events.raw(index)) for index in range(len(events)))


@attrs.define(eq=False)
class ModelProcess:
    """A process: its requests wait as `pause` says, and have no effect once it is dead."""

    pause: Callable[[str], Awaitable[None]]
    dead: bool = False

    async def request(self, what: str, effect: Callable[[], T]) -> T:
        """Make a request."""
        await self.pause(what)
        await self._live()
        result = effect()
        await self._live()
        return result

    async def _live(self) -> None:
        if self.dead:
            await asyncio.Event().wait()


class ModelStore(MemoryStore):
    """One stream's objects of a bucket that all processes share."""

    def __init__(self, objects: MemoryObjects, process: ModelProcess, *, metadata_limit: int) -> None:
        super().__init__(objects, metadata_limit=metadata_limit)
        self._process = process

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`."""
        create = MemoryStore.create
        return self._wait(f"put {key}", lambda: create(self, key, content, media_type=media_type, record=record))

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        return self._wait(f"head {key}", lambda: MemoryStore.head(self, key))

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._wait(f"get {key}", lambda: MemoryStore.read(self, key))

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        return self._wait(f"list {prefix}", lambda: MemoryStore.keys(self, prefix, after=after, limit=limit))

    def link(self, source: str, key: str) -> bool | None:
        """See `ObjectStore`."""
        return self._wait(f"link {key}", lambda: MemoryStore.link(self, source, key))

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        for key in keys:
            self._wait(f"delete {key}", lambda key=key: MemoryStore.delete(self, [key]))  # type: ignore[misc]

    def _wait(self, what: str, effect: Callable[[], T]) -> T:
        return wait_for(self._process.request(what, effect))


@attrs.define
class ModelBucket:
    """The objects of all streams, by the stream's folder, and the order in which they came."""

    folders: dict[str, MemoryObjects] = attrs.field(factory=dict)
    arrivals: list[tuple[str, str]] = attrs.field(factory=list)

    def folder(self, name: str) -> MemoryObjects:
        """Return the objects below a folder."""
        if name not in self.folders:
            self.folders[name] = Arriving(name, self.arrivals)
        return self.folders[name]

    def documents(self, stream: Stream) -> list[dict[str, Any]]:
        """Return the documents of a stream, in the order of its objects' names."""
        found = self.folder(stream.key).contents
        names = sorted((match[1], key) for key in found if not key.startswith(OWN) and (match := STEM.search(key)))
        return [document for _, key in names for document in decode_all(found[key][0])]

    def ranges(self) -> list[str]:
        """Return the folders of the ranges of snapshots that hold a definition."""
        kept = (name for name, objects in self.folders.items() if f"{OWN}definition-0.json" in objects.contents)
        return sorted(name for name in kept if ".snapshots/" in name)


class Arriving(MemoryObjects):
    """Notes the order in which objects come."""

    def __init__(self, folder: str, arrivals: list[tuple[str, str]]) -> None:
        super().__init__(contents=Noting(folder, arrivals))


class Noting(dict[str, Any]):
    """A dictionary that notes its new keys."""

    def __init__(self, folder: str, arrivals: list[tuple[str, str]]) -> None:
        super().__init__()
        self._folder = folder
        self._arrivals = arrivals

    def __setitem__(self, key: str, value: Any) -> None:
        self._arrivals.append((self._folder, key))
        super().__setitem__(key, value)


@attrs.define(kw_only=True, eq=False)
class ModelDestination(ObjectDestination):
    """The shipping destination over a `ModelBucket`."""

    bucket: ModelBucket
    process: ModelProcess
    metadata_limit: int = 1900

    carries_records: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.carries_records = bool(self.metadata_limit)  # type: ignore[misc]
        self._runner = Greenlets()
        self._prefetched = PrefetchPool("model prefetch", self._contents, executor=AtOnce)

    def store(self, folder: str) -> ModelStore:
        """See `ObjectDestination`."""
        return ModelStore(self.bucket.folder(folder), self.process, metadata_limit=self.metadata_limit)

    def quiescence(self, stream: Stream) -> ClosingMark:
        """See `ObjectDestination`."""
        return ClosingMark(0.0)

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"model:{folder}/"

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of an object store", self.delivery)
