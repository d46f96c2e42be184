"""A batch: consecutive change events of one stream, kept as the bytes that the server sent."""

from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import overload

import attrs

from rigatoni_core.api.decoder import Decoder, read_mark
from rigatoni_core.api.events import ChangeEvent, Gap, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.orders import Orders
from rigatoni_core.api.segments import Segment, between, joined, merged


@attrs.frozen
class Heartbeat:
    """A source's reply without events: it only moves the position.

    Attributes:
        end: The position that the stream has reached. All events before it have been read.
        source_time: The server's own time when it replied; None if the source does not know it.
        caught_up: Whether the source knows that nothing was left to read at that time.
        gaps: Losses that the source noticed: they are recorded before the checkpoint advances.
    """

    end: Position
    source_time: Timestamp | None = None
    caught_up: bool = False
    gaps: tuple[Gap, ...] = ()


class EventBatch(Sequence[ChangeEvent]):
    """Consecutive events of one stream, decoded on access.

    A batch may be empty if all events read were rejected. A reply without events is a `Heartbeat`. `first` and `end`
    stay unchanged when rejected events are removed, so names derived from them are stable. `whole` holds all segments
    in one.

    Args:
        stream: The stream.
        first: The first event that was *read*: its token, its cluster time, and the number of earlier events of that
            cluster time.
        end: The position after the last event.
        segments: The raw documents as the source received them, each reply in its own buffer, so that processing them
            one by one needs no copy.
        decoder: The source's decoder.
        source_time: The server's own time when it replied; None if it sent none.
        as_read: The batch before events were removed or changed. Default: this batch.
        indices: The index in `as_read` of each event, ascending, so that an event keeps its place in the stream even if
            others were rejected or grouped elsewhere, or if it was transformed. Default: all.
    """

    __slots__ = (
        *("_as_read", "_orders", "_size"),
        *("decoder", "end", "first", "indices", "nbytes", "segments", "source_time", "stream"),
    )

    nbytes: int
    """The size of the raw documents in bytes."""

    indices: Sequence[int]
    """The index of each event in `as_read`, ascending."""

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
        """Return a batch of the events in a reply (at least one), which directly follow the position `after`.

        Reads only the first and the last event, unless several share the last one's cluster time.

        Args:
            after: The position at which the reply starts.
            stream: The stream.
            buffer: The raw documents, one after another.
            offsets: The start of each document in `buffer`, in bytes, and the end of the last one.
            decoder: The source's decoder.
            source_time: The server's own time when it replied; None if it sent none.

        Raises:
            DamagedEventError: The first or the last event has no resume token.
        """
        token, time = read_mark(decoder, stream, buffer[offsets[0] : offsets[1]])
        if time is None:  # without a cluster time, the order continues from the last known one
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
        """Join consecutive batches. Small segments are copied into one, since many are slow to process.

        Args:
            batches: At least one batch. Each starts where the one before ends.

        Returns:
            One batch of all events.
        """
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
        """The batch as it was read, before events were removed; itself if none were."""
        return self if self._as_read is None else self._as_read

    @property
    def read(self) -> int:
        """The number of events read, including removed ones."""
        return len(self.as_read)

    def orders(self) -> Orders:
        """Return the cluster time and the ordinal of every event, without decoding the events.

        An event's entry stays the same however the stream is split into batches, and even if events are removed. An
        event without a cluster time that can be read shares that of the event before it.
        """
        if self._orders is None:
            self._orders = self._counted() if self._as_read is None else self._as_read.orders().at(self.indices)
        return self._orders

    def _counted(self) -> Orders:
        """Return the orders of a batch as it was read, counted from `first`."""
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
        """Return all documents in one segment; copies their bytes on each call if there are several segments."""
        return self.part(0, len(self))

    def part(self, start: int, stop: int) -> Segment:
        """Return the documents from `start` up to `stop` in one segment; copied only if they span several."""
        segments = between(self.segments, start, stop)
        return segments[0] if len(segments) == 1 else joined(segments)

    @property
    def documents(self) -> memoryview:
        """Return all raw documents, concatenated; copied like `whole`."""
        return self.whole.documents

    def raw(self, index: int) -> memoryview:
        """Return the raw document of event `index` (0 to len - 1) without a copy.

        Args:
            index: The index of the event.

        Raises:
            IndexError: The batch has no such event.
        """
        for segment in self.segments:
            if index < len(segment):
                return segment.raw(index)
            index -= len(segment)
        raise IndexError(f"the index is out of range for a batch of {len(self)}")

    def token_and_time(self, index: int) -> tuple[ResumeToken, Timestamp | None]:
        """Return the resume token and cluster time of event `index` without decoding the event.

        Args:
            index: The index of the event.

        Raises:
            DamagedEventError: The event has no readable resume token.
        """
        if self._as_read is not None:
            return self._as_read.token_and_time(self.indices[index])
        return read_mark(self.decoder, self.stream, self.raw(index))

    def namespace(self, index: int) -> Namespace | None:
        """Return the namespace of event `index` without decoding the event; None if it has no readable one.

        Of a document that a transform made without a namespace, it is that of the event as it was read.
        """
        try:
            found = self.decoder.namespace(self.raw(index))
        except ValueError:
            found = None
        if found is None and self._as_read is not None:
            return self._as_read.namespace(self.indices[index])
        return found

    def position_at(self, index: int) -> Position:
        """Return the position of event `index`: `first` of a batch that begins with it."""
        if self._as_read is not None:
            return self._as_read.position_at(self.indices[index])
        if index == 0:
            return self.first
        before = self._position_after(index - 1)
        token, time = self.token_and_time(index)
        ordinal = before.ordinal if time is None or time == before.cluster_time else 0
        return before.moved(token, time or before.cluster_time, ordinal)

    def _position_after(self, index: int) -> Position:
        """Return the position after event `index` of a batch as it was read.

        Counts back over the events that share its cluster time; an event without one shares that of the one before.
        """
        token, time = self.token_and_time(index)
        if time is None and self.first.cluster_time is None:  # the source has no times
            return self.first.moved(token, None, self.first.ordinal + index + 1)
        start = index  # of the known events with this cluster time
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
        """Return the cluster time of event `index`, even if its token is damaged."""
        (time,) = self.decoder.cluster_times(self.part(index, index + 1))
        return None if time is None else Timestamp(*time)

    def index_of(self, token: ResumeToken) -> int | None:
        """Return the index of the event with this resume token, or None.

        Args:
            token: The resume token.
        """
        return next((index for index in range(len(self)) if self.token_and_time(index)[0] == token), None)

    def prefix_length(self, size: int, nbytes: int) -> int:
        """Return how many leading events fit into `size` events and `nbytes` bytes; may be 0."""
        fitting, nbytes = 0, max(nbytes, 0)
        for segment in self.segments:
            within = bisect_right(segment.offsets, segment.offsets[0] + nbytes) - 1
            fitting += within
            if within < len(segment):
                break
            nbytes -= segment.nbytes
        return min(size, fitting)

    def without(self, rejected: Collection[int]) -> "EventBatch":
        """Return the batch without the events at these indices; `first`, `end` and `as_read` stay.

        Args:
            rejected: The indices of the events to leave out.
        """
        borders = [-1, *sorted(rejected), len(self)]
        kept = [range(before + 1, after) for before, after in pairwise(borders)]
        segments = merged([segment for run in kept for segment in between(self.segments, run.start, run.stop)])
        return self._holding(segments, [self.indices[index] for index in chain.from_iterable(kept)])

    def replaced(self, documents: Mapping[int, bytes | memoryview]) -> "EventBatch":
        """Return the batch with other raw documents for some events, in the format of the decoder.

        They remain the same events: `first`, `end` and `as_read` stay, and positions, resume tokens and orders are
        those of the documents as they were read.

        Args:
            documents: The new raw documents by the index of their event.
        """
        if not documents:
            return self
        made = Segment.of(documents[i] if i in documents else self.raw(i) for i in range(len(self)))
        return self.with_segments((made,))

    def with_segments(self, segments: Sequence[Segment]) -> "EventBatch":
        """Return the batch with other raw documents, one for each event; see `replaced`.

        Args:
            segments: The new raw documents, in the order of the events.
        """
        return self._holding(segments, self.indices)

    def _holding(self, segments: Sequence[Segment], indices: Sequence[int]) -> "EventBatch":
        """Return a batch that was read as this one was, and holds other documents for these of its events."""
        return EventBatch(
            self.stream,
            first=self.first,
            end=self.end,
            segments=segments,
            decoder=self.decoder,
            source_time=self.source_time,
            as_read=self.as_read,
            indices=indices,
        )

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> ChangeEvent: ...
    @overload
    def __getitem__(self, index: slice) -> "EventBatch": ...
    def __getitem__(self, index: int | slice) -> "ChangeEvent | EventBatch":
        """Return a decoded event, or the batch of a contiguous, non-empty slice, without a copy."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1 or start >= stop:
                raise ValueError("a batch can only be sliced into contiguous, non-empty ranges")
            if (start, stop) == (0, len(self)):
                return self
            if self._as_read is not None:
                return self._slice_of_rest(start, stop)
            return EventBatch(
                self.stream,
                first=self.position_at(start),
                end=self.end if stop == len(self) else self._position_after(stop - 1),
                segments=between(self.segments, start, stop),
                decoder=self.decoder,
                source_time=self.source_time,
            )
        return self.decoder.event(self.raw(range(len(self))[index]))

    def _slice_of_rest(self, start: int, stop: int) -> "EventBatch":
        """Slice a batch with removed events, which belong to the slice of the event before them."""
        begin = self.indices[start] if start else 0
        as_read = self.as_read[begin : self.indices[stop] if stop < len(self) else self.read]
        return EventBatch(
            self.stream,
            first=as_read.first,
            end=as_read.end,
            segments=between(self.segments, start, stop),
            decoder=self.decoder,
            source_time=self.source_time,
            as_read=as_read,
            indices=[index - begin for index in self.indices[start:stop]],
        )

    def __iter__(self) -> Iterator[ChangeEvent]:
        return (self.decoder.event(self.raw(index)) for index in range(len(self)))

    def __repr__(self) -> str:
        return f"<EventBatch {self.stream} events={len(self)} bytes={self.nbytes} end={self.end!r}>"
