"""The shipping destination over a model of an object store, whose puts may arrive after their process died."""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import ClassVar

import attrs
from rigatoni_core.api.contracts import DestinationMetadata
from rigatoni_core.api.events import Stream
from rigatoni_objects.destination import ObjectDestination
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_objects.store import Record

from rigatoni_testing.objects import MemoryObjects, MemoryStore
from rigatoni_testing.simulation.watching.lives import Process, T

SETTLE_TIME = 5.0


@attrs.define
class Objects:
    """What the bucket holds, and what is still on its way to it from processes that died."""

    chance: random.Random
    held: MemoryObjects = attrs.field(factory=MemoryObjects)
    late: list[tuple[str, Callable[[], bool]]] = attrs.field(factory=list)

    def arrive(self, seen: str = "") -> None:
        """Let late puts arrive: at any time, at the latest when the mark is seen that closes their chain."""
        closing = seen.partition("/_rigatoni/closing-")[0] if "/_rigatoni/closing-" in seen else None
        for key, effect in self.late.copy():
            if self.chance.random() < 0.02 or (closing and key.startswith(f"{closing}/")):
                self.late.remove((key, effect))
                effect()


class Folder(MemoryStore):
    """The objects below one folder, as one process sees them."""

    def __init__(self, objects: Objects, folder: str, process: Process) -> None:
        super().__init__(objects.held)
        self._everything, self._folder, self._process = objects, folder, process

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`."""
        path = f"{self._folder}/{key}"

        def effect() -> bool:
            return MemoryStore.create(self, path, content, media_type=media_type, record=record)

        def late(effect: Callable[[], bool]) -> None:
            self._everything.late.append((path, effect))

        created = self._process.request(effect, late if "_rigatoni" not in key else None)
        self._everything.arrive(path)
        return created

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        path = f"{self._folder}/{key}"
        found = self._process.request(lambda: MemoryStore.head(self, path))
        self._everything.arrive(path if found is not None else "")
        return found

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._process.request(lambda: MemoryStore.read(self, f"{self._folder}/{key}"))

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        top = f"{self._folder}/"
        below = f"{top}{after}" if after else ""
        found = self._process.request(lambda: MemoryStore.keys(self, top + prefix, after=below, limit=limit))
        return [key.removeprefix(top) for key in found]


class Inline:
    """A runner that makes each call at once."""

    async def run(self, stream: Stream, call: Callable[[], T]) -> T:
        """See `Runner`."""
        return call()

    def each(self, stream: Stream, calls: Sequence[Callable[[], T]]) -> Sequence[T]:
        """See `Runner`."""
        return [call() for call in calls]

    def close(self) -> None:
        """There is nothing to end."""


class AtOnce:
    """An executor that has done each call when `begin` returns."""

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """The call's result."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        future.set_result(call())
        return future

    def close(self) -> None:
        """There is nothing to end."""


@attrs.define(kw_only=True, eq=False)
class FolderDestination(ObjectDestination):
    """The shipping protocol over the model."""

    objects: Objects
    process: Process

    carries_records: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._runner = Inline()
        self._prefetched = PrefetchPool("prefetch", self._contents, executor=lambda *_: AtOnce())

    def store(self, folder: str) -> Folder:
        """See `ObjectDestination`."""
        return Folder(self.objects, folder, self.process)

    def quiescence(self, stream: Stream) -> ClosingMark:
        """See `ObjectDestination`."""
        return ClosingMark(SETTLE_TIME, clock=asyncio.get_running_loop().time)

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"model:{folder}/"

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of an object store", self.delivery)
