"""The events that a stream leaves out, since other streams delivered them before `watch` was changed.

Batches are formed of events as they were read, so positions, names and ordinals stay what they are; only what is
delivered of a batch lacks the events that are left out. A batch never begins with such an event: its name might be
that of a batch which the stream wrote before it was closed.
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
    """What to leave out of a stream; costs nothing per event once the stream is past all of it.

    Args:
        source: Tells which events a scope includes.
        coverage: What was delivered already, if anything.
    """

    def __init__(self, source: ScopeReader | None, coverage: Sequence[Coverage] = ()) -> None:
        self._source = source
        self._coverage = coverage
        self._until = max((each.end for each in coverage), default=None)
        self._recent: deque[tuple[EventBatch, EventBatch]] = deque(maxlen=2)  # the batch in flight, and the next one

    def kept(self, batch: EventBatch) -> EventBatch:
        """Return what to deliver of a batch, perhaps nothing; of the last two batches, the same object each time."""
        if self._is_past(batch):
            return batch
        for whole, kept in self._recent:
            if whole is batch:
                return kept
        held = self._held(batch)
        kept = batch.without(held) if held else batch
        self._recent.append((batch, kept))
        return kept

    def splitting(self, split: Callable[[EventBatch], int]) -> Callable[[EventBatch], int]:
        """Return how many leading events may share a batch: those that are left out are a batch of their own."""

        def split_off(events: EventBatch) -> int:
            if self._is_past(events):
                return split(events)
            held = self._held(events)
            leading = next((index for index in range(len(events)) if index not in held), len(events))
            return leading or split(events)

        return split_off

    def prefetching(self, destination: Prefetching | None) -> Prefetching | None:
        """Return what prepares only what is kept of a batch."""
        return _KeptOnly(self, destination) if destination is not None and self._until is not None else destination

    def _is_past(self, batch: EventBatch) -> bool:
        first = batch.first.cluster_time
        return self._until is None or (first is not None and first > self._until)

    def _held(self, batch: EventBatch) -> set[int]:
        """The indices of the events that were delivered already."""
        assert self._source is not None
        orders, held = batch.orders(), set[int]()
        times: Sequence[Key] = list(zip(orders.seconds, orders.increments, strict=True))
        for each in self._coverage:
            start, end = attrs.astuple(each.start), attrs.astuple(each.end)
            if times[-1] < start or times[0] > end:
                continue
            for index in self._source.included(each.scope, batch):
                if start <= times[index] < end or (times[index] == end and not self._is_of_rest(batch, index, each)):
                    held.add(index)
        return held

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
