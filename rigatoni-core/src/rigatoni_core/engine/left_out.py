"""The events that a stream leaves out, because other streams delivered them before `watch` was changed.

Batches contain all events that were read, so positions, names and ordinals do not change. The events are left out only
on delivery. A batch never starts with such an event, because its name could be that of a batch which the stream wrote
before it was closed.
"""

from collections import deque
from collections.abc import Callable, Sequence

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Prefetching
from rigatoni_core.api.events import Coverage, Stream, token_hash
from rigatoni_core.api.succession import ScopeReader
from rigatoni_core.engine.succession import EVERYTHING

Key = tuple[int, int]


class LeftOut:
    """Removes the events that a stream leaves out. Once the stream has passed them all, it costs nothing per event.

    Args:
        source: Decides which events a scope includes.
        coverage: The ranges that were delivered already.
    """

    def __init__(self, source: ScopeReader | None, coverage: Sequence[Coverage] = ()) -> None:
        self._source = source
        self._coverage = coverage
        self._until = max((each.end for each in coverage), default=None)
        self._recent: deque[tuple[EventBatch, EventBatch]] = deque(maxlen=2)  # the batch in flight, and the next one

    def kept(self, batch: EventBatch) -> EventBatch:
        """Return the part of a batch to deliver, possibly empty. Repeated calls return the same object."""
        if self._is_past(batch):
            return batch
        for whole, kept in self._recent:
            if whole is batch:
                return kept
        delivered = self._delivered(batch)
        kept = batch.without(delivered) if delivered else batch
        self._recent.append((batch, kept))
        return kept

    def splitting(self, split: Callable[[EventBatch], int]) -> Callable[[EventBatch], int]:
        """Wrap `split` so that leading events that are left out form a batch of their own."""

        def split_off(events: EventBatch) -> int:
            if self._is_past(events):
                return split(events)
            delivered = self._delivered(events)
            leading = next((index for index in range(len(events)) if index not in delivered), len(events))
            return leading or split(events)

        return split_off

    def prefetching(self, destination: Prefetching | None) -> Prefetching | None:
        """Wrap `destination` so that it prepares only the events to deliver."""
        return _KeptOnly(self, destination) if destination is not None and self._until is not None else destination

    def _is_past(self, batch: EventBatch) -> bool:
        first = batch.first.cluster_time
        return self._until is None or (first is not None and first > self._until)

    def _delivered(self, batch: EventBatch) -> set[int]:
        """Return the indices of the events that were delivered already."""
        assert self._source is not None
        orders, delivered = batch.orders(), set[int]()
        times: Sequence[Key] = list(zip(orders.seconds, orders.increments, strict=True))
        for each in self._coverage:
            start, end = attrs.astuple(each.start), attrs.astuple(each.end)
            if times[-1] < start or times[0] > end:
                continue
            for index in self._source.included(each.scope, batch):
                if start <= times[index] < end or (times[index] == end and not self._is_of_rest(batch, index, each)):
                    delivered.add(index)
        return delivered

    @staticmethod
    def _is_of_rest(batch: EventBatch, index: int, coverage: Coverage) -> bool:
        return EVERYTHING in coverage.rest or token_hash(batch.token_and_time(index)[0]) in coverage.rest


@attrs.frozen
class _KeptOnly(Prefetching):
    left_out: LeftOut
    destination: Prefetching

    def prepare(self, events: EventBatch) -> None:
        if len(kept := self.left_out.kept(events)):
            self.destination.prepare(kept)

    def discard(self, stream: Stream) -> None:
        self.destination.discard(stream)
