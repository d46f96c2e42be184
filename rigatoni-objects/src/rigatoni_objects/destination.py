"""The base class of destinations that store batches as immutable named objects."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, TypeVar

import attrs
from attrs import validators
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import (
    BatchSplitter,
    ConfigLinter,
    Delivery,
    Destination,
    Diagnosable,
    Finding,
    Prefetching,
    ReadBack,
    RecordKeeper,
    Serializer,
)
from rigatoni_core.api.events import Coverage, Definition, Gap, Position, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.notices import SerializerChanged
from rigatoni_core.api.options import texts
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.succession import History, SuccessionKeeper

from rigatoni_objects.chain import Chain, one_by_one
from rigatoni_objects.chunks import ChunkChain
from rigatoni_objects.contents import Contents, contents_of
from rigatoni_objects.file_layout import FileLayout, check_partitions
from rigatoni_objects.file_sizes import forecast
from rigatoni_objects.kept_records import settle
from rigatoni_objects.listing import Each, recorded_streams
from rigatoni_objects.losses import missing_objects
from rigatoni_objects.prefetch import PrefetchPool
from rigatoni_objects.quiescence import Quiescence
from rigatoni_objects.scan import deserialized, documents_of, written
from rigatoni_objects.store import ObjectStore
from rigatoni_objects.threads import Runner, Threads

T = TypeVar("T")

COMMON_CONDITIONS = (
    "the source's filter is deterministic: rereading yields the same events",
    "a clean stop before a server upgrade or before sharding a collection (resume tokens may change)",
)
"""The conditions of exactly once in effect that hold for every store."""


@attrs.define(kw_only=True)
class ObjectDestination(
    Destination, SuccessionKeeper, RecordKeeper, BatchSplitter, Prefetching, ConfigLinter, Diagnosable, ReadBack
):
    """Writes each batch as one object, or as one object per folder; see `rigatoni_objects.chain`.

    A subclass adds the options of its store, opens the store in `__aenter__`, and implements `store`, `quiescence` and
    `where`.
    """

    serializer: Annotated[Serializer, "Serializes a batch into an object's content"]
    partition_by: Annotated[
        tuple[str, ...],
        "Hive-style folders, nested in this order: `namespace`; `month`, `day` or `hour` of the cluster time (UTC); "
        "`field:customer.country`, a field of the document",
    ] = attrs.field(default=(), converter=texts, validator=check_partitions)
    folder_template: Annotated[
        str, "Custom folders instead of `partition_by`, such as `{database}/{collection}/{year}/{month}/{day}`"
    ] = attrs.field(default="", validator=check_partitions)
    max_objects_per_batch: Annotated[int, "A batch ends before its events need more objects than this"] = attrs.field(
        default=1000, validator=validators.ge(1)
    )
    layout: FileLayout = attrs.field(init=False, repr=False, eq=False)
    """Maps batches to objects."""
    _chains: dict[str, Chain] = attrs.field(init=False, factory=dict, repr=False, eq=False)
    _runner: Runner = attrs.field(init=False, repr=False, eq=False)
    _prefetched: PrefetchPool[Contents] = attrs.field(init=False, repr=False, eq=False)

    delivery: ClassVar[Delivery] = Delivery.EFFECTIVELY_ONCE
    carries_records: ClassVar[bool]
    """Whether the store's objects carry records (`ObjectStore.metadata_limit` is not 0)."""
    width: ClassVar[int] = 8
    """Objects of one batch that are created concurrently."""

    def __attrs_post_init__(self) -> None:
        self.layout = FileLayout(  # raises ValueError for conflicting options
            self.serializer, self.partition_by, self.folder_template, self.max_objects_per_batch
        )
        self.layout.check()
        name = type(self).__module__.partition(".")[0].replace("_", "-")
        self._runner = Threads(name, self.width)
        self._prefetched = PrefetchPool(f"{name} prefetch", self._contents)

    # --- the store

    @abstractmethod
    def store(self, folder: str) -> ObjectStore:
        """Return the objects below this folder (`<pipeline>/<stream>`, or only `<pipeline>`). Called on any thread."""

    @abstractmethod
    def quiescence(self, stream: Stream) -> Quiescence:
        """Return the policy that closes old definitions of this stream."""

    @abstractmethod
    def where(self, folder: str) -> str:
        """Return the folder as shown in messages, with a trailing slash."""

    # --- the contract of destinations

    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch durably, or return the position at which it must end."""
        contents = self._prefetched.result(events)
        return await self._run(events.stream, lambda chain: chain.write(events, contents))

    def prepare(self, events: EventBatch) -> None:
        """Start serializing the batch."""
        self._prefetched.begin(events)

    def discard(self, stream: Stream) -> None:
        """Drop the stream's prefetched batches."""
        self._prefetched.discard(stream)

    async def last_committed(self, stream: Stream) -> Position | None:
        """Return the end of the newest complete batch; lists the stream's leads."""
        return await self._run(stream, Chain.last_committed)

    async def recorded_identity(self, stream: Stream) -> Identity:
        """Return the deployment that the definition in force records."""
        return await self._run(stream, Chain.recorded_identity)

    async def settle(self, stream: Stream, name: str, content: bytes | None = None) -> bytes | None:
        """Create a record below the stream's folder unless it exists; see `RecordKeeper`."""
        call = partial(settle, self.store(stream.key), self.quiescence(stream), name, content)
        return await self._runner.run(stream, call)

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Decide where the stream resumes. Raises `DefinitionSettlingError` until an old definition is quiescent."""
        return await self._begin(stream, definition, lambda chain: chain.begin(definition, position, gap))

    async def _begin(self, stream: Stream, definition: Definition, begin: Callable[[Chain], Position]) -> Position:
        resumed = await self._run(stream, begin)
        chain = self._chains[stream.key]
        if chain.serializer_change and definition.layout_counts:
            publish(SerializerChanged(stream=stream, reason=chain.serializer_change))
            chain.serializer_change = ""
        return resumed

    async def close_stream(self, stream: Stream) -> Position | None:
        """Close the stream to further batches. See `StreamCloser`."""
        return await self._run(stream, Chain.close)

    async def recorded_streams(self, pipeline: str) -> Sequence[Stream]:
        """The streams of the pipeline that have a definition here; a few requests for each."""
        anyone = Stream(pipeline, "*")
        return await self._runner.run(anyone, partial(recorded_streams, self.store(_folder_of(pipeline)), pipeline))

    async def history(self, stream: Stream) -> History:
        """What the stream's definitions say."""
        return await self._run(stream, Chain.history)

    async def end_stream(
        self, stream: Stream, definition: Definition, position: Position, rest: Collection[str]
    ) -> None:
        """Create another closing definition, which holds the rest."""
        await self._run(stream, lambda chain: chain.end(definition, position, rest))

    async def succeed(
        self, stream: Stream, definition: Definition, position: Position, left_out: Sequence[Coverage]
    ) -> Position:
        """Create a definition that says what is left out."""
        return await self._begin(stream, definition, lambda chain: chain.begin(definition, position, left_out=left_out))

    def left_out(self, stream: Stream) -> Sequence[Coverage]:
        """What the definition in force leaves out."""
        chain = self._chains.get(stream.key)
        return chain.left_out if chain is not None else ()

    def already_written_count(self, stream: Stream) -> int:
        """Return how many events of this stream earlier runs wrote. See `Destination`."""
        chain = self._chains.get(stream.key)
        return chain.found if chain is not None else 0

    def progress(self, stream: Stream) -> int:
        """Return how many of this stream's requests to the store have returned."""
        chain = self._chains.get(stream.key)
        return chain.progress if chain is not None else 0

    def read_back(self, pipeline: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the documents of every object of the pipeline."""
        store = self.store(_folder_of(pipeline))
        return documents_of(partial(written, store), store.read, self.serializer)

    async def missing_objects(
        self, pipeline: str, delivered: Mapping[Stream, Position]
    ) -> Mapping[Stream, Sequence[str]]:
        """Return the names of objects that complete batches name and that are missing. Reads all separate leads.

        Args:
            pipeline: The name of the pipeline.
            delivered: The positions that streams have reached; without it, a stream's newest batch may be unfinished.
        """
        return await missing_objects(self.store, _folder_of(pipeline), delivered)

    def as_read_back(self, events: EventBatch) -> Sequence[Mapping[str, Any]]:
        """Return what the serializer makes of these events, deserialized."""
        return deserialized(bytes(self.serializer.serialize(events)), self.serializer)

    def split(self, events: EventBatch) -> int:
        """Return how many leading events fit into one time partition and `max_objects_per_batch`."""
        return self.layout.split(events)

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Return recommendations about these settings; see `FileLayout.advice`."""
        return self.layout.advice(settings)

    def checks(
        self, settings: Settings, positions: Mapping[Stream, Position | None]
    ) -> Mapping[str, Callable[[], Awaitable[Sequence[Finding]]]]:
        """Return the forecast of small objects; see `Diagnosable`."""
        partitioned = bool(self.partition_by or self.folder_template)
        return {"object sizes": partial(forecast, settings, len(positions), partitioned)}

    async def close(self) -> None:
        """Stop the threads. A thread that waits for the store is abandoned and does not keep the process alive."""
        self._runner.close()
        self._chains.clear()
        self._prefetched.close()

    # --- inside

    def chain(self, stream: Stream, each: Each = one_by_one) -> Chain:
        """Return a chain of this stream, as this destination uses it. Its calls block."""
        kind = ChunkChain if stream.of_snapshot is not None else Chain
        return kind(self.store(stream.key), stream, self.layout, self.quiescence(stream), self.where(stream.key), each)

    def _contents(self, events: EventBatch) -> Contents:
        chain = self._chains.get(events.stream.key)
        return contents_of(chain.layout if chain else self.layout, events, own_lead=self.carries_records)

    async def _run(self, stream: Stream, call: Callable[[Chain], T]) -> T:
        if stream.key not in self._chains:
            self._chains[stream.key] = self.chain(stream, partial(self._runner.each, stream))
        return await self._runner.run(stream, partial(call, self._chains[stream.key]))

    @property
    def partitions(self) -> str:
        """The partitions in words, to be put behind a description; empty where there are none."""
        return f", partitioned by {', '.join(self.partition_by)}" if self.partition_by else ""


def _folder_of(pipeline: str) -> str:
    """The folder of all streams of a pipeline."""
    return Stream(pipeline, "*").key.rpartition("/")[0]
