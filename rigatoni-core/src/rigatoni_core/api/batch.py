"""A batch: consecutive change events of one stream, kept as the bytes that the server sent."""

from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple, Protocol, overload

import attrs

from rigatoni_core.api.errors import DamagedEventError
from rigatoni_core.api.events import ChangeEvent, Gap, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.segments import Segment, joined, merged


class Decoder(Protocol):
    """How a source's raw documents are read; the source hands it to its batches, core knows no byte format."""

    @property
    def format(self) -> str:
        """The name of the raw documents' format, such as `bson`: who reads them declares the same name."""

    def event(self, raw: memoryview) -> ChangeEvent:
        """The whole event, decoded. Raises ValueError where the bytes can not be read."""

    def token_and_time(self, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
        """Only the event's resume token and cluster time, as cheaply as possible.

        Raises ValueError where the token can not be read.
        """

    def cluster_times(self, documents: Segment) -> Iterable[tuple[int, int] | None]:
        """Only the cluster time of each of these events, as cheaply as possible: (seconds, increment).

        None for an event that has no cluster time, or none that can be read.
        """

    def namespace(self, raw: memoryview) -> Namespace | None:
        """Only the event's namespace, as cheaply as possible. Raises ValueError where the bytes can not be read."""

    def scalar_text(self, value: Any) -> str | None:
        """A value of a decoded document as text, for the name of a folder; None for a document, an array, or null.

        Equal values have equal texts, whatever runs the decoder; a text is itself.
        """

    def synthesize(self, raw: memoryview, operation: str, fields: Mapping[str, Any]) -> bytes:
        """A raw document of this format that stands for the event, whatever state the rest of the event is in.

        It has the event's resume token, its cluster time, and its namespace where that can be read, `operation` as
        its operation, and these fields: texts, whole numbers below 2^63, bytes, None, lists and mappings of them.
        """


@attrs.frozen
class Heartbeat:
    """A source's reply without events: it only moves the position.

    Attributes:
        end: The position that the stream has reached. No event before it is still to come.
        source_time: The server's own time when it replied; None if the source does not know it.
        caught_up: Whether the source knows that nothing was left to read at that time.
        gaps: Losses that the source noticed: they go on record before the checkpoint moves again.
    """

    end: Position
    source_time: Timestamp | None = None
    caught_up: bool = False
    gaps: tuple[Gap, ...] = ()


class Orders(NamedTuple):
    """What orders the events of a stream, one entry per event: the universal version of a change.

    `seconds` and `increments` are the cluster time (0 and 0 for a source without one), `ordinals` count the events of
    exactly that cluster time that come before the event in its stream.
    """

    seconds: "array[int]"
    increments: "array[int]"
    ordinals: "array[int]"

    def at(self, indices: Iterable[int]) -> "Orders":
        """Return the entries at these indices."""
        indices = list(indices)
        return Orders(*(array("q", [column[index] for index in indices]) for column in self))


class EventBatch(Sequence[ChangeEvent]):
    """Consecutive events of one stream, decoded only for those who look.

    `segments` holds the raw documents as the source received them, each reply in its own buffer: who can work on one
    after another needs no copy. `whole` is all of them in one. `first` names the first event that was *read* (its
    token, its cluster time and how many events of that cluster time came before it); `end` is the position after the
    last one. Both stay as they are when rejected events are taken out, so what is named by them keeps its name.

    A batch may hold no event, if all that were read have been rejected; a reply without events is a `Heartbeat`.

    `source_time` is the server's own time when it replied. `decoder` is the source's.

    `as_read` is the batch before events were taken out of it (itself where none were), and `indices` says which of its
    events these are, ascending. So an event keeps its place in the stream, whatever was rejected or grouped away.
    """

    __slots__ = (
        *("_as_read", "_orders", "_size"),
        *("decoder", "end", "first", "indices", "nbytes", "segments", "source_time", "stream"),
    )

    nbytes: int
    """The size of the raw documents in bytes."""

    indices: Sequence[int]
    """For each event, which of the events of `as_read` it is: ascending, from 0 to below `read`."""

    def __init__(
        self,
        stream: Stream,
        *,
        first: Position,
        end: Position,
        segments: Sequence[Segment],
        decoder: Decoder,
        source_time: Timestamp | None = None,
        as_read: "EventBatch | None" = None,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.stream = stream
        self.first = first
        self.end = end
        self.segments = segments
        self.source_time = source_time
        self.decoder = decoder
        self.nbytes = sum(segment.nbytes for segment in segments)
        self.indices = range(sum(map(len, segments))) if indices is None else indices
        self._size = len(self.indices)
        self._as_read = as_read
        self._orders: Orders | None = None

    @classmethod
    def from_reply(
        cls,
        after: Position,
        stream: Stream,
        buffer: memoryview,
        offsets: Sequence[int],
        decoder: Decoder,
        *,
        source_time: Timestamp | None = None,
    ) -> "EventBatch":
        """The batch of the events in `buffer` (at least one), which come right after the position `after`.

        Only the first and the last event are looked at, unless several share the last one's cluster time. Raises
        `DamagedEventError` where one of these has no resume token.
        """
        token, time = _mark(decoder, stream, buffer[offsets[0] : offsets[1]])
        if time is None:  # a server that sends no cluster time: the order goes on from the last known one
            time = after.cluster_time
        ordinal = after.ordinal if time == after.cluster_time else 0
        first = after.moved(token, time, ordinal)
        batch = cls(
            stream,
            first=first,
            end=after,
            segments=(Segment(buffer, offsets),),
            decoder=decoder,
            source_time=source_time,
        )
        batch.end = batch._position_after(len(batch) - 1)
        return batch

    @classmethod
    def join(cls, batches: Sequence["EventBatch"]) -> "EventBatch":
        """One batch of consecutive ones. Small segments are copied into one: many of them would be slow to use."""
        if len(batches) == 1:
            return batches[0]
        last = batches[-1]
        as_read, indices = None, None
        if any(batch.as_read is not batch for batch in batches):
            as_read = cls.join([batch.as_read for batch in batches])
            starts = accumulate((batch.read for batch in batches), initial=0)
            indices = [start + index for start, batch in zip(starts, batches, strict=False) for index in batch.indices]
        return cls(
            last.stream,
            first=batches[0].first,
            end=last.end,
            segments=merged([segment for batch in batches for segment in batch.segments]),
            decoder=last.decoder,
            source_time=last.source_time,
            as_read=as_read,
            indices=indices,
        )

    @property
    def as_read(self) -> "EventBatch":
        """The batch as it was read, before events were taken out of it; itself where none were."""
        return self if self._as_read is None else self._as_read

    @property
    def read(self) -> int:
        """How many events were read, those included that were taken out."""
        return len(self.as_read)

    def orders(self) -> Orders:
        """Return the cluster time and the ordinal of every event, without decoding the events.

        An event's entry stays the same however the stream is cut into batches, and whatever is taken out of them. An
        event without a cluster time that can be read shares that of the event before it.
        """
        if self._orders is None:
            self._orders = self._counted() if self._as_read is None else self._as_read.orders().at(self.indices)
        return self._orders

    def _counted(self) -> Orders:
        """The orders of a batch as it was read: counts on from `first`."""
        time = self.first.cluster_time
        now, ordinal = (time.seconds, time.increment) if time else (0, 0), self.first.ordinal - 1
        times, ordinals = list[tuple[int, int]](), array("q")
        for found in chain.from_iterable(map(self.decoder.cluster_times, self.segments)):
            if found is None or found == now:
                ordinal += 1
            else:
                now, ordinal = found, 0
            times.append(now)
            ordinals.append(ordinal)
        seconds, increments = (array("q", [time[part] for time in times]) for part in (0, 1))
        return Orders(seconds, increments, ordinals)

    @property
    def whole(self) -> Segment:
        """All documents in one segment; copies their bytes, with each call, where there are several."""
        return self.part(0, len(self))

    def part(self, start: int, stop: int) -> Segment:
        """The documents from `start` up to `stop` in one segment; copied only where they lie in several."""
        segments = self._between(start, stop)
        return segments[0] if len(segments) == 1 else joined(segments)

    @property
    def documents(self) -> memoryview:
        """All raw documents one after another; copied as `whole` says."""
        return self.whole.documents

    def raw(self, index: int) -> memoryview:
        """The raw document of event `index` (0 to len - 1), without a copy."""
        for segment in self.segments:
            if index < len(segment):
                return segment.raw(index)
            index -= len(segment)
        raise IndexError(f"there is no such event in a batch of {len(self)}")

    def token_and_time(self, index: int) -> tuple[ResumeToken, Timestamp | None]:
        """The resume token and the cluster time of event `index`, without decoding the event.

        Raises `DamagedEventError` where the event has no resume token that can be read.
        """
        return _mark(self.decoder, self.stream, self.raw(index))

    def namespace(self, index: int) -> Namespace | None:
        """The namespace of event `index`, without decoding the event; None where it has none that can be read."""
        try:
            return self.decoder.namespace(self.raw(index))
        except ValueError:
            return None

    def position_at(self, index: int) -> Position:
        """The position of event `index`: what `first` would be if the batch as it was read began with it."""
        if self._as_read is not None:
            return self._as_read.position_at(self.indices[index])
        if index == 0:
            return self.first
        before = self._position_after(index - 1)
        token, time = self.token_and_time(index)
        ordinal = before.ordinal if time is None or time == before.cluster_time else 0
        return before.moved(token, time or before.cluster_time, ordinal)

    def _position_after(self, index: int) -> Position:
        """The position after event `index` of a batch as it was read.

        Counts back over the events that share its cluster time; an event without one shares that of the one before.
        """
        token, time = self.token_and_time(index)
        if time is None and self.first.cluster_time is None:  # a source without times: nothing to look for
            return self.first.moved(token, None, self.first.ordinal + index + 1)
        start = index  # of the events of this cluster time, as far as they are known
        for earlier in range(index, 0, -1):
            found = self._time(earlier)
            time = found if time is None else time
            if found is not None and found != time:
                break
            start = start if found is None else earlier
        else:
            if time is None or time == self.first.cluster_time:
                return self.first.moved(token, self.first.cluster_time, self.first.ordinal + index + 1)
        return self.first.moved(token, time, index - start + 1)

    def _time(self, index: int) -> Timestamp | None:
        """The cluster time of event `index`, in whatever state its token is."""
        (time,) = self.decoder.cluster_times(self.part(index, index + 1))
        return None if time is None else Timestamp(*time)

    def index_of(self, token: ResumeToken) -> int | None:
        """The index of the event with this resume token; reads marks until it is found."""
        return next((index for index in range(len(self)) if self.token_and_time(index)[0] == token), None)

    def prefix_length(self, size: int, nbytes: int) -> int:
        """How many leading events fit into `size` events and `nbytes` bytes; may be none."""
        fitting, nbytes = 0, max(nbytes, 0)
        for segment in self.segments:
            within = bisect_right(segment.offsets, segment.offsets[0] + nbytes) - 1
            fitting += within
            if within < len(segment):
                break
            nbytes -= segment.nbytes
        return min(size, fitting)

    def without(self, rejected: Collection[int]) -> "EventBatch":
        """The batch without the events at these indices; `first`, `end` and `as_read` stay."""
        borders = [-1, *sorted(rejected), len(self)]
        kept = [range(before + 1, after) for before, after in pairwise(borders)]
        return EventBatch(
            self.stream,
            first=self.first,
            end=self.end,
            segments=merged([segment for run in kept for segment in self._between(run.start, run.stop)]),
            decoder=self.decoder,
            source_time=self.source_time,
            as_read=self.as_read,
            indices=[self.indices[index] for index in chain.from_iterable(kept)],
        )

    def _between(self, start: int, stop: int) -> list[Segment]:
        """The documents from `start` up to `stop`, without a copy."""
        found = []
        for segment in self.segments:
            if max(start, 0) < min(stop, len(segment)):
                found.append(segment.cut(max(start, 0), min(stop, len(segment))))
            start, stop = start - len(segment), stop - len(segment)
        return found

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> ChangeEvent: ...
    @overload
    def __getitem__(self, index: slice) -> "EventBatch": ...
    def __getitem__(self, index: int | slice) -> "ChangeEvent | EventBatch":
        """An event, decoded; or the batch of a contiguous, non-empty slice, cut by offsets without a copy."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1 or start >= stop:
                raise ValueError("a batch can only be cut into contiguous, non-empty parts")
            if (start, stop) == (0, len(self)):
                return self
            if self._as_read is not None:
                return self._slice_of_rest(start, stop)
            return EventBatch(
                self.stream,
                first=self.position_at(start),
                end=self.end if stop == len(self) else self._position_after(stop - 1),
                segments=self._between(start, stop),
                decoder=self.decoder,
                source_time=self.source_time,
            )
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"event {index} of a batch of {len(self)}")
        return self.decoder.event(self.raw(index))

    def _slice_of_rest(self, start: int, stop: int) -> "EventBatch":
        """The slice where events were taken out: those go with the slice of the event before them."""
        begin = self.indices[start] if start else 0
        as_read = self.as_read[begin : self.indices[stop] if stop < len(self) else self.read]
        return EventBatch(
            self.stream,
            first=as_read.first,
            end=as_read.end,
            segments=self._between(start, stop),
            decoder=self.decoder,
            source_time=self.source_time,
            as_read=as_read,
            indices=[index - begin for index in self.indices[start:stop]],
        )

    def __iter__(self) -> Iterator[ChangeEvent]:
        return (self.decoder.event(self.raw(index)) for index in range(len(self)))

    def __repr__(self) -> str:
        return f"<EventBatch {self.stream} events={len(self)} bytes={self.nbytes} end={self.end!r}>"


def _mark(decoder: Decoder, stream: Stream, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
    try:
        return decoder.token_and_time(raw)
    except ValueError as error:
        raise DamagedEventError(f"{stream}: an event has no resume token that can be read: {error}") from None
