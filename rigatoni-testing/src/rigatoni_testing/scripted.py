"""A source, destinations and a state store for tests of the loop: real contracts, scripted faults, no I/O.

These are fakes on purpose: they do what no server does on demand (fail after the effect, hang, lose a position). Each
takes a list of faults that it consumes one by one; `None` means that this call succeeds.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import attrs
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import (
    Delivery,
    Destination,
    DestinationMetadata,
    PositionKeeper,
    Serializer,
    Source,
    TransactionalKeeper,
)
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import DefinitionChangedError, PositionLostError
from rigatoni_core.api.events import Checkpoint, Definition, Gap, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_core.builtin.memory import MemoryStateStore

from rigatoni_testing.batches import event_document, event_format, token_of

HANG: Any = object()
"""A fault: the call never returns."""


async def _suffer(faults: list[Any]) -> None:
    fault = faults.pop(0) if faults else None
    if fault is HANG:
        await asyncio.Event().wait()
    if fault is not None:
        raise fault


class Log:
    """The history of one watched namespace: raw change events in order, append-only.

    Args:
        documents: The first events.
    """

    def __init__(self, documents: Iterable[Mapping[str, Any]] = ()) -> None:
        self._format = event_format()
        self.raws: list[bytes] = []
        self.tokens: list[ResumeToken] = []
        self.times: list[Timestamp] = []
        self.grown = asyncio.Event()
        self.append(*documents)

    def append(self, *documents: Mapping[str, Any]) -> None:
        """Append events, and wake up the readers.

        Args:
            documents: The events.
        """
        for document in documents:
            self.raws.append(self._format.encode(document))
            self.tokens.append(token_of(document["_id"]))
            time = document["clusterTime"]
            self.times.append(Timestamp(time.time, time.inc))
        self.grown.set()

    def grow(self, count: int) -> None:
        """Append `count` ordinary events."""
        start = len(self.raws)
        self.append(*(event_document(number) for number in range(start, start + count)))


@attrs.define(kw_only=True)
class ScriptedSource(Source):
    """Serves logs like a server: `reply_events` at a time, and heartbeats every `await_time` seconds when idle.

    `faults[n]` is raised once when a reader reaches event `n`; `lost_before` says that positions before this index
    have rolled out of the history. A fresh stream begins at the log's end, or at `start`.
    """

    logs: Mapping[str, Log]
    reply_events: int = 10
    await_time: float = 1.0
    faults: dict[int, Exception] = attrs.field(factory=dict)
    lost_before: int = 0
    start: int | None = None
    fingerprint: str = "fingerprint"
    identity: Identity = attrs.field(factory=Identity)
    decoder: Decoder = attrs.field(factory=event_format)  # type: ignore[misc]
    opened: int = attrs.field(default=0, init=False)
    served: int = attrs.field(default=0, init=False)

    async def streams(self) -> Sequence[str]:
        """See `Source`: one stream per log."""
        return list(self.logs)

    def definition(self, stream: Stream) -> Definition:
        """See `Source`."""
        return Definition(self.fingerprint, {"watch": stream.name}, identity=self.identity)

    def read_from_now(self, stream: Stream) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        log = self.logs[stream.name]
        return self.read(stream, after=self._mark(log, len(log.raws)))

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        self.opened += 1
        log = self.logs[stream.name]
        index = self._index(log, after)
        if index < self.lost_before:
            raise PositionLostError(f"the history before event {self.lost_before} of {stream} is gone")
        position = after or self._mark(log, index)
        yield self._heartbeat(log, position, index)
        while True:
            if fault := self.faults.pop(index, None):
                raise fault
            if index == len(log.raws):
                position = self._mark(log, index)
                yield self._heartbeat(log, position, index)
                await self._news(log)
                continue
            stop = min([index + self.reply_events, len(log.raws), *(n for n in self.faults if n > index)])
            raws = log.raws[index:stop]
            batch = EventBatch.from_reply(
                position,
                stream,
                memoryview(b"".join(raws)),
                array("Q", accumulate(map(len, raws), initial=0)),
                self.decoder,
                source_time=log.times[-1],
            )
            self.served += len(raws)
            index, position = stop, batch.end
            yield batch
            await asyncio.sleep(0)

    def _index(self, log: Log, after: Position | None) -> int:
        if after is None:
            return len(log.raws) if self.start is None else self.start
        if after.resume_token.startswith("mark:"):
            return int(after.resume_token[5:])
        return log.tokens.index(after.resume_token) + 1

    def _mark(self, log: Log, index: int) -> Position:
        """Returns a position between events, like a server's post-batch resume token."""
        time = log.times[index - 1].next() if index else Timestamp(0, 0)
        return Position(ResumeToken(f"mark:{index}"), self.fingerprint, time, 0)

    @staticmethod
    def _heartbeat(log: Log, position: Position, index: int) -> Heartbeat:
        time = log.times[-1].next() if log.times else Timestamp(0, 0)
        return Heartbeat(position, time, caught_up=index == len(log.raws))

    async def _news(self, log: Log) -> None:
        log.grown.clear()
        try:
            async with asyncio.timeout(self.await_time):
                await log.grown.wait()
        except TimeoutError:
            pass


@attrs.define(kw_only=True)
class RecordingDestination(Destination):
    """Keeps the resume tokens of written events in lists; at-least-once.

    `before` faults are raised before the effect, `after` faults when the batch is stored and the response is lost;
    `seconds` is how long each write takes.
    """

    before: list[Any] = attrs.field(factory=list)
    after: list[Any] = attrs.field(factory=list)
    seconds: float = 0.0
    batches: list[list[ResumeToken]] = attrs.field(factory=list, init=False)
    attempts: int = attrs.field(default=0, init=False)
    closed: bool = attrs.field(default=False, init=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    @property
    def tokens(self) -> list[ResumeToken]:
        """Returns the tokens of all written events, in order."""
        return [token for batch in self.batches for token in batch]

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`. Records the tokens of the batch."""
        self.attempts += 1
        await _suffer(self.before)
        await asyncio.sleep(self.seconds)
        self.batches.append([events.token_and_time(index)[0] for index in range(len(events))])
        await _suffer(self.after)
        return None

    async def close(self) -> None:
        """Record that the destination was closed."""
        self.closed = True

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a list in memory", self.delivery)


@attrs.define
class Bucket:
    """A model of an object store with conditional put, shared by the destinations that write into it."""

    objects: dict[tuple[str, str], tuple[int, Position, list[ResumeToken]]] = attrs.field(factory=dict)
    definitions: dict[str, list[tuple[str, Position]]] = attrs.field(factory=dict)
    identities: dict[str, Identity] = attrs.field(factory=dict)  # of the newest definition

    def tokens(self, stream: Stream) -> list[ResumeToken]:
        """Return the resume tokens of the visible events of a stream, in the order of the objects' names.

        Args:
            stream: The stream.
        """
        names = sorted(name for key, name in self.objects if key == stream.key)
        return [token for name in names for token in self.objects[stream.key, name][2]]


@attrs.define(kw_only=True)
class BucketDestination(Destination, PositionKeeper):
    """The minimal delivery protocol: an object is named by its first event and created only if absent."""

    bucket: Bucket
    before: list[Any] = attrs.field(factory=list)
    after: list[Any] = attrs.field(factory=list)
    _numbers: dict[str, int] = attrs.field(factory=dict, init=False)

    delivery: ClassVar[Delivery] = Delivery.EFFECTIVELY_ONCE

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`: one conditional write into the bucket."""
        await _suffer(self.before)
        stream, first = events.stream, events.first
        number = self._numbers[stream.key]
        if number < len(self.bucket.definitions[stream.key]) - 1:
            raise DefinitionChangedError(f"{stream} has a newer definition")
        time = first.cluster_time or Timestamp(0, 0)
        name = (stream.key, f"{time.seconds:010}.{time.increment:010}-{first.ordinal:08}")
        tokens = [events.token_and_time(index)[0] for index in range(len(events))]
        _, end, _ = self.bucket.objects.setdefault(name, (number, events.end, tokens))
        await _suffer(self.after)
        return None if end.resume_token == events.end.resume_token else end

    async def last_committed(self, stream: Stream) -> Position | None:
        """See `PositionKeeper`."""
        ends = [end for (key, _), (_, end, _) in self.bucket.objects.items() if key == stream.key]
        ends += [anchor for _, anchor in self.bucket.definitions.get(stream.key, [])]
        return max(ends, key=lambda end: end.order, default=None)

    async def recorded_identity(self, stream: Stream) -> Identity:
        """See `PositionKeeper`."""
        return self.bucket.identities.get(stream.key, Identity())

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """See `PositionKeeper`."""
        definitions = self.bucket.definitions.setdefault(stream.key, [])
        before = len(definitions)
        if not definitions or gap:
            definitions.append((definition.fingerprint, position))
        elif definitions[-1][0] != definition.fingerprint:
            committed = await self.last_committed(stream)
            assert committed is not None
            definitions.append((definition.fingerprint, max(committed, position, key=lambda end: end.order)))
        if len(definitions) > before:
            self.bucket.identities[stream.key] = definition.identity
        self._numbers[stream.key] = len(definitions) - 1
        anchor = definitions[-1][1]
        if position.resume_token.startswith("mark:") and not self.bucket.objects and not gap:
            return anchor  # on concurrent fresh starts, the first anchor is in force
        return max(anchor, position, key=lambda end: end.order)

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of an object store", self.delivery)


@attrs.define
class Table:
    """A model of a table whose commits hold rows and position, shared by the destinations that write into it."""

    rows: list[tuple[str, ResumeToken]] = attrs.field(factory=list)
    records: dict[str, StreamRecord] = attrs.field(factory=dict)

    def tokens(self, stream: Stream) -> list[ResumeToken]:
        """Return the resume tokens of the committed events of a stream, in order.

        Args:
            stream: The stream.
        """
        return [token for key, token in self.rows if key == stream.key]


@attrs.define(kw_only=True)
class TableDestination(Destination, TransactionalKeeper):
    """The minimal transactional destination: rows and position change in one step."""

    table: Table
    before: list[Any] = attrs.field(factory=list)
    after: list[Any] = attrs.field(factory=list)
    serializer: Serializer | None = None
    _left: dict[str, StreamRecord] = attrs.field(factory=dict, init=False)

    delivery: ClassVar[Delivery] = Delivery.TRANSACTIONAL

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`: one commit of rows and position."""
        await _suffer(self.before)
        if self.serializer:
            self.serializer.serialize(events)
        key = events.stream.key
        held = self._left[key].expect(self.table.records.get(key))
        if held.holds(events):
            return None
        if (end := held.end_within(events)) is not None:
            return end
        self.table.rows += ((key, events.token_and_time(index)[0]) for index in range(len(events)))
        self._left[key] = self.table.records[key] = held.after(events)
        await _suffer(self.after)
        return None

    async def last_committed(self, stream: Stream) -> Position | None:
        """See `PositionKeeper`."""
        held = self.table.records.get(stream.key)
        return held.position if held is not None else None

    async def recorded_identity(self, stream: Stream) -> Identity:
        """See `PositionKeeper`."""
        held = self.table.records.get(stream.key)
        return held.identity if held is not None else Identity()

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """See `TransactionalKeeper`."""
        await _suffer(self.before)
        record = StreamRecord.begun(stream, self.table.records.get(stream.key), definition, position, gap)
        self._left[stream.key] = self.table.records[stream.key] = record
        await _suffer(self.after)
        return record.position

    async def commit_idle(self, stream: Stream, position: Position) -> None:
        """See `TransactionalKeeper`."""
        await _suffer(self.before)
        held = self._left[stream.key].expect(self.table.records.get(stream.key))
        self._left[stream.key] = self.table.records[stream.key] = held.at(position)

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of a table", self.delivery)


@attrs.define(kw_only=True)
class FlakyStateStore(MemoryStateStore):
    """A memory store whose loads and saves fail as scripted; `saves` holds every save that took effect."""

    load_faults: list[Any] = attrs.field(factory=list)
    save_faults: list[Any] = attrs.field(factory=list)
    after_save_faults: list[Any] = attrs.field(factory=list)
    saves: list[Checkpoint] = attrs.field(factory=list, init=False)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """See `StateStore`. Fails as scripted."""
        await _suffer(self.load_faults)
        return await MemoryStateStore.load_resume_token(self, stream)

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """See `StateStore`. Fails as scripted, before or after the save."""
        await _suffer(self.save_faults)
        await MemoryStateStore.save_resume_token(self, stream, checkpoint)
        self.saves.append(checkpoint)
        await _suffer(self.after_save_faults)
