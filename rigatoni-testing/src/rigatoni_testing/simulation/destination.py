"""Model destinations: one that keeps a chain of objects (exactly once), and one that only appends (at least once)."""

from collections.abc import Mapping
from typing import ClassVar

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import (
    BatchSplitter,
    Delivery,
    Destination,
    DestinationMetadata,
    PositionKeeper,
    Prefetching,
)
from rigatoni_core.api.errors import DefinitionChangedError, DestinationError, ForeignObjectError, Transient
from rigatoni_core.api.events import Definition, Gap, Position, Stream

from rigatoni_testing.simulation.bucket import Appended, Bucket, DefinitionObject, Lead
from rigatoni_testing.simulation.ledger import Ledger
from rigatoni_testing.simulation.network import Network
from rigatoni_testing.simulation.schedule import Server

OWNER = "simulated/"


class OvertakenError(DestinationError, Transient):
    """An owner with an older definition wrote where this one was going to: settle again where the stream goes on."""


@attrs.define(kw_only=True, eq=False)
class ChainDestination(Destination, PositionKeeper, BatchSplitter, Prefetching):
    """Objects are created only if absent and named by their batch's first event; the lead is put first.

    A definition of a new number begins where the newest complete batch ends. Should an owner of the old one get a
    batch in after that, its name is where the new owner's next batch begins; the new owner then defines once more.
    """

    buckets: Mapping[str, Bucket]
    network: Network
    ledger: Ledger
    several_parts: bool
    _numbers: dict[Stream, int] = attrs.field(factory=dict, init=False)
    _fresh: set[Stream] = attrs.field(factory=set, init=False)

    delivery: ClassVar[Delivery] = Delivery.EFFECTIVELY_ONCE

    def prepare(self, events: EventBatch) -> None:
        """Nothing can be done early here; but batches are taken early because of it."""

    def discard(self, stream: Stream) -> None:
        """There is nothing."""

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`."""
        with self.ledger.writing(self.network, events):
            assert events.first is not None
            number = self._numbers[events.stream]
            if len(self.buckets[events.stream.key].definitions) > number + 1:
                raise DefinitionChangedError(f"{events.stream} has a newer definition")
            lead = Lead(
                owner=OWNER + events.stream.key,
                number=number,
                first=events.first,
                end=events.end,
                parts=self._parts(events),
            )
            fixed = await self._put(events.stream, lead)
        if fixed is None:
            self.ledger.written(self.network, events)
        return fixed

    async def _put(self, stream: Stream, lead: Lead) -> Position | None:
        """The lead first, then its other parts; another end where one is fixed already."""
        bucket = self.buckets[stream.key]

        def put_lead() -> Lead | None:
            self.ledger.letters_come_first(stream, bucket.log.number(lead.first), bucket.log.index(lead.end))
            return bucket.put_lead(lead)

        found = await self.network.request(Server.DESTINATION, f"put of {stream} {lead.first.resume_token}", put_lead)
        if found is not None and (fixed := self._adopt(stream, lead, found)):
            return fixed
        for place, numbers in list(lead.parts.items())[1:]:
            await self.network.request(
                Server.DESTINATION,
                f"put of {stream} {lead.first.resume_token} in {place}",
                lambda place=place, numbers=numbers: bucket.put_part(lead.first, place, numbers),  # type: ignore[misc]
            )
        return None

    def _adopt(self, stream: Stream, mine: Lead, found: Lead) -> Position | None:
        """An object has the name already: None where it is as ours would be, its end where that differs."""
        if found.owner != mine.owner or found.first.resume_token != mine.first.resume_token:
            raise ForeignObjectError(f"a foreign object has the name of {stream} {mine.first.resume_token}")
        if found.number > mine.number:
            raise DefinitionChangedError(f"{stream} has a newer definition")
        if found.number < mine.number:
            raise OvertakenError(f"{stream} was written once more with its definition {found.number}")
        return found.end if found.end.resume_token != mine.end.resume_token else None

    def _parts(self, events: EventBatch) -> dict[str, list[int]]:
        log = self.buckets[events.stream.key].log
        parts: dict[str, list[int]] = {}
        for number in log.numbers(events):
            parts.setdefault(log.places[number] if self.several_parts else "", []).append(number)
        return parts

    def cut(self, events: EventBatch) -> int:
        """Every tenth second of cluster time begins another batch, as another hour would."""
        first, last = events.token_and_time(0)[1], events.token_and_time(len(events) - 1)[1]
        assert first is not None
        assert last is not None
        if not self.several_parts or first.seconds // 10 == last.seconds // 10:
            return len(events)
        return next(
            index
            for index in range(1, len(events))
            if (time := events.token_and_time(index)[1]) and time.seconds // 10 != first.seconds // 10
        )

    async def last_committed(self, stream: Stream) -> Position | None:
        """See `PositionKeeper`."""
        newest, _, tail = await self.network.request(
            Server.DESTINATION, f"look for the end of {stream}", self.buckets[stream.key].tail
        )
        if newest is None:
            self._fresh.add(stream)
            return None
        self._fresh.discard(stream)
        return _end(newest, tail)

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """See `PositionKeeper`."""
        bucket = self.buckets[stream.key]
        while True:
            newest, number, tail = await self.network.request(
                Server.DESTINATION, f"look for the definition of {stream}", bucket.tail
            )
            if newest is not None and gap is None and not _must_define(newest, number, tail, definition):
                self._numbers[stream] = number
                fresh = stream in self._fresh
                self._fresh.discard(stream)
                return _end(newest, tail) if fresh else _later(newest.anchor, position)
            if newest is not None and gap == newest.gap and gap is not None:
                self._numbers[stream] = number
                return newest.anchor
            mine = self._numbers.get(stream)
            if mine is not None and number > mine and newest and newest.fingerprint != definition.fingerprint:
                raise DefinitionChangedError(f"{stream} has a newer definition")
            anchor = position
            if newest is not None and gap is None:  # who was told that the stream is fresh has an anchor of its own
                end = _end(newest, tail)
                anchor = end if stream in self._fresh else _later(end, position)
            record = DefinitionObject(fingerprint=definition.fingerprint, anchor=anchor, gap=gap)
            created = await self.network.request(
                Server.DESTINATION,
                f"put of definition {number + 1} of {stream}",
                lambda number=number, record=record: bucket.put_definition(number + 1, record),  # type: ignore[misc]
            )
            if created:
                self._numbers[stream] = number + 1
                self._fresh.discard(stream)
                return anchor

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of an object store", self.delivery)


def _must_define(newest: DefinitionObject, number: int, tail: Lead | None, definition: Definition) -> bool:
    """Whether a new number must begin: the definition changed, or the old one was written to once more."""
    overtaken = tail is not None and tail.number < number and tail.end.order > newest.anchor.order
    return newest.fingerprint != definition.fingerprint or overtaken


def _end(newest: DefinitionObject, tail: Lead | None) -> Position:
    return newest.anchor if tail is None else _later(newest.anchor, tail.end)


def _later(one: Position, other: Position) -> Position:
    return one if one.order > other.order else other


@attrs.define(kw_only=True, eq=False)
class AppendDestination(Destination):
    """Takes batches in, and appends what was taken when it is told to flush: at least once."""

    appended: Mapping[str, Appended]
    network: Network
    ledger: Ledger
    _taken: list[EventBatch] = attrs.field(factory=list, init=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`."""
        with self.ledger.writing(self.network, events):
            await self.network.request(Server.DESTINATION, f"hand over of {events.stream}", lambda: None)
            self._taken.append(events)
        return None

    async def flush(self) -> None:
        """See `Destination`."""
        taken = tuple(self._taken)

        def append() -> None:
            for events in taken:
                appended = self.appended[events.stream.key]
                appended.batches.append(appended.log.numbers(events))
                self.ledger.appended(events)

        await self.network.request(Server.DESTINATION, f"flush of {len(taken)} batches", append)
        self._taken = [events for events in self._taken if events not in taken]
        for events in taken:
            self.ledger.written(self.network, events)

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of a file that only grows", self.delivery)


@attrs.define(kw_only=True, eq=False)
class LetterDestination(Destination):
    """Takes dead letters; one that comes again changes nothing."""

    network: Network
    ledger: Ledger

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`."""
        account = next(it for it in self.ledger.accounts.values() if it.log.stream.name == events.stream.name)
        numbers = account.log.numbers(events)
        await self.network.request(
            Server.DESTINATION, f"dead letters {numbers} of {events.stream}", lambda: account.letters.update(numbers)
        )
        return None

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of a place for dead letters", self.delivery)
