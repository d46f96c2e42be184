"""Destinations: the shipping one for objects over a model store, and one that only appends."""

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, TypeVar

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata, Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Position, Stream
from rigatoni_objects.chain import Chain
from rigatoni_objects.destination import ObjectDestination
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_objects.store import ObjectStore, Record

from rigatoni_testing.simulation.bucket import SETTLE_TIME, Appended, Bucket
from rigatoni_testing.simulation.greenlets import AtOnce, Greenlets, wait_for
from rigatoni_testing.simulation.ledger import Ledger
from rigatoni_testing.simulation.network import Network
from rigatoni_testing.simulation.process import running_loop
from rigatoni_testing.simulation.schedule import Server

T = TypeVar("T")


@attrs.frozen
class Numbers(Serializer):
    """Writes the numbers of events, four bytes each, and rejects poison. It records no options."""

    _poison: Mapping[str, Collection[int]] = attrs.field(factory=dict, alias="poison")

    accepts = frozenset({"numbers"})
    media_type = "application/octet-stream"
    suffix = ".numbers"

    def serialize(self, events: EventBatch) -> bytes:
        """See `Serializer`."""
        numbers = array("I", [int.from_bytes(events.raw(index)[:4]) for index in range(len(events))])
        poison = self._poison.get(events.stream.key, ())
        if rejected := {index: ValueError("poison") for index, number in enumerate(numbers) if number in poison}:
            raise RejectedEventsError(rejected)
        return numbers.tobytes()


class ModelStore(ObjectStore):
    """A bucket at the other end of a network."""

    def __init__(self, bucket: Bucket, network: Network) -> None:
        self.metadata_limit = 1900 if bucket.carries else 0
        self.folds_case = bucket.folds_case
        self._bucket = bucket
        self._network = network

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`."""
        whole = bytes(content)
        return self._request("put", key, lambda: self._bucket.create(key, whole, record))

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        found = self._request("head", key, lambda: self._bucket.find(key))
        return found[1] if found is not None else None

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        found = self._request("get", key, lambda: self._bucket.find(key))
        return found[0] if found is not None else None

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        return self._request("list", prefix, lambda: self._bucket.keys(prefix, after, limit))

    def _request(self, what: str, key: str, effect: Callable[[], T]) -> T:
        return wait_for(self._network.request(Server.DESTINATION, f"{what} of {self._bucket.log.stream} {key}", effect))


@attrs.define(kw_only=True, eq=False)
class ChainDestination(ObjectDestination):
    """The shipping object destination over model stores; blocking calls are greenlets. The ledger watches writes.

    The model is no option of it, so its fields are private: core looks through the options of each new pipeline.
    """

    _buckets: Mapping[str, Bucket]
    _network: Network
    _ledger: Ledger

    carries_records: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if any(bucket.folds_case for bucket in self._buckets.values()):
            self.layout = attrs.evolve(self.layout, folds_case=True)
        self._runner = Greenlets()
        self._prefetched = PrefetchPool("simulated prefetch", self._contents, executor=AtOnce)

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`."""
        with self._ledger.writing(self._network, events):
            fixed = await ObjectDestination.write_batch(self, events)
        if fixed is None:
            self._ledger.written(self._network, events)
        return fixed

    async def _run(self, stream: Stream, call: Callable[[Chain], T]) -> T:
        """See `ObjectDestination`. Waiting for a chain without progress is bounded."""
        if not self._network.hangs:
            return await ObjectDestination._run(self, stream, call)
        waiting = True

        def expect(progress: int) -> None:
            def is_over() -> bool:
                if waiting and (now := self.progress(stream)) > progress:
                    expect(now)
                    return True
                return not waiting

            self._network.expect_abandoned(f"chain of {stream}", is_over)

        expect(self.progress(stream))
        try:
            return await ObjectDestination._run(self, stream, call)
        finally:
            waiting = False

    def store(self, folder: str) -> ModelStore:
        """See `ObjectDestination`."""
        return ModelStore(self._buckets[folder], self._network)

    def quiescence(self, stream: Stream) -> ClosingMark:
        """See `ObjectDestination`."""
        return ClosingMark(SETTLE_TIME, clock=running_loop().time)

    def where(self, folder: str) -> str:
        """See `ObjectDestination`."""
        return f"model:{folder}/"

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of an object store", self.delivery)


class SidecarDestination(ChainDestination):
    """The same for stores whose objects carry no records."""

    carries_records: ClassVar[bool] = False


@attrs.define(kw_only=True, eq=False)
class AppendDestination(Destination):
    """Buffers batches and appends them on flush: at least once."""

    _appended: Mapping[str, Appended]
    _network: Network
    _ledger: Ledger
    _taken: list[EventBatch] = attrs.field(factory=list, init=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`."""
        with self._ledger.writing(self._network, events, rejects=True):
            await self._network.request(Server.DESTINATION, f"hand over of {events.stream}", lambda: None)
            self._taken.append(events)
        return None

    async def flush(self) -> None:
        """See `Destination`."""
        taken = tuple(self._taken)

        def append() -> None:
            for events in taken:
                appended = self._appended[events.stream.key]
                appended.batches.append(appended.log.numbers(events))
                self._ledger.appended(events)

        await self._network.request(Server.DESTINATION, f"flush of {len(taken)} batches", append)
        self._taken = [events for events in self._taken if events not in taken]
        for events in taken:
            self._ledger.written(self._network, events)

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of a file that only grows", self.delivery)


@attrs.define(kw_only=True, eq=False)
class LetterDestination(Destination):
    """Stores dead letters; repeated ones change nothing."""

    _network: Network
    _ledger: Ledger

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`."""
        account = next(it for it in self._ledger.accounts.values() if it.log.stream.name == events.stream.name)
        numbers = account.log.numbers(events)
        await self._network.request(
            Server.DESTINATION, f"dead letters {numbers} of {events.stream}", lambda: account.letters.update(numbers)
        )
        return None

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of a place for dead letters", self.delivery)
